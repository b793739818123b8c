# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the host and a running payload, and whom it accuses.

::

    errors.LinkError
      Silence          nothing was heard; carries the last job status
    errors.TargetHang
      Hang             a job without progress: CPU, immediate, origin
    errors.TargetCrash
      Dying            an exception that the payload could not recover from
    errors.BoardReset
      ResetInJob       the board restarted while a job ran
    errors.LabError
      Refused          the payload answered with an error status
      PayloadFault     a request or job was ended by an exception
    errors.PreconditionError
      NoEl2            the payload was entered below EL2

`Silence`, `Hang` and `ResetInJob` have a ``place``: the job that was running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hilagent import errors
from hilagent.clock import Clock, Deadline
from hilagent.link import wire


@dataclass(frozen=True)
class JobStatus:
    """How far a CPU's job is; the fields of ``wire.JOB_STATUS``."""

    cpu: int
    state: int
    job: int
    at: int
    done: int
    cntpct: int


@dataclass(frozen=True)
class Place:
    """A job that was running when something happened.

    Attributes:
        cpu, origin: where the hvc was issued.
        imm: the last immediate (or index) that was reported as being issued.
        done: how many had come home by then.
        request: index in the requests of the sweep; -1 outside of one.
        reported: whether the payload reported at all since the job was started.
    """

    cpu: int
    origin: int
    imm: int
    done: int
    request: int = -1
    reported: bool = True


class NoEl2(errors.PreconditionError):
    """The payload was entered below EL2 and can do nothing; ``entry_el`` says where."""

    def __init__(self, entry_el: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.entry_el = entry_el


class _InJob:
    """The attributes of ``place``; -1 where no job was running."""

    place: Place | None = None

    @property
    def cpu(self) -> int:
        """The CPU that ran the job."""
        return self.place.cpu if self.place else -1

    @property
    def imm(self) -> int:
        """The last immediate that was reported as being issued."""
        return self.place.imm if self.place else -1

    @property
    def immediate(self) -> int:
        """The same as ``imm``."""
        return self.imm

    @property
    def origin(self) -> int:
        """Where it was issued from."""
        return self.place.origin if self.place else -1

    @property
    def done(self) -> int:
        """How many had come home."""
        return self.place.done if self.place else -1

    @property
    def request(self) -> int:
        """Index in the requests of the sweep."""
        return self.place.request if self.place else -1


class Silence(_InJob, errors.LinkError):
    """Nothing was heard from the payload. ``last`` is the last job status, if any.

    It accuses nobody by itself: the session decides, by repeating from a fresh boot.
    """

    def __init__(self, message: str, *, last: JobStatus | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.last = last


class Hang(_InJob, errors.TargetHang):
    """A job made no progress for long enough, while the payload went on reporting."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message, hint="the payload is tainted: reset the board")
        self.place = place


class ResetInJob(_InJob, errors.BoardReset):
    """The board restarted by itself while a job ran."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


class Dying(errors.TargetCrash):
    """The payload met an exception that it could not recover from."""

    def __init__(self, message: str, *, fields: Mapping[str, int]) -> None:
        super().__init__(message)
        self.fields = dict(fields)


class Refused(errors.LabError):
    """The payload answered ``status`` instead of doing what was asked."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class PayloadFault(errors.LabError):
    """An exception ended a request or a job; the payload recovered."""

    def __init__(
        self, what: str, *, vector: int, esr: int, far: int, elr: int, spsr: int, cpu: int = 0
    ) -> None:
        super().__init__(
            f"{what}: exception at vector {vector * 0x80:#x} on CPU {cpu}: "
            f"ESR {esr:#x}, FAR {far:#x}, ELR {elr:#x}, SPSR {spsr:#x}"
        )
        self.vector, self.esr, self.far = vector, esr, far
        self.elr, self.spsr, self.cpu = elr, spsr, cpu


def status_name(status: int) -> str:
    """Return the name of a reply's status."""
    known = {int(member): member.name for member in wire.Status}
    return known.get(status, f"status {status}")


@dataclass(frozen=True)
class Evidence:
    """Whether a time-out means anything.

    Attributes:
        late_s: the longest that nothing could be heard since a monotonic time, in seconds.
        alive: whether the emulator answers; None where it can't be told.
        emulated: then None counts as "does not answer".
    """

    late_s: Callable[[float], float] = lambda since_s: 0.0
    alive: Callable[[], bool | None] = lambda: None
    emulated: bool = False

    def against(self, since_s: float) -> str:
        """Return why a wait since ``since_s`` can't accuse anyone; "" where it can."""
        late_s = self.late_s(since_s)
        if late_s > 1.0:
            return f"this host, or its line to the board, was {late_s:.1f} s late within the wait"
        alive = self.alive()
        if alive is False or (alive is None and self.emulated):
            return "the emulator did not answer"
        return ""


class Patience:
    """A wait that is extended once where the evidence is against it."""

    def __init__(self, seconds: float, clock: Clock, evidence: Evidence) -> None:
        self._seconds, self._clock, self._evidence = seconds, clock, evidence
        self._extended = False
        self.renew()

    def renew(self) -> None:
        """Start the wait anew: there was progress."""
        self.since_s = self._clock.now_s()
        self.deadline = Deadline.after(self._seconds, self._clock)

    def over(self) -> bool:
        """Return whether the time is up. Raises `errors.HostOverloaded` where it is
        up for the second time and the evidence still says that it means nothing."""
        return self.deadline.expired() and not self.excuse()

    def excuse(self) -> str:
        """Return why the wait was extended just now; "" where it was not."""
        why = self._evidence.against(self.since_s)
        if why and self._extended:
            raise errors.HostOverloaded(
                f"no verdict: {why}, and again after the wait was extended",
                hint="run fewer things beside this on the host",
            )
        if why:
            self._extended = True
            self.renew()
        return why
