# SPDX-License-Identifier: Apache-2.0
"""Real U-Boot loads the payload by YMODEM, and the payload the rest by its loader."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent import deploy, errors
from hilagent.build.payload import build_payload
from hilagent.clock import Deadline
from hilagent.link.memory import UPLOAD_WORK_BYTES
from hilagent.payload import Payload, connect
from hilagent.payload.second_stage import Kernel, start_kernel
from hilagent.payload.upload import CHUNK_BYTES, Piece, Sent, Wire, upload
from hilagent.testing import Faults, FaultyStream
from hilagent.transport.base import Stream
from tests.console.emulated import Emulated, emulated
from tests.deploy.image import HELLO, image

pytestmark = pytest.mark.hil
WIRE, SECONDS = Wire(115_200), 100.0
GOOD = Faults()
AT, WORK = 0x4800_0000, 0x4700_0000


def kernel(size: int = 90_000) -> Kernel:
    """An Image that says hello, which can be compressed, and an initrd that can't."""
    small = image(2048)
    whole = small[:16] + size.to_bytes(8, "little") + small[24:] + b"hilagent" * 20_000
    return Kernel(whole[:size], random.Random(3).randbytes(9000), "console=ttyAMA0")


@contextlib.contextmanager
def started(folder: Path, bad: Faults = GOOD, seed: int = 0) -> Iterator[tuple[Emulated, Payload]]:
    """The payload, by U-Boot's loady; then the line becomes ``bad``, both ways."""
    lines: list[FaultyStream] = []

    def wrap(stream: Stream) -> Stream:
        lines.append(FaultyStream(stream, to_board=bad, to_host=bad, seed=seed))
        return lines[0]

    with emulated(folder, wrap) as board:
        uboot = board.uboot()
        uboot.attach()
        by = deploy.transfer(board.board, "loader")
        deploy.start_payload(uboot, build_payload().image.read_bytes(), by)
        line = board.console.take("payload")
        payload = connect(
            line, run_id=9, deadline=Deadline.after(20), emulated=True, alive=board.power.alive
        )
        lines[0].arm()
        yield board, payload


def test_what_came_by_the_payload_is_verified_and_starts(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    what = kernel()
    with started(tmp_path) as (board, payload):
        done = start_kernel(
            payload, what, wire=WIRE, deadline=Deadline.after(SECONDS),
            progress=lambda *each: seen.append(each),
        )  # fmt: skip
        line = board.console.take("image")
        assert line.expect([HELLO], Deadline.after(10)), board.console.tail()
        with pytest.raises(errors.StateError, match="booted another image"):
            payload.echo(b"")
    total = len(what.image) + len(what.initrd)
    assert (done.sent.size, done.sent.skipped) == (total, 0)
    assert done.sent.packed < 12_000
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_what_memory_holds_already_is_not_sent_and_what_it_lost_is(tmp_path: Path) -> None:
    data = (b"unchanged" * CHUNK_BYTES)[: CHUNK_BYTES + 5000]
    with started(tmp_path) as (_, payload):
        sent = [put(payload, data)]
        assert payload.read(AT, 9) == b"unchanged"
        sent.append(put(payload, data))
        payload.write8(AT + CHUNK_BYTES + 7, 0)
        sent.append(put(payload, data))
        assert payload.read8(AT + CHUNK_BYTES + 7) == data[CHUNK_BYTES + 7]
    assert [each.skipped for each in sent] == [0, len(data), CHUNK_BYTES]
    assert sent[1].counts.blocks == 0


def put(payload: Payload, data: bytes) -> Sent:
    pieces = [Piece(AT, data)]
    return upload(payload, pieces, WORK, wire=WIRE, deadline=Deadline.after(SECONDS))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_line_that_spoils_bytes_only_costs_time(tmp_path: Path, seed: int) -> None:
    data = random.Random(seed).randbytes(20_000)
    with started(tmp_path, Faults(flip=1e-4, drop=1e-4, double=1e-4, armed=False), seed) as (
        _, payload,
    ):  # fmt: skip
        sent = put(payload, data)
        assert payload.crc(AT, len(data)) == zlib.crc32(data)
    assert sent.packed > len(data)


def test_what_would_overlap_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as (_, payload):
        for at in (WORK, WORK + UPLOAD_WORK_BYTES - 1, WORK - 10):
            with pytest.raises(errors.UsageError, match="they overlap"):
                upload(payload, [Piece(at, bytes(11))], WORK, wire=WIRE, deadline=Deadline.after(9))
        assert payload.echo(b"still here") == b"still here"
