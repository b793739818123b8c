# SPDX-License-Identifier: Apache-2.0
"""Both ends of an upload in simulated time: our sender, and the payload's C on this host.

Between them a USB adapter (what the board says comes each 16 ms) and a UART with a FIFO of
16 bytes whose bytes are lost if the loader doesn't read them in time; and faults.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hilagent import errors
from hilagent.build import sources
from hilagent.clock import Deadline
from hilagent.link import memory, wire
from hilagent.link.frame import Packet, encode
from hilagent.link.session import Session
from hilagent.payload.channel import Channel
from hilagent.payload.sender import Counts, Sender
from hilagent.payload.trouble import Evidence
from hilagent.payload.upload import Piece, Sent, Stream, Wire
from hilagent.testing import Faults, Injector, ManualClock

BASE, MEMORY = 0x2000_0000_0000, 96 << 20
WORKSPACE = BASE + MEMORY - (1 << 20)
BOOT_ID, RUN_ID = 0xB007, 0x1234
USB_S, FRAME_S, TTY_BYTES, PACKET_BYTES = 0.016, 0.001, 4096, 62
MOST_S = 3600.0
NONE = Faults()
_FILES = ("loader", "lzma", "window")
_SHARED = ("base64", "cobs", "crc32", "frame", "mem")
_OWN_NAMES = [f"-D{name}=hil_{name}" for name in ("memcpy", "memmove", "memset", "memcmp")]
_FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-strict-aliasing")


Change = tuple[str, str]
"""Text of the loader's sources, and what stands there instead: a defect."""


def built(
    folder: Path,
    main: str,
    compiler: str,
    *flags: str,
    names: Sequence[str] = _FILES,
    planted: Sequence[Change] = (),
) -> Path:
    """Build the loader's files called ``names`` with ``main``, which is beside this one."""
    (folder / "wire.h").write_text(wire.c_header())
    here, payload = Path(__file__).parent, sources.firmware_dir() / "payload"
    own = sources.firmware_dir() / "uploaded" / "loader"
    texts = {name: (own / f"{name}.c").read_text() for name in names}
    for before, after in planted:
        assert any(before in text for text in texts.values()), before
        texts = {name: text.replace(before, after) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / f"{name}.c").write_text(text)
    shared = _SHARED if names is _FILES else ()
    files = [here / main, *(folder / f"{name}.c" for name in names)]
    files += [payload / f"{name}.c" for name in shared]
    found = [f"-I{each}" for each in (here, folder, own, payload)]
    own_names = _OWN_NAMES if shared else ()
    argv = [compiler, *_FLAGS, *_SANITIZE, *flags, *own_names, *found, *files]
    subprocess.run([*argv, "-o", folder / "host"], check=True)
    return folder / "host"


_HOME = TemporaryDirectory(prefix="hilagent-loader-")


@cache
def program(*planted: Change) -> Path:
    """Return the loader's program, built once for these defects."""
    folder = Path(_HOME.name) / f"{len(list(Path(_HOME.name).iterdir()))}"
    folder.mkdir()
    return built(folder, "loader_host.c", "gcc", planted=planted)


@dataclass(frozen=True)
class Conditions:
    """A line and a board.

    Attributes:
        step_ns, access_ns: what the work between two looks at the UART costs (a dozen trips
            to DRAM: the D-cache is off), and an access to a register.
        reset_s: when the board resets, in seconds from the start; 0: never.
    """

    baud: int = 1_500_000
    to_board: Faults = NONE
    to_host: Faults = NONE
    seed: int = 0
    fifo: int = 16
    step_ns: int = 1500
    access_ns: int = 200
    reset_s: float = 0.0
    block: int = memory.UPLOAD_BLOCK_MAX
    silence_s: int = 20


