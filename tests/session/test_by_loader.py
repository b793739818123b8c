# SPDX-License-Identifier: Apache-2.0
"""A kernel that the payload receives and starts: whose fault is what, and when U-Boot must."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hilagent import board as boards
from hilagent import errors
from hilagent.journal import read
from hilagent.payload import second_stage
from hilagent.payload.trouble import Dying, Silence
from hilagent.payload.upload import Sent
from hilagent.session.built import Built
from hilagent.session.linux import FIRST, Boot
from hilagent.session.open import RealBench
from tests.console.helper import FarEnd
from tests.console.test_watch import PANIC
from tests.session.test_linux import BOOT, Bench, bench, ready

PAYLOAD: Any = None


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built: files of a few bytes, in this test's folder."""
    for name in ("Image", "archive"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Built, "initrd", lambda self: b"archive")


def started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    board: FarEnd,
    does: Callable[[str], None],
    seconds: float = 5.0,
) -> Bench:
    """A bench whose payload starts a kernel that ``does`` something; it gets the run id."""

    def start_kernel(payload: object, what: second_stage.Kernel, **how: object) -> object:
        assert (what.image, what.initrd) == (b"Image", b"archive")
        word = next(word for word in what.cmdline.split() if word.startswith("hilagent.run="))
        does(word.partition("=")[2])
        return SimpleNamespace(sent=Sent(12, packed=7))

    monkeypatch.setattr(second_stage, "start_kernel", start_kernel)
    return bench(tmp_path, board.console, seconds=seconds)


@pytest.mark.usefixtures("kernel")
def test_it_is_reached_and_what_was_sent_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FarEnd() as board:
        lab = started(tmp_path, monkeypatch, board, lambda run: board.say(FIRST + ready(run)))
        assert lab.start_by_loader(PAYLOAD, BOOT).boot == BOOT
    (seen,) = read(tmp_path).observations("upload")
    assert (seen["size"], seen["packed"], seen["repeats"]) == (12, 7, 0)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("said", [b"", PANIC, b"U-Boot 2023.01\r\n"])
def test_one_that_never_spoke_accuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    with FarEnd() as board:
        lab = started(tmp_path, monkeypatch, board, lambda run: board.say(said), seconds=0.1)
        with pytest.raises(errors.LabError, match="which never said a word") as caught:
            lab.start_by_loader(PAYLOAD, BOOT)
    assert not isinstance(caught.value, errors.TargetError)


@pytest.mark.usefixtures("kernel")
def test_one_that_spoke_and_died_crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FarEnd() as board:
        lab = started(tmp_path, monkeypatch, board, lambda run: board.say(FIRST + PANIC))
        with pytest.raises(errors.TargetCrash):
            lab.start_by_loader(PAYLOAD, BOOT)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    "failure",
    [Dying("the payload died", fields={}), Silence("upload: nothing heard"),
     errors.BoardReset("the board restarted")],
)  # fmt: skip
def test_what_dies_in_the_upload_is_never_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def die(run: str) -> None:
        raise failure

    with FarEnd() as board:
        lab = started(tmp_path, monkeypatch, board, die)
        with pytest.raises(errors.HilagentError) as caught:
            lab.start_by_loader(PAYLOAD, BOOT)
    assert not isinstance(caught.value, errors.TargetError)


def test_what_the_payload_cant_start_is_left_to_uboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FarEnd() as board:
        lab = bench(tmp_path, board.console)
        assert lab.needs_uboot(BOOT) == ""
        tree = dataclasses.replace(lab.prepare(BOOT), dtb=Path("a.dtb"))
        monkeypatch.setattr(lab, "prepare", lambda boot: tree)
        assert "device tree of its own" in lab.needs_uboot(BOOT)
        assert lab._board.linux is not None
        efi = dataclasses.replace(lab._board.linux, start="bootefi")
        monkeypatch.setattr(lab, "_board", dataclasses.replace(lab._board, linux=efi))
        assert "by EFI" in lab.needs_uboot(BOOT)


@pytest.mark.parametrize(
    ("transfer", "why", "way"),
    [("loader", "", "loader"), ("loader", "it has reasons", "U-Boot"), ("ymodem", "", "U-Boot")],
)
def test_the_run_says_who_loads(
    monkeypatch: pytest.MonkeyPatch, transfer: str, why: str, way: str
) -> None:
    from hilagent.console.uboot import UBoot

    notes: list[str] = []
    real: Any = object.__new__(RealBench)
    real._settings = SimpleNamespace(transfer=transfer, board=boards.load("qemu-virt"))
    real._journal = SimpleNamespace(note=notes.append)
    real._payload = None
    real.linux_bench = SimpleNamespace(
        needs_uboot=lambda boot: why,
        start=lambda base, boot, by: "U-Boot",
        start_by_loader=lambda payload, boot: "loader",
    )
    monkeypatch.setattr(RealBench, "transfer", lambda self: None)
    monkeypatch.setattr(RealBench, "payload", lambda self, base: "payload")
    assert real.linux(object.__new__(UBoot), Boot("patched")) == way
    assert bool(notes) == (transfer == "loader" and bool(why))
