# SPDX-License-Identifier: Apache-2.0
"""Requests over a line of bytes: the one place of this room that does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from hilagent import errors
from hilagent.clock import Clock, Deadline
from hilagent.link import session as link_session
from hilagent.link import wire

from .trouble import (
    Dying,
    Evidence,
    JobStatus,
    Patience,
    PayloadFault,
    Refused,
    Silence,
    status_name,
)

Log = Callable[[bytes], None]


class ByteLine(Protocol):
    """What a console lends to the payload client."""

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``. Raises `errors.LinkError` when it can't by then."""
        ...

    def read(self, deadline: Deadline) -> bytes:
        """Block for the next bytes; b"" at the deadline. Raises `errors.LinkError` at the end."""
        ...


class Channel:
    """A session on a line: writes what it says, feeds what comes, minds the time.

    Args:
        silence_s: how long nothing may be heard before a request gives up.
        stubborn_s: how long a request may be repeated on a line that is heard.
        log: gets console text and the payload's own log, as bytes from a board.
    """

    def __init__(
        self,
        line: ByteLine,
        session: link_session.Session,
        *,
        clock: Clock,
        evidence: Evidence,
        log: Log,
        silence_s: float = 5.0,
        stubborn_s: float = 60.0,
    ) -> None:
        self.line, self.session, self.clock, self.evidence = line, session, clock, evidence
        self.silence_s, self.stubborn_s = silence_s, stubborn_s
        self.bytes_rx = self.bytes_tx = 0
        self.jobs: dict[int, JobStatus] = {}
        self.fresh: list[JobStatus] = []
        self.boots: list[bytes] = []
        self.uploads: list[bytes] = []
        self._log = log
        self._closed = ""

    def close(self, why: str) -> None:
        """Refuse every later request: the payload is no longer there."""
        self._closed = why

    def request(
        self,
        op: int,
        body: bytes = b"",
        *,
        reply_size: int = 0,
        tries: int = 0,
        until: Callable[[], bool] = lambda: False,
    ) -> bytes | None:
        """Do one request and return the body of its reply.

        Returns None only where ``tries`` is given and that many frames failed: the
        caller makes a smaller request; or as soon as ``until`` is true. Raises `Silence` or
        `errors.LinkError` when the line is too bad, `Refused` or `PayloadFault` for an error
        status.
        """
        reply = self.ask(op, body, reply_size=reply_size, tries=tries, until=until)
        if reply is None:
            return None
        if reply.status == wire.Status.OK:
            return reply.body
        what = _op_name(op)
        if reply.status == wire.Status.FAULT and len(reply.body) >= wire.FAULT.size:
            raise fault_of(what, wire.FAULT.unpack(reply.body))
        raise Refused(f"{what}: {status_name(reply.status)}", status=reply.status)

    def ask(
        self,
        op: int,
        body: bytes = b"",
        *,
        reply_size: int = 0,
        tries: int = 0,
        until: Callable[[], bool] = lambda: False,
    ) -> link_session.Reply | None:
        """Like `request`, but returns the reply whatever its status, and None as
        soon as ``until`` is true after something was received."""
        if self._closed:
            raise errors.StateError(self._closed)
        session = self.session
        quiet = Patience(self.silence_s, self.clock, self.evidence)
        stubborn = Patience(self.stubborn_s, self.clock, self.evidence)
        self._write(session.request(op, body, self.clock.now_s(), reply_size=reply_size), quiet)
        while True:
            heard_s = session.heard_s
            reply = self._take(self._next_wake(quiet))
            if reply is not None:
                return reply
            if until() or (tries and session.failures >= tries):
                session.forget()
                return None
            if session.heard_s != heard_s:
                quiet.renew()
            self._write(session.due(self.clock.now_s()), quiet)
            if quiet.over() or stubborn.over():
                raise self._given_up(op, quiet.deadline.expired())

    def listen(self, deadline: Deadline) -> bool:
        """Take what comes next, with no request outstanding; whether anything came."""
        before = self.bytes_rx
        self._take(deadline)
        return self.bytes_rx != before

    def send(self, data: bytes, patience: Patience) -> None:
        """Write the bytes of a request that the caller follows by itself."""
        self._write(data, patience)

    def take(self, deadline: Deadline) -> link_session.Reply | None:
        """Read once and feed the session."""
        return self._take(deadline)

    def _next_wake(self, patience: Patience) -> Deadline:
        wait_s = max(0.0, self.session.wake_s - self.clock.now_s())
        return patience.deadline.sooner(wait_s)

    def _write(self, data: bytes, patience: Patience) -> None:
        """A board that takes no bytes is as mute as one that says nothing: where the line
        knows flow control, the one leads to the other."""
        if not data:
            return
        self.bytes_tx += len(data)
        try:
            self.line.write(data, patience.deadline.sooner(self.silence_s))
        except errors.LinkStuck as stuck:
            if not patience.excuse():
                self.session.forget()
                last = self.last_status()
                raise Silence(stuck.message, last=last, hint=stuck.hint) from stuck

    def _take(self, deadline: Deadline) -> link_session.Reply | None:
        data = self.line.read(deadline)
        self.bytes_rx += len(data)
        try:
            return self.session.feed(data, self.clock.now_s())
        except errors.BoardReset:
            self.close("the board restarted: connect to the payload again")
            raise
        finally:
            self._events()

    def _events(self) -> None:
        for text in self.session.text:
            self._log(text)
        self.session.text.clear()
        while self.session.events:
            self._event(self.session.events.popleft())

    def _event(self, event: link_session.Event) -> None:
        if event.op in (wire.Event.HEARTBEAT, wire.Event.JOB_DONE):
            size = wire.JOB_STATUS.size
            for at in range(0, len(event.body) - size + 1, size):
                self.heard(event.body[at : at + size])
        elif event.op == wire.Event.BOOT:
            self.boots.append(event.body)
        elif event.op == wire.Event.UPLOAD:
            self.uploads.append(event.body)
        elif event.op == wire.Event.LOG:
            self._log(event.body)
        elif event.op == wire.Event.DYING:
            raise self._dying(event.body)

    def heard(self, body: bytes) -> JobStatus:
        """Note a job status, from an event or a reply."""
        fields = numbers(wire.JOB_STATUS.unpack(body))
        status = JobStatus(**fields)
        self.jobs[status.cpu] = status
        self.fresh.append(status)
        return status

    def last_status(self) -> JobStatus | None:
        """Return the newest status of a job that was still running."""
        running = [s for s in self.jobs.values() if s.state == wire.JobState.RUNNING]
        return max(running, key=lambda s: s.cntpct, default=None)

    def _given_up(self, op: int, silent: bool) -> errors.LinkError:
        self.session.forget()
        counters = self.session.counters
        tail = (
            f"({counters.repeats} repeats, {counters.damaged} damaged frames, {counters.naks} NAKs"
            f" so far)"
        )
        if silent:
            return Silence(
                f"{_op_name(op)}: nothing heard for {self.silence_s:g} s {tail}",
                last=self.last_status(),
            )
        return errors.LinkError(f"{_op_name(op)}: no reply in {self.stubborn_s:g} s {tail}")

    def _dying(self, body: bytes) -> Dying:
        self.close("the payload died: reset the board")
        fields = numbers(wire.FRAME.unpack(body.ljust(wire.FRAME.size, b"\0")))
        return Dying(
            f"the payload died of an exception: ESR {fields['esr']:#x}, FAR {fields['far']:#x}, "
            f"PC {fields['pc']:#x}",
            fields=fields,
        )


def numbers(fields: Mapping[str, int | tuple[int, ...]]) -> dict[str, int]:
    """Return only the fields that are one number."""
    return {name: value for name, value in fields.items() if isinstance(value, int)}


def fault_of(
    what: str, fields: Mapping[str, int | tuple[int, ...]], *, cpu: int = 0
) -> PayloadFault:
    """Return the exception for a ``wire.FAULT`` or ``wire.CALL_RESULT``."""
    plain = numbers(fields)
    names = ("vector", "esr", "far", "elr", "spsr")
    return PayloadFault(what, cpu=cpu, **{name: plain[name] for name in names})


def _op_name(op: int) -> str:
    known = {int(member): member.name for member in wire.Op}
    return known.get(op, f"op {op}")