class Line:
    """A `hilagent.payload.channel.ByteLine` to a loader that runs as it is read."""

    def __init__(
        self, given: Conditions, pieces: Sequence[Piece], planted: Sequence[Change]
    ) -> None:
        self.clock, self._given = ManualClock(limit_s=MOST_S), given
        self._start_s = self.clock.now_s()
        self._frame_s = max(FRAME_S, PACKET_BYTES * 10 / given.baud)
        self._to_board = Injector(given.to_board, seed=given.seed * 2, clock=self.clock)
        self._to_host = Injector(given.to_host, seed=given.seed * 2 + 1, clock=self.clock)
        self._tty = b""
        self._credit, self._adapter, self._flush_s = 0.0, b"", self._start_s
        self.ended = 0
        self._process = subprocess.Popen(
            [program(*planted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        byte_ns = round(10e9 / given.baud)
        setup = struct.pack("<4QII", MEMORY, byte_ns, given.step_ns, given.access_ns, given.fifo, 0)
        self._tell(setup + plan(given, pieces) + struct.pack("<QI", 1, 0))

    def write(self, data: bytes, deadline: Deadline) -> None:
        self._tty += data
        while len(self._tty) > TTY_BYTES:
            self._pass(self._frame_s)
            if deadline.expired():
                raise errors.LinkStuck(f"{len(self._tty)} bytes were not taken in time")

    def read(self, deadline: Deadline) -> bytes:
        while True:
            if self._to_board.cut or self._to_host.cut:
                raise errors.LinkError("the line has ended")
            found = self._to_host.pull()
            if found or deadline.expired():
                return found
            self._pass(min(self._frame_s, max(1e-6, deadline.left_s())))

    def memory(self, piece: Piece) -> bytes:
        """Return what stands there, of a loader that has ended."""
        self._tell(struct.pack("<QI", piece.addr, len(piece.data)))
        return self._hear(len(piece.data))

    def close(self) -> int:
        """End it; return its exit code, which is 0 if no sanitizer and no cache rule complained."""
        with contextlib.suppress(OSError):
            self._tell(struct.pack("<Q", 0))
        self._process.communicate(timeout=20)
        return self._process.returncode

    def _pass(self, seconds: float) -> None:
        """Let time go by on both sides."""
        self.clock.advance(seconds)
        passed_s = self.clock.now_s() - self._start_s
        self._credit = min(self._credit + seconds * self._given.baud / 10, TTY_BYTES)
        count = min(int(self._credit), len(self._tty))
        self._credit -= count
        self._to_board.push(self._tty[:count])
        self._tty = self._tty[count:]
        if self._given.reset_s and passed_s > self._given.reset_s:
            self._adapter += encode(Packet(wire.Kind.EVENT, wire.Event.BOOT, boot_id=BOOT_ID + 1))
        elif not self.ended:
            self._turn(passed_s)
        if len(self._adapter) >= PACKET_BYTES or self.clock.now_s() >= self._flush_s:
            self._flush_s = self.clock.now_s() + USB_S
            self._to_host.push(self._adapter)
            self._adapter = b""

    def _turn(self, passed_s: float) -> None:
        self.ended, size = struct.unpack("<II", self._hear(8))
        self._adapter += self._hear(size)
        if not self.ended:
            data = self._to_board.pull()
            self._tell(struct.pack("<QI", max(2, int(passed_s * 1e9)), len(data)) + data)

    def _tell(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def _hear(self, size: int) -> bytes:
        assert self._process.stdout is not None
        out = b""
        while len(out) < size:
            part = self._process.stdout.read(size - len(out))
            assert part, "the loader's program died"
            out += part
        return out


def plan(given: Conditions, pieces: Sequence[Piece]) -> bytes:
    """Return what the loader is called with."""
    return memory.UPLOAD.pack(
        workspace=WORKSPACE, boot_id=BOOT_ID, run_id=RUN_ID, block=given.block,
        silence_s=given.silence_s, poll_us=Wire(given.baud, given.fifo).poll_us,
        regions=len(pieces),
        start=[each.addr for each in pieces], size=[len(each.data) for each in pieces],
    )  # fmt: skip


@dataclass(frozen=True)
class Carried:
    """What became of an upload; ``right``: every byte stands where it belongs."""

    ended: int
    right: bool
    took_s: float
    counts: Counts
    packed: int


def carry(
    pieces: Sequence[Piece],
    given: Conditions = Conditions(),
    *,
    planted: Sequence[Change] = (),
    stream: Iterator[bytes] | None = None,
    within_s: float = 3000.0,
) -> Carried:
    """Upload ``pieces``; raises what our sender raises."""
    line = Line(given, pieces, planted)
    session = Session(RUN_ID, armoured=False)
    session.boot_id = BOOT_ID
    channel = Channel(line, session, clock=line.clock, evidence=Evidence(), log=lambda data: None)
    sent = Sent(sum(len(each.data) for each in pieces), block=given.block)
    try:
        with ThreadPoolExecutor(1) as pool:
            made = Stream(pool, pieces, sent, lambda done, total: None)
            sender = Sender(channel, stream or iter(made), given.block, 10 / given.baud, made.heard)
            ended = sender.run(Deadline.after(within_s, line.clock))
        took_s = line.clock.now_s() - line._start_s
        right = bool(line.ended) and all(line.memory(each) == each.data for each in pieces)
    finally:
        code = line.close()
    assert code == 0, f"the loader's program ended with {code}"
    return Carried(line.ended or ended, right, took_s, sender.counts, sent.packed)
