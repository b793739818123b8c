# SPDX-License-Identifier: Apache-2.0
"""From a line to a payload that answered: hello, preconditions, encoding."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from hilagent import errors, text
from hilagent.clock import Deadline
from hilagent.link import wire
from hilagent.link.session import XON, Reply, Session

from . import facts
from .channel import ByteLine, Channel, Log
from .client import Payload
from .trouble import Evidence, NoEl2, Patience, Silence

_PATIENCE_S = 1.2  # the payload says BOOT each second until it is spoken to
_PROVOKE_S = 1.0
_RAW_WAIT_S = 1.0
_RELEASES, _RELEASE_S = 6, 0.25
_PIECE_BYTES, _PIECE_TRIES = 16, 12

EVERY_BYTE = bytes(range(255, -1, -1)) + b"\r~~\n~~\r\n~~\n\r\xff\xff\x13\x11"
"""All byte values, then what consoles act upon: an escape after a new line (doubled:
nothing is closed by it), line ends, telnet's IAC, XOFF. Each XOFF has an XON behind
it, or a line that honours them would stay stopped."""


def connect(
    line: ByteLine,
    *,
    run_id: int,
    deadline: Deadline,
    late_s: Callable[[float], float] = lambda since_s: 0.0,
    alive: Callable[[], bool | None] = lambda: None,
    emulated: bool = False,
    log: Log = lambda data: None,
    armoured: bool = False,
    baud: int = 115_200,
    parallel: int = 0,
    silence_s: float = 5.0,
    unasked: bool = False,
    first_seq: int | None = None,
) -> Payload:
    """Wait for the payload on ``line``, agree on an encoding and return it.

    Args:
        run_id: 32 bits, not zero, new for each run; every packet carries it.
        deadline: for the payload's first answer; its clock is used from then on.
        late_s: worst lateness of the host's reader since a monotonic time.
        alive: whether the emulator answers; None where it can't be told.
        emulated: then None of ``alive`` counts as "does not answer", and CPUs without
            work are switched off.
        log: gets console text between packets.
        armoured: do not try raw frames.
        baud: of the slowest part of the line, for the first time-outs.
        parallel: how many CPUs may sweep at the same time; 0: all, or where ``emulated``
            as many as this host has.
        silence_s: how long nothing may be heard before a request gives up.
        first_seq: 16 bits, of the first packet; by chance if not given.
        unasked: say nothing until the payload has said BOOT. After a kexec: a kernel that
            is still there would take what we say for typing, and run it.

    Raises:
        errors.PreconditionError: entered below EL2, or HCR_EL2.E2H will not clear.
        Silence: no payload was heard.
        errors.HostOverloaded: the same, but the host or the emulator was too late.
    """
    tail = _Tail(log)
    session = Session(
        run_id, first_seq=secrets.randbelow(0x10000) if first_seq is None else first_seq, baud=baud
    )
    channel = Channel(
        line, session, clock=deadline.clock, evidence=Evidence(late_s, alive, emulated),
        log=tail, silence_s=silence_s,
    )  # fmt: skip
    hello = _greet(channel, deadline, tail, unasked=unasked)
    if not armoured and _raw_works(channel):
        session.armoured = False
    cores = os.cpu_count() or 1 if emulated else 0
    return Payload(channel, hello, sleeping=emulated, parallel=parallel or cores)


class _Tail:
    """Passes console text on and keeps its end for messages."""

    def __init__(self, log: Log) -> None:
        self._log, self.data = log, b""

    def __call__(self, data: bytes) -> None:
        self._log(data)
        self.data = (self.data + data)[-200:]


def _greet(channel: Channel, deadline: Deadline, tail: _Tail, *, unasked: bool) -> facts.Hello:
    wait = Patience(deadline.left_s(), channel.clock, channel.evidence)
    _listen(channel, wait, unasked)
    while True:
        if channel.boots:
            check(facts.hello(channel.boots[-1]))
        elif unasked:
            raise _nobody(deadline, tail)
        body = _provoke(channel, wait)
        if body is not None:
            hello = facts.hello(body)
            check(hello)
            return hello
        if wait.over():
            raise _nobody(deadline, tail)


def _listen(channel: Channel, wait: Patience, unasked: bool) -> None:
    """Wait for BOOT: a little while, or where only it proves a payload, for all the time."""
    listen = wait.deadline if unasked else wait.deadline.sooner(_PATIENCE_S)
    while not channel.boots:
        channel.listen(listen)
        if not channel.boots and listen.expired():
            if not unasked or wait.over():
                return
            listen = wait.deadline


def _nobody(deadline: Deadline, tail: _Tail) -> Silence:
    shown = text.scrub_line(tail.data, limit=120)
    return Silence(
        f"no payload answered within {deadline.budget_s:g} s"
        + (f"; the console last said: {shown}" if shown else "; the console was silent"),
        hint="look at console.raw: was the payload loaded and started?",
    )


def _provoke(channel: Channel, wait: Patience) -> bytes | None:
    """Send HELLO and wait a while; the payload may not be up yet."""
    session, clock = channel.session, channel.clock
    pause = wait.deadline.sooner(_PROVOKE_S)
    boots = len(channel.boots)
    channel.send(session.request(wire.Op.HELLO, b"", clock.now_s()), wait)
    while not pause.expired():
        reply = channel.take(pause.sooner(max(0.0, session.wake_s - clock.now_s())))
        if reply is not None:
            return _accepted(reply)
        if len(channel.boots) > boots:
            return None
        channel.send(session.due(clock.now_s()), wait)
    session.forget()
    return None


def _accepted(reply: Reply) -> bytes | None:
    if reply.status == wire.Status.BUSY:
        raise errors.LabError(
            "the payload works for another run", hint="wait for it to end, or reset the board"
        )
    return reply.body if reply.status == wire.Status.OK else None


def check(hello: facts.Hello) -> None:
    """Raise `errors.PreconditionError` unless it can do something there."""
    if hello.version != wire.VERSION:
        raise errors.PreconditionError(
            f"the payload speaks protocol {hello.version}, this host {wire.VERSION}",
            hint="build the payload again: hilagent build payload",
        )
    if hello.entry_el < 2 or hello.at_el1:
        raise NoEl2(
            hello.entry_el,
            f"the payload was entered at EL{hello.entry_el} and has no EL2: the boot path "
            f"(firmware, boot loader or emulator option) gave it away; the vectors under test "
            f"were not asked",
            hint="start it at EL2, e.g. QEMU's virt with virtualization=on",
        )
    if hello.e2h_stuck:
        raise errors.PreconditionError(
            "HCR_EL2.E2H does not clear on this CPU: the payload can't take nVHE control of EL2"
        )


def _raw_works(channel: Channel) -> bool:
    """Whether all byte values pass raw, both ways. Whole first; on a line that loses
    bytes now and then in pieces, since a filter always fails and a loss does not: at 1 %
    a byte a piece of 16 passes in 12 tries but for one time in 1,000."""
    session = channel.session
    session.armoured = session.fallback = False
    try:
        if _echoes(channel, wire.Op.HELLO, EVERY_BYTE, 1):
            return True
        size = _PIECE_BYTES
        pieces = [EVERY_BYTE[at : at + size] for at in range(0, len(EVERY_BYTE), size)]
        if all(_echoes(channel, wire.Op.ECHO, piece, _PIECE_TRIES) for piece in pieces):
            return True
        _release(channel)
        return False
    finally:
        session.armoured = session.fallback = True


def _release(channel: Channel) -> None:
    """A head or CRC may have held an XOFF: send an XON, and have one sent to us, until
    armour passes. Each time with another length, so with another CRC."""
    session = channel.session
    for size in range(_RELEASES):
        session.armoured = False
        _echoes(channel, wire.Op.ECHO, XON * (8 + size), 1, _RELEASE_S)
        channel.send(XON, Patience(_RELEASE_S, channel.clock, channel.evidence))
        session.armoured = True
        if _echoes(channel, wire.Op.ECHO, b"", 2, _RELEASE_S):
            return


def _echoes(
    channel: Channel, op: int, body: bytes, tries: int, wait_s: float = _RAW_WAIT_S
) -> bool:
    """Whether ``body`` came back as sent, within so many tries. Silence is an answer too:
    a port that an XOFF stopped says nothing until it is released."""
    limit = Deadline.after(wait_s * tries, channel.clock)
    extra = wire.HELLO.size if op == wire.Op.HELLO else 0
    size = len(body) + extra
    try:
        reply = channel.ask(op, body, reply_size=size, tries=tries, until=limit.expired)
    except Silence:
        return False
    if reply is None or reply.armoured != channel.session.armoured:
        return False
    return reply.status == wire.Status.OK and reply.body[extra:] == body
