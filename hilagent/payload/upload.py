# SPDX-License-Identifier: Apache-2.0
"""Whole files into a board's memory over its serial line, by the loader that the payload calls.

They go in chunks, each compressed by LZMA where that helps, unpacked where it belongs, and
held against its CRC-32 where it stands. What memory holds already (of a try before, or of
the kernel before a reset that kept power) isn't sent.
"""

from __future__ import annotations

import itertools
import lzma
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from hilagent import errors
from hilagent.build import loader
from hilagent.clock import Deadline
from hilagent.link import memory
from hilagent.link.memory import Chunk, Uploaded

from .channel import Channel
from .client import Payload
from .places import PAGE, Range
from .sender import Counts, Sender, Status

CHUNK_BYTES = 1 << 20
_BLOCKS = ((0.1, memory.UPLOAD_BLOCK_MAX), (0.5, 512), (math.inf, 128))
"""A share of requests that a line spoils, and the block that suits it."""
_POLL_SHARE, _POLL_MOST_US = 0.4, 400  # of the time that fills a FIFO
_SILENCE_S = 20  # of the loader: then it gives the line back to the payload
_FILTERS = (
    {
        "id": lzma.FILTER_LZMA1, "preset": 6, "dict_size": CHUNK_BYTES,
        "lc": memory.UPLOAD_LC, "lp": memory.UPLOAD_LP, "pb": memory.UPLOAD_PB,
    },
)  # fmt: skip
_WHY = {
    Uploaded.SILENCE: "the loader heard nothing",
    Uploaded.BAD_PLAN: "the loader refuses its plan",
    Uploaded.BAD_CHUNK: "the loader refuses a chunk",
    Uploaded.BAD_DATA: "a chunk can't be unpacked on the board",
    Uploaded.BAD_CRC: "a chunk does not keep its CRC in the board's memory",
}

Progress = Callable[[int, int], None]
"""Called with the bytes that stand in memory and the bytes in all."""


@dataclass(frozen=True)
class Wire:
    """A serial line, and how many bytes the board's UART keeps until they are read."""

    baud: int
    fifo_bytes: int = 16

    @property
    def byte_s(self) -> float:
        """How long a byte takes."""
        return 10 / self.baud

    @property
    def poll_us(self) -> int:
        """How long the UART may be left alone."""
        return min(_POLL_MOST_US, int(self.fifo_bytes * self.byte_s * _POLL_SHARE * 1e6))


@dataclass(frozen=True)
class Piece:
    """Bytes, and the address that they belong to."""

    addr: int
    data: bytes

    @property
    def range(self) -> Range:
        """What they take of memory."""
        return Range(self.addr, len(self.data))


@dataclass
class Sent:
    """What an upload did.

    Attributes:
        size: bytes of all pieces; ``skipped``: of those that memory held already.
        packed: bytes of the stream.
        counts: blocks and bytes on the line.
        block: bytes in a block.
    """

    size: int
    skipped: int = 0
    packed: int = 0
    block: int = 0
    counts: Counts = field(default_factory=Counts)

    def observed(self) -> dict[str, int]:
        """Return all of it, for the journal."""
        return {
            "size": self.size, "skipped": self.skipped, "packed": self.packed,
            "block": self.block, **asdict(self.counts),
        }  # fmt: skip


def upload(
    payload: Payload,
    pieces: Sequence[Piece],
    workspace: int,
    *,
    wire: Wire,
    deadline: Deadline,
    progress: Progress = lambda done, total: None,
) -> Sent:
    """Put ``pieces`` where they belong; every byte is verified there, by CRC-32.

    Args:
        workspace: address of a page and `memory.UPLOAD_WORK_BYTES` of free memory, which
            overlap nothing. The payload's scratch memory is used, too.
        wire: the line.
        deadline: for all of it.

    Raises:
        errors.LinkError: the line fell silent, is too bad, or carries no raw bytes.
        errors.BoardReset: the board restarted.
        errors.LabError: not done in time, or the board refused something.
    """
    if payload.encoding != "raw":
        raise errors.LinkError(
            "no upload: this line doesn't carry every byte as it is",
            hint="a console that is 8-bit clean, or tftp among the board's transfers",
        )
    _refuse_overlaps(pieces, workspace)
    sent = Sent(sum(len(piece.data) for piece in pieces))
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        try:
            left = _missing(payload, pieces)
            sent.skipped = sent.size - sum(len(piece.data) for piece in left)
            stream = Stream(pool, left, sent, progress)
            if left:
                _send(payload, pieces, workspace, stream, wire, deadline)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    progress(sent.size, sent.size)
    return sent


