# SPDX-License-Identifier: Apache-2.0
"""What is not the vectors' doing: the right class, the right exit code, one clear message."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hilagent.clock import Deadline
from hilagent.report.results import results
from hilagent.testing import ScriptedBoard, UBootTraits
from tests.fault import boards
from tests.fault.agent import Spec
from tests.fault.harness import Ran, faulty, ran, started

SHORT = ["-o", "smp=2", "--suite", "clobber", "--vectors", "reference-stub"]
LAB = 125


def check(done: Ran, code: int, verdicts: set[str], *words: str) -> None:
    """Assert class and exit code, that each of ``words`` is in what the user sees, and
    that nothing is left behind: no traceback, no emulator."""
    said = " ".join((done.out + done.err).split())
    assert done.code == code, done.story()
    assert done.verdicts == verdicts, done.story()
    for word in words:
        assert word in said, f"not said: {word}\n{done.story()}"
    assert "Traceback" not in said, done.story()
    assert not done.emulators, done.story()
    if verdicts:
        assert done.run is not None
        assert done.run.end is not None, "the journal has no end record"
        assert not done.run.damaged
        assert done.run.exit_code == code
        assert not done.findings, done.story()
        assert {"results.json", "junit.xml"} <= {p.name for p in done.run.run_dir.iterdir()}


@pytest.mark.hil
def test_a_board_without_el2_does_not_meet_the_precondition(tmp_path: Path) -> None:
    board = boards.emulated(tmp_path, "no-el2", "qemu: {machine: virt}\npayload: {psci: hvc}")
    done = ran(["run", *board, *SHORT], tmp_path)
    says = "the payload was entered at EL1 and has no EL2"
    check(done, LAB, {"PRECONDITION"}, says, "virtualization=on", "were not asked")


@pytest.mark.hil
@pytest.mark.parametrize("spoil", ["truncated", "flipped"])
def test_an_image_that_never_arrives_whole_is_not_started(tmp_path: Path, spoil: str) -> None:
    done = ran(["run", "qemu-virt", *SHORT], tmp_path, faulty(Spec(spoil=spoil)))
    check(done, LAB, {"INFRA"}, "by tftp: the CRC-32 of what has arrived is wrong")
    assert done.run is not None
    assert b"Starting kernel" not in (done.run.run_dir / "console.raw").read_bytes()


@pytest.mark.hil
def test_an_image_that_is_spoilt_once_is_loaded_again(tmp_path: Path) -> None:
    spec = Spec(spoil="flipped", spoilt=1)
    check(ran(["run", "qemu-virt", *SHORT], tmp_path, faulty(spec)), 0, {"PASS"})


@pytest.mark.hil
def test_a_cached_image_that_is_cut_short_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HILAGENT_CACHE", str(tmp_path / "cache"))
    assert ran(["build", "payload"], tmp_path).code == 0
    (image,) = (tmp_path / "cache").rglob("payload.bin")
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    done = ran(["run", "qemu-virt", *SHORT], tmp_path)
    check(done, LAB, set(), "is no whole arm64 Image", "it will be built again")
    assert done.run is not None
    assert results(done.run)["verdict"] == "infra"


def test_a_board_whose_uboot_never_prompts_is_the_labs_and_left_alone(tmp_path: Path) -> None:
    silent = ScriptedBoard(uboot=UBootTraits(never_prompts=True))
    with boards.scripted(tmp_path, silent) as (board, switched):
        done = ran(["run", *board, *SHORT[2:]], tmp_path)
        again = ran(["run", *board, *SHORT[2:]], tmp_path / "again")
    check(done, LAB, {"INFRA"}, "not reached in 3 tries: U-Boot never came to its prompt '=> '")
    assert switched.read_text().split() == [*["off", "on"] * 3, "off"], "it was used again"
    left_alone = "scripted is in quarantine since 20", "repair it, then: hilagent doctor scripted"
    check(again, LAB, set(), *left_alone, str(tmp_path / "run"))


@pytest.mark.hil
def test_a_prompt_that_the_board_file_has_wrong_is_named(tmp_path: Path) -> None:
    board = boards.emulated(
        tmp_path, "wrong-prompt", 'uboot: {prompt: "nobody$ ", prompt_timeout_s: 3}'
    )
    done = ran(["run", *board, *SHORT], tmp_path)
    check(done, LAB, {"INFRA"}, "not reached in 3 tries", "nobody$")


@pytest.mark.hil
def test_an_emulator_that_is_killed_in_mid_sweep_is_the_labs(tmp_path: Path) -> None:
    with started(["run", "qemu-virt", "--suite", "architecture"], tmp_path) as agent:
        assert agent.until(lambda: agent.swept() > 0, Deadline.after(60))
        (pid,) = agent.emulators()
        os.kill(pid, signal.SIGKILL)
        done = agent.ended()
    check(done, LAB, {"INFRA"}, "QEMU was killed by signal 9 by itself")


def test_an_unknown_board_is_the_callers_mistake(tmp_path: Path) -> None:
    done = ran(["run", "qemu-vert"], tmp_path)
    check(done, 2, set(), "no board 'qemu-vert'; did you mean qemu-virt or ")
    assert done.run is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("cpus: many", "board.yaml:3: cpus: "),
        ("cpu: 4", "board.yaml:3: cpu: unknown field"),
        ("name: board", "board.yaml:3: "),  # twice
        ("console: {kind: serial", "board.yaml:4: not YAML: "),  # where the file ends
        ("qemu: {memory_mib: 7}", "board.yaml:3: qemu.memory_mib: "),
    ],
)
def test_a_board_file_that_is_wrong_is_named_with_its_line(
    tmp_path: Path, wrong: str, words: str
) -> None:
    done = ran(["run", *boards.emulated(tmp_path, "board", wrong)], tmp_path)
    check(done, 2, set(), words)
    assert done.run is None
