# SPDX-License-Identifier: Apache-2.0
"""How fast the console engine is over a pty and raw TCP, beside pexpect in the same run.

labgrid's figures are taken in the second tier: it can't live in our environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect.fdpexpect
import pytest

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.transport import Stream
from tests.bench import far
from tests.bench.far import Took

DRAIN_S = 0.05
TRIP_MS = {"pty": 0.3, "tcp": 1.0}
ROUNDS, TRIPS = 5, 200
LIMIT_S = 30.0


class InSmallPieces:
    """The mutant: what a console costs whose reads are small."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.fileno, self.write, self.close = stream.fileno, stream.write, stream.close

    def read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fileno(), 64)
        return b""


@contextlib.contextmanager
def opened(kind: str) -> Iterator[Stream]:
    """Yield our stream onto a far end that waits for a byte."""
    if kind == "pty":
        with far.pty() as path:
            yield transport.open(Config(kind="serial", path=path))
    else:
        with far.tcp() as (host, port):
            yield transport.open(Config(kind="tcp", host=host, port=port))


def ours(
    kind: str, folder: Path, number: int, wrap: Callable[[Stream], Stream] = lambda each: each
) -> Took:
    """Measure the engine as a run uses it: reader, crash watch and log on disk."""
    log = folder / str(number)
    log.mkdir()
    with opened(kind) as stream, Console(wrap(stream), log) as console:
        line = console.take("bench")

        def write(data: bytes) -> None:
            line.write(data, Deadline.after(LIMIT_S))

        def until(pattern: bytes) -> None:
            assert line.expect([pattern], Deadline.after(LIMIT_S)), pattern

        found = far.took(write, until, TRIPS)
    assert (log / "console.raw").stat().st_size > far.SIZE
    return found


def pexpects(kind: str) -> Took:
    """Measure pexpect's fdpexpect, with its defaults, on the same kind of line."""
    with opened(kind) as stream:
        os.set_blocking(stream.fileno(), True)
        spawn = pexpect.fdpexpect.fdspawn(stream.fileno(), timeout=LIMIT_S)
        found = far.took(spawn.send, spawn.expect_exact, TRIPS)
        stream.close()
    return found


@pytest.mark.parametrize("kind", TRIP_MS)
def test_a_mebibyte_is_drained_and_a_line_comes_back_in_time(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    mine = [ours(kind, tmp_path, number) for number in range(ROUNDS)]
    theirs = [pexpects(kind) for _ in range(2)]
    record_property(f"{kind}: 1 MiB drained", f"{far.best_s(mine):.4f} s")
    record_property(f"{kind}: round trip of a line", f"{far.trip_ms(mine):.3f} ms")
    record_property("drain / pexpect's", f"{far.best_s(mine) / far.best_s(theirs):.2f}")
    record_property("round trip / pexpect's", f"{far.trip_ms(mine) / far.trip_ms(theirs):.2f}")
    assert far.best_s(mine) < DRAIN_S
    assert far.trip_ms(mine) < TRIP_MS[kind]


@pytest.mark.parametrize("kind", TRIP_MS)
def test_reads_of_a_few_bytes_would_miss_it(kind: str, tmp_path: Path) -> None:
    assert ours(kind, tmp_path, 0, InSmallPieces).drain_s > 2 * DRAIN_S
