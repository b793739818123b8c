# SPDX-License-Identifier: Apache-2.0
"""Sweeps on several CPUs side by side."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from hilagent import errors
from hilagent.link import wire
from hilagent.result import Exchange, Sig, SweepPass

from . import facts
from .cpus import Cpus
from .jobs import Jobs, Running
from .sweep import SweepRequest, sweep_name
from .trouble import JobStatus, Refused, ResetInJob, Silence

Want = Callable[[Sig], bool]
Progress = Callable[[float], None]
Arrived = Callable[[int, SweepPass], None]


def checked_pass(request: SweepRequest, job: int, head: facts.SweepHead, rest: bytes) -> SweepPass:
    """Return the pass. Raises `errors.LinkError` where it is not what ``request`` asked."""
    swept = facts.sweep_pass(head, rest, swept=request.swept)
    asked = (
        request.cpu, request.origin, request.pass_no, request.first, request.count,
        request.seed, job,
    )  # fmt: skip
    got = (
        swept.cpu, swept.origin, swept.pass_no, head.fields["first"], swept.count,
        swept.seed, swept.job,
    )  # fmt: skip
    if asked != got:
        raise errors.LinkError(f"sweep result: asked for {asked}, got {got}")
    return swept


class Sweeper:
    """Schedules requests over the CPUs.

    A CPU that owns the link is swept after the link has moved to another one: the
    owner supervises, and a CPU that hangs at EL2 can't. Only a board with one CPU
    sweeps on the owner, with heartbeats between blocks.

    Args:
        parallel: how many CPUs may sweep at the same time.
    """

    def __init__(self, jobs: Jobs, cpus: Cpus, parallel: int) -> None:
        self._jobs, self._cpus, self._parallel = jobs, cpus, parallel
        self._newest: dict[int, tuple[SweepPass, Running, int]] = {}

    def run(
        self,
        requests: Sequence[SweepRequest],
        *,
        progress: Progress | None = None,
        arrived: Arrived | None = None,
        want: Want | None = None,
        max_frames: int = 8,
    ) -> list[SweepPass]:
        """Return the passes in the order of the requests; see `Payload.sweep`."""
        queues = self._queues(requests)
        done: dict[int, SweepPass] = {}
        meter = _Meter(requests, progress)
        while queues or self._jobs.running:
            try:
                for cpu in self._startable(queues):
                    self._start(queues[cpu].popleft(), requests)
                    if not queues[cpu]:
                        del queues[cpu]
                ended = self._jobs.wait(lambda status: meter.heard(status, self._jobs.running))
                self._jobs.check(ended)
            except (Silence, errors.BoardReset) as trouble:
                raise self._placed(trouble) from trouble
            meter.ended(ended.request)
            swept = self._collect(ended, requests[ended.request])
            done[ended.request] = self._with_frames(swept, want, max_frames)
            if ended.cpu not in queues:
                self._cpus.rest(ended.cpu)
            if arrived is not None:
                arrived(ended.request, done[ended.request])
        return [done[index] for index in range(len(requests))]

    def frame(self, swept: SweepPass, index: int, *, whole: bool = True) -> Exchange:
        """Fetch the evidence of one signature, or what of it isn't known from the signature:
        vector registers only where one changed. Raises `errors.StateError` where a later
        job on that CPU has overwritten it, `errors.UsageError` where there is none."""
        newest, job, frames = self._newest.get(swept.cpu, (None, None, 0))
        if job is None or newest is None or newest.job != swept.job:
            raise errors.StateError(f"CPU {swept.cpu} has swept again: its frames are gone")
        if not 0 <= index < frames:
            raise errors.UsageError(f"no frames for signature {index}")
        judged = swept.sigs[index]
        at = wire.FRAMES_OFFSET + index * 2 * wire.FRAME.size
        sizes = facts.frame_sizes(judged, whole=whole)
        try:
            before = self._jobs.result(job, at, sizes[0])
            after = self._jobs.result(job, at + wire.FRAME.size, sizes[1])
        except Refused as refused:
            raise errors.StateError(
                f"CPU {swept.cpu} has run another job: its frames are gone"
            ) from refused
        return facts.partial_exchange(before, after, judged)

    def _queues(self, requests: Sequence[SweepRequest]) -> dict[int, deque[int]]:
        queues: dict[int, deque[int]] = {}
        started = {known.cpu for known in self._cpus.known()}
        for index, request in enumerate(requests):
            if request.cpu not in started:
                raise errors.UsageError(f"CPU {request.cpu} is not started")
            request.packed()  # what can't be asked is said before anything runs
            queues.setdefault(request.cpu, deque()).append(index)
        return queues

    def _startable(self, queues: Mapping[int, object]) -> list[int]:
        """CPUs to start on now; the link's owner only after the link has moved away."""
        busy = {job.cpu for job in self._jobs.running}
        owner, room = self._cpus.link_cpu, self._parallel - len(busy)
        ready = [cpu for cpu in queues if cpu not in busy and cpu != owner]
        if ready or owner not in queues or owner in busy or room < 1:
            return ready[: max(0, room)]
        others = [known.cpu for known in self._cpus.known() if known.cpu not in {*busy, owner}]
        if others:
            self._cpus.move_link(others[0])
            return [owner]
        return [] if busy else [owner]

    def _start(self, index: int, requests: Sequence[SweepRequest]) -> None:
        request = requests[index]
        what = sweep_name(request)
        self._newest.pop(request.cpu, None)
        self._cpus.wake(request.cpu)
        self._jobs.start(
            request.packed(), cpu=request.cpu, origin=request.origin, what=what, request=index
        )

    def _collect(self, ended: Running, request: SweepRequest) -> SweepPass:
        size = wire.SWEEP_RESULT.size
        head = facts.sweep_head(self._jobs.result(ended, 0, size))
        rest = self._jobs.result(ended, size, head.rest_size) if head.rest_size else b""
        swept = checked_pass(request, ended.job, head, rest)
        self._newest[request.cpu] = (swept, ended, head.fields["frames"])
        return swept

    def _with_frames(self, swept: SweepPass, want: Want | None, most: int) -> SweepPass:
        there = self._newest[swept.cpu][2]
        chosen = [i for i, sig in enumerate(swept.sigs[:there]) if want is not None and want(sig)]
        frames = {i: self.frame(swept, i, whole=False) for i in chosen[:most]}
        return dataclasses.replace(swept, frames=frames)

    def _placed(self, trouble: Silence | errors.BoardReset) -> Exception:
        """The same trouble, with the job that was running: the one that was heard of
        last, since whatever else runs was heard of before it."""
        running = self._jobs.running
        if not running:
            return trouble
        last = max(running, key=lambda job: job.seen_s)
        if isinstance(trouble, Silence):
            trouble.place = last.place
            return trouble
        return ResetInJob(f"{trouble.message} in a {last.what}", last.place)


class _Meter:
    """Turns job statuses into the share of all requests that is done."""

    def __init__(self, requests: Sequence[SweepRequest], progress: Progress | None) -> None:
        self._counts = [request.count for request in requests]
        self._done = [0] * len(requests)
        self._progress = progress

    def heard(self, status: JobStatus, running: Sequence[Running]) -> None:
        for job in running:
            if job.cpu == status.cpu:
                self._note(job.request, status.done)

    def ended(self, request: int) -> None:
        self._note(request, self._counts[request])

    def _note(self, request: int, done: int) -> None:
        self._done[request] = min(done, self._counts[request])
        if self._progress is not None:
            self._progress(sum(self._done) / sum(self._counts))
