# SPDX-License-Identifier: Apache-2.0
"""The payload of a board that nobody has a line to: each question is a batch, and a trip.

::

    alone = Alone(go, run_id=draw)     # go: there and back, see `Go`
    alone.begin()                      # with an empty batch: who is there?
    alone.vectors(subject.target, subject.blob, subject.offset)
    passes = alone.sweep(requests)

What a trip is, the caller says: the payload is started with the batch, starts the next
kernel when it has done it, and that shows the results. A board whose next kernel never
comes may have hung, or have lost its network, and nobody can see which.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NoReturn, Unpack

from hilagent import errors
from hilagent.link import wire
from hilagent.result import CpuFacts, Exchange, SweepPass

from .answers import Answers
from .batch import Batch
from .connect import check
from .facts import Hello
from .sweep import HvcOptions, SweepRequest, hvc_request
from .sweeper import Arrived, Progress, Want
from .trouble import Hang, Place, ResetInJob, Silence

NOWHERE = Place(-1, -1, -1, -1, reported=False)
Go = Callable[[Batch, bytes], Answers]
"""Does a batch, with the blob of the vectors under test; raises `Vanished`, `Restarted`."""


class Vanished(Silence):
    """The kernel that should have come after a batch did not."""


class Restarted(ResetInJob):
    """The board came up from its own firmware, in place of the kernel after a batch."""

    def __init__(self, message: str) -> None:
        super().__init__(message, NOWHERE)


class Alone:
    """Asked what `hilagent.payload.Payload` is asked, as far as the suites do.

    Args:
        run_id: draws a number for each batch.
        cpus: how many CPUs the board's own system knows; 0 starts all others.

    Attributes:
        hello: what the payload said of itself the last time that it ran.
        encoding: how requests reach it.
    """

    encoding = "memory"

    def __init__(self, go: Go, *, run_id: Callable[[], int], cpus: int) -> None:
        self._go, self._run_id = go, run_id
        self._wanted = range(cpus)
        self._cpus: tuple[CpuFacts, ...] = ()
        self._stood: tuple[int, int] | None = None
        self._under_test: tuple[int, bytes, int, bool] = (wire.Target.RECORDER, b"", 0, False)
        self.hello: Hello

    def begin(self) -> None:
        """See by an empty batch who is there.

        Raises:
            errors.PreconditionError: it has no EL2.
            errors.LabError: it did not come back, so that no other batch would prove anything.
        """
        batch = Batch(self._run_id())
        batch.start_cpus(self._wanted)
        try:
            self._learn(self._go(batch, b""))
        except (Silence, ResetInJob) as exc:
            raise errors.LabError(f"an empty batch, and {exc.message}", hint=exc.hint) from exc

    def cpus(self) -> tuple[CpuFacts, ...]:
        """Return the CPUs that start, as they were on the last trip."""
        return self._cpus

    def start_cpus(self, *, elsewhere: Collection[int] = ()) -> tuple[CpuFacts, ...]:
        """Return the CPUs that start. Raises `errors.LabError` if one doesn't."""
        started = {each.cpu for each in self._cpus}
        missing = [str(cpu) for cpu in self._wanted if cpu not in started]
        if missing:
            raise errors.LabError(f"CPU {', '.join(missing)} did not start")
        return self._cpus

    def vectors(
        self, target: int, blob: bytes = b"", offset: int = 0, *, serves_el2: bool = False
    ) -> None:
        """Choose the vectors under test for the batches to come."""
        if len(blob) > self.hello.slot_size:
            raise errors.UsageError(f"{len(blob)} bytes; the slot has {self.hello.slot_size}")
        self._under_test = (target, blob, offset, serves_el2)

    def sweep(
        self,
        requests: Sequence[SweepRequest],
        progress: Progress | None = None,
        *,
        arrived: Arrived | None = None,
        want: Want | None = None,
        max_frames: int = 8,
    ) -> list[SweepPass]:
        """Do the passes in as few trips as hold their results; return them in order.

        CPU 0 comes last: it does the batch, and would be missed if it hung.

        Raises:
            Hang: a job made no progress, and CPU 0 could still say so.
            Vanished, Restarted: the board never came back, or came back from its firmware.
        """
        done: dict[int, SweepPass] = {}
        order = sorted(range(len(requests)), key=lambda index: not requests[index].cpu)
        for batch, asked in self._batches(requests, order):
            answers = self._do(batch, asked)
            for index, swept in zip(
                asked, answers.passes(want, max_frames=max_frames), strict=True
            ):
                done[index] = swept
                if arrived is not None:
                    arrived(index, swept)
            if progress is not None:
                progress(len(done) / len(requests))
        return [done[index] for index in range(len(requests))]

    def hvc(self, imm: int, **how: Unpack[HvcOptions]) -> Exchange:
        """Issue one hvc on a trip of its own, see `Payload.hvc`."""
        batch = self._batch()
        batch.hvc(*hvc_request(imm, **how))
        return self._do(batch, [0]).exchange(whole=not how.get("direct"))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or name == "hello":
            raise AttributeError(name)
        raise errors.Unsupported(f"this board has no console: the payload can't be asked '{name}'")

    def _batch(self) -> Batch:
        target, blob, offset, serves_el2 = self._under_test
        batch = Batch(self._run_id())
        batch.start_cpus([each.cpu for each in self._cpus])
        batch.vectors(target, blob, offset, serves_el2=serves_el2)
        return batch

    def _batches(
        self, requests: Sequence[SweepRequest], order: Sequence[int]
    ) -> Iterator[tuple[Batch, list[int]]]:
        batch, asked = self._batch(), list[int]()
        for index in order:
            if asked and not batch.has_room(requests[index]):
                yield batch, asked
                batch, asked = self._batch(), []
            batch.sweep([requests[index]])
            asked.append(index)
        if asked:
            yield batch, asked

    def _do(self, batch: Batch, asked: Sequence[int]) -> Answers:
        """Make the trip. Raises `Hang` for a job that made no progress."""
        answers = self._go(batch, self._under_test[1])
        if place := answers.stuck():
            index = asked[place.request]
            raise Hang(
                f"{batch.what(place.request)}: no progress for {batch.hang_s} s at hvc "
                f"#{place.imm:#x} on CPU {place.cpu}, after {place.done} that came home",
                Place(place.cpu, place.origin, place.imm, place.done, index, place.reported),
            )
        self._learn(answers)
        stood = (self.hello.image, self.hello.slot)
        before, self._stood = self._stood or stood, stood
        if before != stood:
            raise errors.LabError(
                f"the payload was loaded to {stood[0]:#x}, and before to {before[0]:#x}: "
                "what it found can't be compared"
            )
        return answers

    def _learn(self, answers: Answers) -> None:
        hello = answers.hello()
        check(hello)
        self.hello, self._cpus = hello, tuple(answers.started())
