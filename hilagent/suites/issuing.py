# SPDX-License-Identifier: Apache-2.0
"""Issues hvcs on a running kernel so that one that doesn't come back has an owner.

It takes its CPU, or the whole kernel, with it. Nobody is accused of that before the
same asks, from a fresh boot, end at the same one again; and what was asked is made
anew for each boot, as addresses differ between them. Asks that leave the kernel as it
was go in batches; a batch that stops and doesn't say where is issued again one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.console.watch import CrashWatch
from hilagent.console.watch import Kind as CrashKind
from hilagent.probe.asks import Ask, LeftOut
from hilagent.probe.live import Done
from hilagent.session.session import Session
from hilagent.session.sweeps import ConfirmedCrash, ConfirmedHang
from hilagent.suites import kernels

if TYPE_CHECKING:
    from hilagent.session.linux import Boot, Linux

_STOPS = (errors.TargetError, errors.LinkError, errors.HostOverloaded)
_MOST_CONSOLE = 1 << 20
_TAIL_S = 3.0
"""So long the console may take to tell why a connection has ended."""
_BATCH = 16

Make = Callable[["Linux"], Sequence[Ask]]
"""Returns what to ask of a kernel that was just booted."""


@dataclass(frozen=True)
class Issued:
    """What came of some asks.

    Attributes:
        left_out: what the module refused, or what a CPU was no longer there for.
        lost: by CPU, why it didn't come back from being switched off.
    """

    done: tuple[Done, ...]
    left_out: tuple[LeftOut, ...] = ()
    lost: tuple[tuple[int, str], ...] = ()


class _StoppedError(Exception):
    """An ask from which nothing came back: one of ``count``, from the given one on."""

    def __init__(self, ask: Ask, index: int, why: errors.HilagentError, count: int = 1) -> None:
        super().__init__(why.message)
        self.ask, self.index, self.why, self.count = ask, index, why, count


def issue(session: Session, boot: Boot, make: Make, server: str = "") -> Issued:
    """Return what ``make``'s asks showed on the kernel of ``boot``.

    Args:
        server: who serves, for messages; empty while that isn't known.

    Raises:
        ConfirmedHang, ConfirmedCrash: the same hvc stopped the kernel twice.
        errors.LabError: one stopped it once, and not there again.
    """
    try:
        return _once(session, boot, make)
    except _StoppedError as exc:
        first = exc
    second = _again(session, boot, make, first)
    if second is not None and first.count > 1:  # which one of the batch was it?
        first, second = second, _again(session, boot, make, second)
    if second is None:
        name = _name(first.ask, server)
        raise errors.LabError(f"stopped once, and not again: {name}: {first.why.message}")
    if second.index == first.index:
        raise _confirmed(second, server) from second.why
    message = f"stopped twice, at different hvcs: {first.why.message}; {second.why.message}"
    raise errors.LabError(message) from second.why


def _again(session: Session, boot: Boot, make: Make, first: _StoppedError) -> _StoppedError | None:
    """Issue everything up to ``first`` one by one from a fresh boot; return what stops now."""
    session.taint(first.why.message)
    session.journal.note(f"the same hvcs again from a fresh boot: {first.why.message}")
    try:
        _once(session, boot, make, first.index + first.count, size=1)
    except _StoppedError as second:
        session.taint(second.why.message)
        return second
    return None


def _once(
    session: Session, boot: Boot, make: Make, most: int | None = None, *, size: int = _BATCH
) -> Issued:
    linux = session.linux(boot)
    todo, index = list(make(linux))[:most], 0
    done: list[Done] = []
    left: list[LeftOut] = []
    lost: dict[int, str] = {}
    while index < len(todo):
        ask, cpu = todo[index], todo[index].request.cpu
        if cpu in lost:
            left.append(LeftOut(ask.hcall, cpu, lost[cpu], meant=False))
            index += 1
            continue
        batch = _batch(todo[index : index + size], lost)
        try:
            got, refusal = _ask(linux, batch)
        except _STOPS as exc:
            why = _owned(session, linux, exc)
            raise _StoppedError(ask, index, why, len(batch)) from exc
        done += got
        index += len(got)
        if isinstance(refusal, errors.Unsupported):
            asked = todo[index]
            left.append(LeftOut(asked.hcall, asked.request.cpu, refusal.message, meant=False))
            index += 1
        elif isinstance(refusal, _STOPS):
            raise _StoppedError(todo[index], index, _owned(session, linux, refusal)) from refusal
        elif refusal is not None:
            raise refusal
        elif ask.restore and (why_lost := kernels.restored(linux, cpu)):
            lost[cpu] = why_lost
    return Issued(tuple(done), tuple(left), tuple(lost.items()))


def _batch(todo: Sequence[Ask], lost: Collection[int]) -> list[Ask]:
    """Return the first asks that can go together: none of them takes KVM off its CPU."""

    def plain(ask: Ask) -> bool:
        alone = ask.kind != "hvc" or ask.restore or ask.last
        return not alone and ask.request.cpu not in lost

    return list(itertools.takewhile(plain, todo)) or [todo[0]]


def _ask(linux: Linux, batch: Sequence[Ask]) -> tuple[list[Done], errors.HilagentError | None]:
    """Return what came of the asks before the first that is refused, and its refusal."""
    if batch[0].kind == "sweep":
        try:
            return [Done(batch[0], linux.probe.sweep(batch[0].request))], None
        except errors.Unsupported as refusal:
            return [], refusal
    got, refused = linux.probe.some([each for ask in batch for each in (ask.request, *ask.then)])
    done: list[Done] = []
    for ask in batch:
        mine, got = got[: 1 + len(ask.then)], got[1 + len(ask.then) :]
        if len(mine) <= len(ask.then):
            break
        done.append(Done(ask, mine[0], tuple(mine[1:])))
    return done, refused


def _owned(session: Session, linux: Linux, exc: errors.HilagentError) -> errors.HilagentError:
    """Return the kernel's crash where the console tells one, if soon, else ``exc``."""
    session.console().crash_by(Deadline.after(_TAIL_S), linux.position)
    text = session.console().cut(linux.position, _MOST_CONSOLE)[1]
    for crash in CrashWatch().feed(text + b"\n"):
        if crash.kind is CrashKind.KERNEL:
            return errors.TargetCrash(f"the kernel crashed: {crash.title}")
    return exc


def _confirmed(stopped: _StoppedError, server: str) -> errors.TargetError:
    name = _name(stopped.ask, server)
    if isinstance(stopped.why, errors.TargetCrash):
        return ConfirmedCrash(f"{name}: twice from fresh boots: {stopped.why.message}")
    why = stopped.why.message
    return ConfirmedHang(f"{name} does not come back, twice from fresh boots: {why}")


def _name(ask: Ask, server: str) -> str:
    request = ask.request
    what = f"a sweep of {ask.hcall}" if ask.kind == "sweep" else ask.hcall
    x0 = f", x0 = {request.fixed[0]:#x}" if 0 in request.fixed else ""
    by = f"{server}: " if server else ""
    return f"{by}{what} (hvc #{request.imm:#x}{x0}) on CPU {request.cpu}"
