# SPDX-License-Identifier: Apache-2.0
"""The jobs of a scripted payload over time: progress, heartbeats, ends, resets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hilagent.clock import Clock
from hilagent.link import wire
from hilagent.testing import behaviour as behaviours
from hilagent.testing import laboratory
from hilagent.testing.behaviour import Behaviour
from hilagent.testing.laboratory import Work

CNTFRQ = 62_500_000
_BLOCK = 4096


@dataclass(frozen=True)
class Traits:
    """What the board is, and what is wrong with it.

    Attributes:
        sweep_s: what a sweep of 65,536 immediates takes.
        reset_at: the board restarts when a sweep gets to this immediate.
        silent_after: how many requests are answered before it falls silent for good.
        other_boot_after: how many replies come before one carries a wrong boot id.
        wrong_run_after: how many replies come before one carries a wrong run id (once).
        boots_armoured: BOOT events are armoured, as the payload does.
        bad_cpus: CPUs that never start.
        elsewhere: CPUs that run, but not for the payload: in the kernel that died.
        no_cpu_off: no CPU can be switched off.
        no_psci: it can't reset its board, nor power it off.
        done_events: False: JOB_DONE is never sent, the host has to ask.
        heartbeat_s: between heartbeats.
    """

    cpus: int = 4
    entry_el: int = 2
    e2h_stuck: bool = False
    version: int = wire.VERSION
    sweep_s: float = 0.4
    reset_at: int | None = None
    silent_after: int | None = None
    other_boot_after: int | None = None
    wrong_run_after: int | None = None
    boots_armoured: bool = True
    bad_cpus: frozenset[int] = frozenset()
    elsewhere: frozenset[int] = frozenset()
    no_cpu_off: bool = False
    no_psci: bool = False
    done_events: bool = True
    heartbeat_s: float = 1.0


GOOD = Traits()


@dataclass
class Job:
    """One job, from its start."""

    work: Work
    number: int
    start_s: float
    takes_s: float
    result: bytes = b""
    hang: int | None = None  # index, from the job's first
    state: int = wire.JobState.RUNNING
    fine: bool = True
    blocks: int = 0

    def done(self, now_s: float) -> int:
        """How many immediates have come home."""
        count = max(1, self.work.count)
        share = 1.0 if not self.takes_s else (now_s - self.start_s) / self.takes_s
        done = min(count, max(0, int(share * count)))
        return done if self.hang is None else min(done, self.hang)

    @property
    def end_s(self) -> float:
        """When it ends; infinite for a hang."""
        return math.inf if self.hang is not None else self.start_s + self.takes_s


class Jobs:
    """What the CPUs do. ``link_cpu`` is the CPU that owns the link."""

    def __init__(self, clock: Clock, traits: Traits) -> None:
        self.clock, self.traits = clock, traits
        self.link_cpu = 0
        self._jobs: dict[int, Job] = {}
        self._beat_s = math.inf

    def start(self, work: Work, behaviour: Behaviour, vectors_crc: int, tools: Tools) -> int:
        """Start a job on a CPU that has none running; return its number."""
        last = self._jobs.get(work.cpu)
        job = Job(work, last.number + 1 if last else 1, self.clock.now_s(), 0.0)
        self._jobs[work.cpu] = job
        if not self.running[1:]:
            self._beat_s = self.clock.now_s() + self.traits.heartbeat_s
        if work.kind in (wire.Job.CALL, wire.Job.SYSREG):
            fields, job.fine = tools.do(work)
            job.result = wire.CALL_RESULT.pack(**fields)
        elif work.kind == wire.Job.SWEEP:
            job.takes_s = self.traits.sweep_s * work.count / 0x10000
            ticks = int(job.takes_s * CNTFRQ)
            swept = laboratory.sweep(work, behaviour, job.number, vectors_crc, ticks)
            job.hang, job.result = swept.hang, swept.result
        else:
            result = laboratory.one_hvc(work, behaviour)
            job.hang, job.result = (0, b"") if result is None else (None, result)
        return job.number

    def result(self, cpu: int, job: int, offset: int, size: int) -> bytes | None:
        """Return part of a result area; None where that job is not the one that ended last."""
        ended = self._jobs.get(cpu)
        if ended is None or ended.number != job or ended.state == wire.JobState.RUNNING:
            return None
        return ended.result[offset : offset + size].ljust(size, b"\0")

    @property
    def running(self) -> list[Job]:
        """The jobs that have not ended."""
        return [job for job in self._jobs.values() if job.state == wire.JobState.RUNNING]

    def on(self, cpu: int) -> Job | None:
        """Return the job that runs on a CPU."""
        return next((job for job in self.running if job.work.cpu == cpu), None)

    def heartbeats(self) -> list[bytes]:
        """Return the bodies of the HEARTBEAT events that are due."""
        now_s = self.clock.now_s()
        own = self.on(self.link_cpu)
        if own is not None:
            return self._between_blocks(own, now_s)
        running = self.running
        if not running or now_s < self._beat_s:
            return []
        self._beat_s = now_s + self.traits.heartbeat_s
        return [b"".join(self.status(job.work.cpu) for job in running)]

    def ends(self) -> list[bytes]:
        """End what is due; return the bodies of the JOB_DONE events."""
        out = []
        for job in self.running:
            if self.clock.now_s() >= job.end_s:
                job.state = wire.JobState.DONE if job.fine else wire.JobState.FAULTED
                out.append(self.status(job.work.cpu))
        return out if self.traits.done_events else []

    def reset_is_due(self) -> bool:
        """Whether a job has got to where the board restarts."""
        return any(self.clock.now_s() >= self._reset_s(job) for job in self.running)

    def next_s(self) -> float:
        """When something of this happens next."""
        times = [math.inf]
        for job in self.running:
            times += [job.end_s, self._reset_s(job)]
            own = job.work.cpu == self.link_cpu
            times.append(self._block_s(job) if own else self._beat_s)
        return min(times)

    def status(self, cpu: int, done: int | None = None) -> bytes:
        """Return ``wire.JOB_STATUS``."""
        job = self._jobs.get(cpu)
        now_s = self.clock.now_s()
        fields = {"cpu": cpu, "cntpct": int(now_s * CNTFRQ)}
        if job is not None:
            done = job.done(now_s) if done is None else done
            at = job.work.first + min(done, max(0, job.work.count - 1))
            fields |= {"state": int(job.state), "job": job.number, "at": at, "done": done}
        return wire.JOB_STATUS.pack(**fields)

    def _between_blocks(self, job: Job, now_s: float) -> list[bytes]:
        """The link's owner reports between blocks, and never from a hang."""
        out = []
        block = job.work.block or _BLOCK
        while job.done(now_s) >= (job.blocks + 1) * block:
            job.blocks += 1
            out.append(self.status(job.work.cpu, job.blocks * block))
        return out

    def _block_s(self, job: Job) -> float:
        count = max(1, job.work.count)
        at = (job.blocks + 1) * (job.work.block or _BLOCK)
        past = at > (count if job.hang is None else job.hang)
        return math.inf if past else job.start_s + job.takes_s * (at + 0.5) / count

    def _reset_s(self, job: Job) -> float:
        at = self.traits.reset_at
        if at is None or not 0 <= at - job.work.first < job.work.count:
            return math.inf
        share = (at - job.work.first + 1) / max(1, job.work.count)
        return job.start_s + job.takes_s * share


@dataclass
class Tools:
    """What CALL and SYSREG jobs work on."""

    functions: Mapping[int, laboratory.Function]
    registers: laboratory.Registers

    def do(self, work: Work) -> tuple[dict[str, int], bool]:
        """Do such a job: fields of ``wire.CALL_RESULT``, and whether it was fine."""
        if work.kind == wire.Job.CALL:
            return laboratory.call(work, self.functions)
        return self.registers.do(work)


def under_test(target: int, behaviour: Behaviour) -> Behaviour:
    """Return what answers an hvc: the vectors under test, or the payload's own."""
    return behaviours.recorder if target == wire.Target.RECORDER else behaviour
