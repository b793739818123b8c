# SPDX-License-Identifier: Apache-2.0
"""Uploads beside what a lab would use instead: on the emulated board, by real U-Boot, over a
line that a proxy paces; and a whole kernel in simulated time, at every rate.

The emulator's PL011 takes some 15 to 30 KB a second and no more, so on it 115,200 baud is the
rate at which a comparison means anything, and a kernel's ratio is the host's.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from hilagent import deploy
from hilagent.build.payload import build_payload
from hilagent.clock import Deadline
from hilagent.console import command
from hilagent.console.line import Line
from hilagent.console.uboot import UBoot
from hilagent.deploy import ymodem
from hilagent.payload import connect
from hilagent.payload.upload import Piece, Wire, upload
from hilagent.testing import Faults, FaultyStream
from hilagent.transport.base import Stream
from tests.bench import test_upload as bench
from tests.bench.test_upload import BAUDS, KERNEL, RAW
from tests.console.emulated import Emulated, emulated
from tests.firmware.loader.simulated import BASE, NONE, Conditions, carry
from tests.long.conftest import Tell

BAUD, SIZE = 115_200, 1 << 16
AT, WORK = 0x4800_0000, 0x4700_0000
LIMIT_S = 200.0
Load = Callable[[UBoot, bytes, Path], None]
TO_BOARD, TO_HOST = Faults(baud=BAUD, delay_s=0.001), Faults(baud=BAUD, delay_s=0.016)


@contextlib.contextmanager
def paced(folder: Path) -> Iterator[tuple[Emulated, UBoot]]:
    """U-Boot's prompt, behind a line of that rate and a USB adapter's 16 ms."""
    lines: list[FaultyStream] = []

    def wrap(stream: Stream) -> Stream:
        lines.append(FaultyStream(stream, to_board=NONE, to_host=NONE))
        return lines[0]

    with emulated(folder, wrap) as board:
        uboot = board.uboot()
        uboot.attach()
        lines[0].proxy.to_board.change(TO_BOARD)
        lines[0].proxy.to_host.change(TO_HOST)
        yield board, uboot


def loaded(uboot: UBoot, data: bytes) -> None:
    uboot.resume(Deadline.after(LIMIT_S))
    assert uboot.matches(AT, data, Deadline.after(LIMIT_S))


@contextlib.contextmanager
def carried(
    line: Line, read: Callable[[], bytes], write: Callable[[bytes], object]
) -> Iterator[None]:
    """Carry bytes between U-Boot's line and a program for as long as it runs."""
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            write(line.read(Deadline.after(0.2)))

    def speak() -> None:
        with contextlib.suppress(OSError):
            while part := read():
                line.write(part, Deadline.after(LIMIT_S))

    threads = [threading.Thread(target=each, daemon=True) for each in (listen, speak)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    threads[0].join()


def by_sz(uboot: UBoot, data: bytes, file: Path) -> None:
    """lrzsz's YMODEM, on its standard input and output."""
    line = uboot.converse("loady", AT, deadline=Deadline.after(LIMIT_S))
    argv = ["sz", "--ymodem", "-k", "-q", str(file)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, bufsize=0) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        answers, said = program.stdin, program.stdout.fileno()
        with carried(line, lambda: os.read(said, 4096), lambda data: _answer(answers, data)):
            program.wait(timeout=LIMIT_S)
    loaded(uboot, data)


def _answer(to: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError):
        to.write(data)


def by_kermit(uboot: UBoot, data: bytes, file: Path) -> None:
    """C-Kermit with long packets, a sliding window and few quoted bytes."""
    line = uboot.converse("loadb", AT, deadline=Deadline.after(LIMIT_S))
    far, near = os.openpty()
    for end in (far, near):
        tty.setraw(end)
    steps = (
        f"set line {os.ttyname(near)}", "set carrier-watch off", "set flow-control none",
        "robust", "set file type binary", "set send packet-length 1000",
        "set receive packet-length 1000", "set window 5", f"send {file}", "quit",
    )  # fmt: skip
    with carried(line, lambda: os.read(far, 4096), lambda data: os.write(far, data)):
        argv = ["kermit", "-Y", "-C", ", ".join(steps)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)
    os.close(near)
    os.close(far)
    loaded(uboot, data)


def by_ymodem(uboot: UBoot, data: bytes, file: Path) -> None:
    del file
    by = ymodem.Ymodem(BAUD)
    by.load(uboot, AT, data, Deadline.after(LIMIT_S), lambda done, total: None)
    loaded(uboot, data)


PEERS: dict[str, Load] = {
    "hilagent's YMODEM to loady": by_ymodem,
    "sz --ymodem to loady": by_sz,
    "kermit to loadb": by_kermit,
}


def ours(board: Emulated, data: bytes) -> float:
    line = board.console.take("payload")
    payload = connect(
        line, run_id=5, deadline=Deadline.after(30), emulated=True, alive=board.power.alive
    )
    began_s = time.monotonic()
    upload(payload, [Piece(AT, data)], WORK, wire=Wire(BAUD), deadline=Deadline.after(LIMIT_S))
    return time.monotonic() - began_s


def test_beside_what_a_lab_would_use(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ALLOWED", {*command.ALLOWED, "loadb"})
    raw, kernel = random.Random(1).randbytes(SIZE), bench.kernel()[3 << 20 :][: 2 * SIZE]
    limit_s = SIZE * 10 / BAUD
    file = tmp_path / "image"
    file.write_bytes(raw)
    found: dict[str, float] = {}
    with paced(tmp_path) as (_, uboot):
        for name, load in PEERS.items():
            began_s = time.monotonic()
            load(uboot, raw, file)
            found[name] = limit_s / (time.monotonic() - began_s)
    for name, data in (("raw", raw), ("a part of a kernel", kernel)):
        with paced(tmp_path) as (board, uboot):
            deploy.start_payload(
                uboot, build_payload().image.read_bytes(), ymodem.Ymodem(BAUD),
                deadline=Deadline.after(LIMIT_S),
            )  # fmt: skip
            found[f"the loader, {name}"] = len(data) * 10 / BAUD / ours(board, data)
    for name, share in found.items():
        tell(f"{SIZE >> 10} KiB at {BAUD} baud, emulated: {name}", "", f"{share:.2f} of the line")
    assert found["the loader, raw"] > max(found[name] for name in PEERS)
    assert found["the loader, a part of a kernel"] > 1.2 * found["the loader, raw"]


@pytest.mark.parametrize("baud", BAUDS)
def test_a_whole_kernel_at_every_rate(baud: int, tell: Tell) -> None:
    data, noise = bench.kernel(), random.Random(baud).randbytes(1 << 20)
    goal = f"{KERNEL}, {RAW}"
    shares = [
        bench.share(each, carry([Piece(BASE, each)], Conditions(baud=baud)), baud)
        for each in (data, noise)
    ]
    tell(f"upload at {baud} baud: kernel Image, raw", goal, f"{shares[0]:.2f}, {shares[1]:.3f}")
    assert shares[0] > KERNEL
    assert shares[1] > RAW


@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3, 3e-3])
def test_lines_that_spoil_bytes(rate: float, tell: Tell) -> None:
    data, wrong, took = random.Random(7).randbytes(60_000), 0, []
    for seed in range(30):
        bad = Faults.spread(rate)
        block = 2048 if rate < 1e-3 else 128
        given = Conditions(baud=921_600, to_board=bad, to_host=bad, seed=seed, block=block)
        carried = carry([Piece(BASE, data)], given)
        wrong += not carried.right
        took.append(bench.share(data, carried, 921_600))
    tell(f"30 uploads, {rate:g} of the bytes spoilt, both ways", "all right",
         f"{30 - wrong} right, {min(took):.2f} to {max(took):.2f} of the line")  # fmt: skip
    assert wrong == 0
