# SPDX-License-Identifier: Apache-2.0
"""The probe module on a running kernel: hvcs issued from its EL1, and what they did."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from hilagent import errors
from hilagent.abi import UNKNOWN, Profile
from hilagent.clock import Deadline
from hilagent.link.wire import Seen
from hilagent.text import scrub_line

from . import records
from .exchange import Identity, LiveExchange, LiveSweep
from .records import Record
from .request import Request, for_contract
from .wire import Op

DEVICE = "/dev/hilhvc"
_NO_DEVICE = 66
_SCRIPT = f'test -c "$0" || exit {_NO_DEVICE}; exec 3<>"$0" && cat >&3 && cat <&3'
"""A redirection would make a file of what is no device."""
ARGV = ("sh", "-c", _SCRIPT, DEVICE)

_SYMBOL = 'grep " $0$" /proc/kallsyms'
_HEX = re.compile(rb"[0-9a-f]{16}")

PASSES = (0, 1)
EXCHANGE_S, SWEEP_S = 30.0, 120.0
"""More than the module takes to give a CPU up as lost."""

_STUB_ERR = 0xBADCA11
_NOT_SUPPORTED = 2**64 - 1
_EC_UNKNOWN = 0  # ESR_EL1.EC of an undefined instruction


class Done(Protocol):
    """How a command ended."""

    @property
    def status(self) -> int: ...
    @property
    def out(self) -> bytes: ...
    @property
    def err(self) -> bytes: ...


class Runner(Protocol):
    """Runs commands as root on the board; `hilagent.transport.ssh.Connection` is one."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", deadline: Deadline) -> Done: ...


class Probe:
    """Asks the module over ``runner``.

    Every method raises `errors.LinkError` for an answer that is not whole,
    `errors.Unsupported` for a refusal with the module's reason, `errors.TargetHang`
    when a CPU never came back (another one watched it), `errors.PreconditionError` for
    a CPU that is offline or a module that is not loaded.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner, self._seq, self._stub = runner, 0, 0

    def identify(self, deadline: Deadline | None = None) -> Identity:
        """Return what the module says of itself and its kernel; issues no hvc."""
        [reply] = self._ask([(Op.IDENTIFY, b"")], deadline or Deadline.after(EXCHANGE_S))
        return records.identity(_done(reply, "identify"))

    def find_stub(self, deadline: Deadline | None = None) -> int:
        """Return the virtual address of the hyp-stub's vectors by the kernel's symbols, 0
        where it has none. From then on vectors can be set, and given back, before any restart.
        """
        argv = ("sh", "-c", _SYMBOL, "__hyp_stub_vectors")
        done = self._runner.run(argv, deadline=deadline or Deadline.after(EXCHANGE_S))
        words = done.out.split()
        self._stub = int(words[0], 16) if words and _HEX.fullmatch(words[0]) else 0
        return self._stub

    def hvc(self, request: Request, deadline: Deadline | None = None) -> LiveExchange:
        """Issue one hvc."""
        return self.hvcs([request], deadline)[0]

    def hvcs(
        self, requests: Sequence[Request], deadline: Deadline | None = None
    ) -> list[LiveExchange]:
        """Issue many in one batch, in this order; the first that is refused raises."""
        done, refusal = self.some(requests, deadline)
        if refusal is not None:
            raise refusal
        return done

    def some(
        self, requests: Sequence[Request], deadline: Deadline | None = None
    ) -> tuple[list[LiveExchange], errors.HilagentError | None]:
        """Issue many in one batch; return those before the first refusal, and that."""
        asked = [(Op.HVC, self._packed(request)) for request in requests]
        replies = self._ask(asked, deadline or Deadline.after(EXCHANGE_S))
        done: list[LiveExchange] = []
        for reply, request in zip(replies, requests, strict=True):
            if reply.status < 0:
                return done, records.refusal(reply, _name(request))
            done.append(records.exchange(reply))
        return done, None

    def sweep(self, request: Request, deadline: Deadline | None = None) -> LiveSweep:
        """Issue ``request.count`` of them, compared on the board."""
        asked = [(Op.SWEEP, self._packed(request))]
        [reply] = self._ask(asked, deadline or Deadline.after(SWEEP_S))
        return records.sweep(_done(reply, f"sweep on CPU {request.cpu}"), swept=request.swept)

    def server(self, profile: Profile, cpu: int, deadline: Deadline | None = None) -> str:
        """Return who serves the hcalls of ``profile`` on ``cpu`` now: ``hyp-stub`` or ``kvm``.

        By an SMCCC id that nobody has, at immediate 0: KVM takes it for a host call
        and says NOT_SUPPORTED, the stub has its own error, or keeps x0.
        Raises `errors.Unsupported` where there is no EL2 to be called.
        """
        unknown = profile.contracts[UNKNOWN, "hyp-stub"]
        request = replace(for_contract(profile, unknown, cpu=cpu), imm=0, catch_mask=0)
        found = self.hvc(request, deadline).exchange
        sig = found.sig
        if sig.seen == Seen.EL1_FAULT and sig.esr >> 26 & 0x3F == _EC_UNKNOWN:
            raise errors.Unsupported(f"CPU {cpu}: hvc is undefined here, there is no EL2")
        return "kvm" if found.after.x[0] == _NOT_SUPPORTED else "hyp-stub"

    def abi(self, profiles: Sequence[Profile], cpu: int = 0) -> Profile:
        """Return the one of ``profiles`` that the kernel speaks, as far as that can be told.

        Asks for the vectors by immediate, with an x0 that is no number: only a
        kernel whose immediates select answers with anything but an error.
        """
        by_imm = [each for each in profiles if each.selector == "immediate"]
        by_x0 = [each for each in profiles if each.selector == "x0"]
        for profile in by_imm:
            number = profile.numbers.get("HVC_GET_VECTORS")
            if number is None:
                continue
            unknown = profile.contracts[UNKNOWN, "hyp-stub"]
            request = for_contract(profile, unknown, cpu=cpu)
            after = self.hvc(replace(request, imm=number, catch_mask=0)).exchange.after
            if after.x[0] not in (_STUB_ERR, _NOT_SUPPORTED):
                return profile
        if not by_x0:
            raise errors.Unsupported("the kernel speaks none of the ABIs that were offered")
        return by_x0[0]

    def _packed(self, request: Request) -> bytes:
        return replace(request, stub_vectors=request.stub_vectors or self._stub).packed()

    def _ask(self, asked: Sequence[tuple[Op, bytes]], deadline: Deadline) -> list[Record]:
        batch = list(self._numbered(asked))
        stdin = b"".join(records.packed(record) for record in batch)
        done = self._runner.run(ARGV, stdin=stdin, deadline=deadline)
        if done.status == _NO_DEVICE:
            raise errors.PreconditionError(
                f"no {DEVICE}: the probe module is not loaded", hint="insmod hilhvc.ko"
            )
        if done.status:
            raise errors.LinkError(
                f"{DEVICE}: exit {done.status}: {scrub_line(done.err) or 'nothing said'}"
            )
        return records.replies(done.out, batch)

    def _numbered(self, asked: Sequence[tuple[Op, bytes]]) -> Iterator[Record]:
        for op, body in asked:
            self._seq = self._seq % 0xFFFFFFFF + 1
            yield Record(op, self._seq, 0, body)


def _done(reply: Record, what: str) -> Record:
    if reply.status < 0:
        raise records.refusal(reply, what)
    return reply


def _name(request: Request) -> str:
    return f"hvc #{request.imm:#x} on CPU {request.cpu}"
