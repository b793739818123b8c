# SPDX-License-Identifier: Apache-2.0
"""Long work on the payload's CPUs: started, watched, fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.link import wire

from . import facts
from .channel import Channel, fault_of
from .trouble import Hang, JobStatus, Patience, Place, ResetInJob, Silence, status_name

_POLL_FIRST_S, _POLL_SWEEP_S, _POLL_MOST_S = 0.05, 0.3, 0.5
_BELIEVED_GAP_S = 1.5  # of a wait between two reports: longer, and someone was stopped
_OWN_POLL_S = 1.0  # a CPU that works and owns the link is not to be disturbed
_UNKNOWN = -1  # until its CPU's next status
_REPORTS = 5  # how many must agree before a job hangs
_EVASIONS = 20  # rounds of questions in a row whose answers say nothing of any job
_SETTLED = frozenset({wire.JobState.DONE, wire.JobState.FAULTED, wire.JobState.TAINTED})

Heard = Callable[[JobStatus], None]


@dataclass
class Running:
    """A job that was started.

    Attributes:
        progresses: it counts what it has done, so that it can hang; a call does not.
        request: index in the requests of a sweep.
        stalled_s, reports: how long, and how often in a row, no progress was reported.
    """

    cpu: int
    job: int
    origin: int
    what: str
    patience: Patience
    progresses: bool
    request: int
    started_s: float
    status: JobStatus | None = None
    seen_s: float = 0.0
    stalled_s: float = 0.0
    reports: int = 0

    @property
    def settled(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.status is not None and self.status.state in _SETTLED

    @property
    def place(self) -> Place:
        """Where it was when it was last heard of."""
        at, done = (self.status.at, self.status.done) if self.status else (0, 0)
        return Place(self.cpu, self.origin, at, done, self.request, self.status is not None)


class Jobs:
    """What runs on the CPUs, and how it ends.

    Args:
        cntfrq: ticks of CNTPCT a second.
        link_cpu: which CPU owns the link now.
        hang_s: how long reports must show no progress before a job hangs.
    """

    def __init__(
        self, channel: Channel, cntfrq: int, link_cpu: Callable[[], int], hang_s: float = 5.0
    ) -> None:
        self._channel, self._cntfrq, self._hang_s = channel, cntfrq, hang_s
        self._link_cpu = link_cpu
        self._running: dict[int, Running] = {}
        self._evasions = 0

    @property
    def running(self) -> tuple[Running, ...]:
        """The jobs that have not been waited for to their end."""
        return tuple(self._running.values())

    def start(
        self,
        job: bytes,
        *,
        cpu: int,
        what: str,
        origin: int = 0,
        progresses: bool = True,
        request: int = -1,
        speaks: Callable[[], bool] = lambda: False,
    ) -> Running:
        """Start a job; ``job`` is a ``wire.JOB``, sent without its trailing zeros.

        Args:
            speaks: whether the job itself was heard: then the reply was lost, and won't come.
        """
        channel = self._channel
        self._observe()  # another CPU's end may have come with an earlier reply
        body = channel.request(wire.Op.JOB_START, job.rstrip(b"\0"), reply_size=4, until=speaks)
        patience = Patience(self._hang_s, channel.clock, channel.evidence)
        number = int.from_bytes(body[:4], "little") if body else _UNKNOWN
        now_s = channel.clock.now_s()
        running = Running(cpu, number, origin, what, patience, progresses, request, now_s)
        running.seen_s = now_s
        self._running[cpu] = running
        self._observe()
        return running

    def wait(self, heard: Heard | None = None, *, within_s: float = 0.0) -> Running:
        """Return the next running job that ends, whatever its end.

        Args:
            heard: called with each status.
            within_s: how long a job without progress may take from now on, if given.

        Raises `Hang` for a job without progress, `Silence` when nothing is heard,
        `errors.LinkError` for answers that say nothing of any job.
        """
        poll_s = self._first_poll_s()
        channel = self._channel
        for job in self.running if within_s else ():
            job.patience = Patience(within_s, channel.clock, channel.evidence)
        self._observe(heard)
        while True:
            ended = self._ended()
            if ended is not None:
                del self._running[ended.cpu]
                return ended
            if not self._heard_within(poll_s):
                self._poll()
                poll_s = max(poll_s, min(_POLL_MOST_S, poll_s * 2))
            self._observe(heard)
            self._accuse()

    def run(
        self,
        job: bytes,
        *,
        cpu: int,
        what: str,
        origin: int = 0,
        seconds: float = 0.0,
    ) -> Running:
        """Start one job, wait for its end and check it.

        With ``seconds`` it has no progress to be watched: `errors.LabError` when it has
        not ended by then.
        """
        started = self.start(job, cpu=cpu, origin=origin, what=what, progresses=not seconds)
        if seconds:
            started.patience = Patience(seconds, self._channel.clock, self._channel.evidence)
        try:
            ended = self.wait()
        except Silence as silence:
            silence.place = started.place
            raise
        except errors.BoardReset as reset:
            raise ResetInJob(f"{reset.message} in {what}", started.place) from reset
        self.check(ended)
        return ended

    def check(self, ended: Running) -> None:
        """Raise `PayloadFault` for a job that an exception ended."""
        state = ended.status.state if ended.status else wire.JobState.NONE
        if state == wire.JobState.FAULTED:
            raw = self.result(ended, 0, wire.CALL_RESULT.size)
            raise fault_of(ended.what, wire.CALL_RESULT.unpack(raw), cpu=ended.cpu)
        if state != wire.JobState.DONE:
            raise errors.LabError(f"{ended.what}: CPU {ended.cpu} is tainted: reset the board")

    def result(self, ended: Running, offset: int, size: int) -> bytes:
        """Return bytes of the result area; the payload refuses them for another job."""

        def ask(at: int, count: int) -> bytes:
            return wire.JOB_PART.pack(cpu=ended.cpu, job=ended.job, offset=offset + at, size=count)

        return fetch(self._channel, wire.Op.JOB_RESULT, ask, size)

    def call_result(self, ended: Running) -> facts.CallResult:
        """Return the result of a CALL or SYSREG job."""
        fields = wire.CALL_RESULT.unpack(self.result(ended, 0, wire.CALL_RESULT.size))
        if fields["faulted"]:
            raise fault_of(ended.what, fields, cpu=ended.cpu)
        x, el = fields["x"], fields["el"]
        x0 = fields["x0"]
        assert isinstance(x, tuple)
        assert isinstance(el, int)
        assert isinstance(x0, int)
        return facts.CallResult(x=(x0, *x[1:]), el=el)

    def _ended(self) -> Running | None:
        return next((job for job in self._running.values() if job.settled), None)

    def _heard_within(self, seconds: float) -> bool:
        """Listen until a packet is whole; a board may say it byte by byte."""
        channel, before_s = self._channel, self._channel.session.heard_s
        deadline = Deadline.after(seconds, channel.clock)
        while not (heard := channel.fresh or channel.session.heard_s != before_s):
            if deadline.expired():
                break
            channel.listen(deadline)
        return bool(heard)

    def _first_poll_s(self) -> float:
        if any(job.cpu == self._link_cpu() for job in self.running):
            return _OWN_POLL_S
        return _POLL_SWEEP_S if any(job.request >= 0 for job in self.running) else _POLL_FIRST_S

    def _poll(self) -> None:
        """Ask each running CPU how far it is; any job's end makes the answer needless."""
        said = "none"
        for job in list(self._running.values()):
            reply = self._channel.ask(
                wire.Op.JOB_STATUS,
                job.cpu.to_bytes(4, "little"),
                reply_size=wire.JOB_STATUS.size,
                until=lambda: bool(self._channel.fresh),
            )
            if reply is None:
                return
            if reply.status == wire.Status.OK and len(reply.body) >= wire.JOB_STATUS.size:
                self._channel.heard(reply.body)
            said = f"{status_name(reply.status)} with {len(reply.body)} bytes"
        self._evasions += 1  # until one of them turns out to be an answer
        if self._evasions > _EVASIONS:
            raise errors.LinkError(
                f"JOB_STATUS: asked {_EVASIONS} times, and nothing is said of what runs: the last "
                f"answer was {said}"
            )

    def _observe(self, heard: Heard | None = None) -> None:
        fresh, self._channel.fresh = self._channel.fresh, []
        now_s = self._channel.clock.now_s()
        for status in fresh:
            job = self._running.get(status.cpu)
            if job is not None and job.job == _UNKNOWN:
                job.job = status.job
            if job is None or status.job != job.job or job.settled:
                continue
            self._evasions = 0
            self._judge(job, status, now_s)
            if heard is not None:
                heard(status)

    def _judge(self, job: Running, status: JobStatus, now_s: float) -> None:
        """Count as stalled only what both clocks say, and no more than was watched."""
        last = job.status
        moved = last is None or (status.at, status.done, status.state) != (
            last.at, last.done, last.state,
        )  # fmt: skip
        if moved or last is None:
            job.stalled_s, job.reports = 0.0, 0
            if job.progresses:
                job.patience.renew()
        else:
            job.reports += 1
            gap_s = now_s - job.seen_s
            if self._cntfrq:
                gap_s = min(gap_s, (status.cntpct - last.cntpct) / self._cntfrq)
            job.stalled_s += max(0.0, min(gap_s, _BELIEVED_GAP_S))
        job.status, job.seen_s = status, now_s

    def _accuse(self) -> None:
        for job in self._running.values():
            if job.settled:
                continue
            if not job.progresses:
                self._expire(job)
            elif job.stalled_s >= self._hang_s and job.reports >= _REPORTS:
                if not job.patience.excuse():
                    raise self._hang(job)
                job.stalled_s, job.reports = 0.0, 0

    def _expire(self, job: Running) -> None:
        """A call may take what the caller gave it; that it does not end accuses nobody."""
        if job.patience.over():
            passed_s = self._channel.clock.now_s() - job.started_s
            raise errors.LabError(
                f"{job.what}: not ended after {passed_s:.1f} s on CPU {job.cpu}",
                hint="reset the board, or give it more time",
            )

    def _hang(self, job: Running) -> Hang:
        place = job.place
        return Hang(
            f"{job.what}: no progress for {job.stalled_s:.1f} s at hvc #{place.imm:#x} on CPU "
            f"{job.cpu}, after {place.done} that came home",
            place,
        )


def fetch(
    channel: Channel, op: int, ask: Callable[[int, int], bytes], size: int, step: int = 1
) -> bytes:
    """Return ``size`` bytes by as many requests as the line needs.

    Args:
        ask: body of the request for (offset, count).
        step: every count but the last is a multiple of this.
    """
    out = bytearray()
    while len(out) < size:
        count = min(chunk_size(channel, step), size - len(out))
        tries = 2 if count > max(64, step) else 0
        part = channel.request(op, ask(len(out), count), reply_size=count, tries=tries)
        if part is None:
            continue  # too much for this line: the chunk is smaller by now
        if len(part) != count:
            raise errors.LinkError(f"op {op}: {len(part)} bytes instead of {count}")
        out += part
    return bytes(out)


def chunk_size(channel: Channel, step: int = 1) -> int:
    """Return how many bytes the next request should carry, a multiple of ``step``."""
    return max(step, channel.session.chunk.size // step * step)


def pack_job(fields: Mapping[str, int | Iterable[int]]) -> bytes:
    """Return a ``wire.JOB``."""
    plain = {k: v if isinstance(v, int) else tuple(v) for k, v in fields.items()}
    return wire.JOB.pack(**plain)