def _refuse_overlaps(pieces: Sequence[Piece], workspace: int) -> None:
    taken = [Range(workspace, memory.UPLOAD_WORK_BYTES), *(piece.range for piece in pieces)]
    clash = next((pair for pair in itertools.combinations(taken, 2) if pair[0].overlaps(pair[1])),
                 None)  # fmt: skip
    if clash or len(pieces) > memory.UPLOAD_MOST_REGIONS or workspace % PAGE:
        raise errors.UsageError(f"no upload to {', '.join(map(str, taken))}: they overlap")


def _missing(payload: Payload, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the chunks that memory doesn't hold. It is asked for all CRCs only where it
    holds a piece's first bytes: after a loss of power that never is so."""
    out = []
    for piece in pieces:
        known = payload.read(piece.addr, 64) == piece.data[:64]
        for at in range(0, len(piece.data), CHUNK_BYTES):
            part = Piece(piece.addr + at, piece.data[at : at + CHUNK_BYTES])
            size = len(part.data)
            if not known or payload.crc(part.addr, size) != zlib.crc32(part.data):
                out.append(part)
    return out


def packed(data: bytes) -> tuple[Chunk, bytes]:
    """Return how a chunk goes over the line, and its bytes there."""
    small = lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)
    return (Chunk.LZMA, small) if len(small) < len(data) else (Chunk.STORED, data)


class Stream:
    """The bytes on the line; other threads compress while they are sent."""

    def __init__(
        self, pool: Executor, chunks: Sequence[Piece], sent: Sent, progress: Progress
    ) -> None:
        self._chunks, self._progress = chunks, progress
        self._made: list[Future[tuple[Chunk, bytes]]] = [
            pool.submit(packed, chunk.data) for chunk in chunks
        ]
        self.sent = sent
        self._ends = [(0, sent.skipped)]  # of each chunk: in the stream, and of all memory

    def __iter__(self) -> Iterator[bytes]:
        for chunk, made in zip(self._chunks, self._made, strict=True):
            kind, data = made.result()
            size, crc = len(chunk.data), zlib.crc32(chunk.data)
            head = memory.UPLOAD_CHUNK.pack(
                addr=chunk.addr, size=size, packed=len(data), crc=crc, kind=kind
            )
            self.sent.packed += len(head) + len(data)
            self._ends.append((self.sent.packed, self._ends[-1][1] + size))
            yield head + data
        yield memory.UPLOAD_CHUNK.pack(kind=Chunk.END)

    def heard(self, status: Status) -> None:
        """Tell how far it is: whole chunks, and the share of the one that comes."""
        at = status.base * self.sent.block
        below = max((pair for pair in self._ends if pair[0] <= at), default=self._ends[0])
        above = min((pair for pair in self._ends if pair[0] > at), default=below)
        share = (at - below[0]) / ((above[0] - below[0]) or 1)
        self._progress(below[1] + int((above[1] - below[1]) * share), self.sent.size)


def _send(
    payload: Payload,
    pieces: Sequence[Piece],
    workspace: int,
    stream: Stream,
    wire: Wire,
    deadline: Deadline,
) -> None:
    hello, blob = payload.hello, loader.build_loader()
    stream.sent.block = block = _block_size(payload)
    plan = memory.UPLOAD.pack(
        workspace=workspace, uart_base=hello.uart_base, uart_kind=hello.uart_kind,
        uart_shift=hello.uart_shift, uart_width=hello.uart_width, uart_fixed=hello.uart_fixed,
        uart_big_endian=hello.uart_big_endian, boot_id=hello.boot_id, run_id=payload.run_id,
        block=block, silence_s=_SILENCE_S, poll_us=wire.poll_us, regions=len(pieces),
        start=[piece.addr for piece in pieces], size=[len(piece.data) for piece in pieces],
    )  # fmt: skip
    code = blob.data.ljust(len(blob.data) + -len(blob.data) % 64, b"\0")
    payload.write(hello.scratch, code + plan)
    payload.code_loaded(hello.scratch, len(code))

    def talk(channel: Channel) -> None:
        sender = Sender(channel, iter(stream), block, wire.byte_s, stream.heard)
        stream.sent.counts = sender.counts
        sender.run(deadline)

    entry = hello.scratch + blob.symbols[loader.ENTRY]
    ended = payload.lend_line(talk, entry, hello.scratch + len(code)).x0
    if ended != Uploaded.DONE:
        why = str(ended)
        with suppress(ValueError):
            why = _WHY.get(Uploaded(ended), Uploaded(ended).name)
        raise errors.LabError(f"upload: {why}", hint="the memory, or a fault of this program")


def _block_size(payload: Payload) -> int:
    """Return a size of which most pass, by how many requests had to be repeated so far."""
    counters = payload.counters
    share = counters.repeats / max(1, counters.replies)
    return next(size for most, size in _BLOCKS if share <= most)
