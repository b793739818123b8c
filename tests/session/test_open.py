# SPDX-License-Identifier: Apache-2.0
"""The real rooms joined, on a board that is scripted byte by byte behind a pty."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, cast

import pytest

from hilagent import abi, errors, journal
from hilagent import board as boards
from hilagent.build.progress import Progress
from hilagent.journal import Journal
from hilagent.payload import Payload
from hilagent.payload.alone import Alone
from hilagent.session import quarantine
from hilagent.session.machine import State
from hilagent.session.open import bench
from hilagent.session.open import open as open_session
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject
from hilagent.suites import observe
from hilagent.testing import PtyBoard, ScriptedBoard, Traits, UBootTraits, behaviour
from tests.transport.cable import Cable, Unplugged

STUB = Subject("reference-stub", "hyp-stub", blob=bytes(0x800))
BED = """\
schema: 1
name: bed
description: a scripted board
soc: scripted
emulated: false
cpus: 2
console: {{kind: serial, path: {path}}}
power: {{kind: command, "on": ["true"], "off": [outlet, "2 off"], off_s: 0.1}}
uboot:
  prompt: "=> "
  autoboot: Hit any key to stop autoboot
  load_addr: 0x40200000
  prompt_timeout_s: {prompt_s}
  network: {{mode: none}}
  transfer_timeout_s: 8
transfers: [ymodem]
payload: {{entry_el: 2, psci: smc, timeout_s: 3}}
"""
FAST = UBootTraits(autoboot_s=0.05)


class Switch:
    """A power back-end that switches a scripted board, or lies about it."""

    def __init__(self, pty: PtyBoard, board: ScriptedBoard) -> None:
        self.pty, self.board, self.did, self.lies = pty, board, list[str](), False
        self.sticks, self.tells = 0, False

    def on(self) -> None:
        self.did.append("on")
        if not (self.lies and self.did.count("on") > 1):
            self.pty.change(lambda: self.board.power(True))

    def off(self) -> None:
        self.did.append("off")
        if self.sticks:
            self.sticks -= 1
            raise errors.LabError("the relay sticks")
        if not self.lies:
            self.pty.change(lambda: self.board.power(False))

    def cycle(self) -> None:
        self.off()
        self.on()

    def state(self) -> bool | None:
        return self.board.powered if self.tells else None

    def alive(self) -> bool | None:
        return None


class Bed:
    """A scripted board with everything around it that a session needs."""

    def __init__(self, pty: PtyBoard, board: ScriptedBoard, tmp_path: Path) -> None:
        self.board, self.pty, self.switch = board, pty, Switch(pty, board)
        prompt_s = 1 if board.uboot.traits.never_prompts else 20  # a busy host is late
        (tmp_path / "bed.yaml").write_text(BED.format(path=pty.path, prompt_s=prompt_s))
        self.run_dir = tmp_path / "run"
        self.run_dir.mkdir()
        self.journal = Journal(self.run_dir)
        self.journal.run()
        found = boards.load("bed", dirs=[tmp_path])
        self.settings = Settings(Request(), found, abi.load("iss-2015"), (STUB,), "ymodem")


@pytest.fixture
def traits() -> Traits:
    return Traits(cpus=2)


@pytest.fixture
def uboot() -> UBootTraits:
    return FAST


@pytest.fixture
def bed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traits: Traits, uboot: UBootTraits
) -> Iterator[Bed]:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    board = ScriptedBoard(uboot=uboot, payload=traits, behaviour=behaviour.hyp_stub, powered=False)
    with PtyBoard(board) as pty:
        bed = Bed(pty, board, tmp_path)
        monkeypatch.setattr("hilagent.power.open", lambda *_: bed.switch)
        monkeypatch.setattr(
            "hilagent.session.open.RealBench.build",
            lambda self: setattr(self, "_image", bytes(56) + b"ARM\x64" + bytes(4)),
        )
        yield bed
        bed.journal.close()


def test_a_firmware_that_has_to_be_fetched_is_a_step_of_the_run(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi, asked = boards.load("qemu-raspi3b"), list[str]()

    def at_hand(board: boards.Board, *, progress: Progress) -> boards.Board:
        asked.append(board.name)
        progress(1, 2, "half of it")
        return board

    monkeypatch.setattr("hilagent.build.firmware.at_hand", at_hand)
    with open_session(dataclasses.replace(bed.settings, board=pi), bed.journal):
        pass
    with open_session(bed.settings, bed.journal):
        pass
    assert asked == ["qemu-raspi3b"]
    assert '"get u-boot-rpi"' in (bed.run_dir / "journal.jsonl").read_text()


def test_a_payload_that_nobody_has_a_line_to_leaves_the_reset_to_power(bed: Bed) -> None:
    def nowhere(*_: object) -> NoReturn:
        raise AssertionError("it was asked")

    alone = Alone(nowhere, run_id=lambda: 1, cpus=1)
    with bench(bed.settings, bed.journal) as real:
        assert real.reset(cast("Payload", alone)) is False
    assert "no reset by the payload" in (bed.run_dir / "journal.jsonl").read_text()


def test_from_off_to_a_verdict_and_off_again(bed: Bed) -> None:
    with open_session(bed.settings, bed.journal) as session:
        assert bed.switch.did == []
        judged = observe.vectors(session, bed.settings, STUB)
        assert judged.judgement is not None
        assert judged.judgement.findings == ()
        assert session.state is State.PAYLOAD
    assert bed.switch.did == ["off", "on", "off"]
    assert not bed.board.powered
    names = {path.name for path in bed.run_dir.iterdir()}
    assert {"console.raw", "console.tx", "console.idx"} <= names


def test_an_adapter_that_is_unplugged_in_a_sweep_costs_no_verdict(bed: Bed) -> None:
    moments = list[Unplugged]()

    def unplug(record: journal.Record) -> None:
        if record["kind"] == "step" and record["what"].startswith("sweep ") and not moments:
            moments.append(Unplugged(cable, 0.0, 1.5))

    bed.journal.listeners.append(unplug)
    with Cable(bed.pty.path) as cable:
        console = dataclasses.replace(bed.settings.board.console, path=str(cable.path))
        board = dataclasses.replace(bed.settings.board, console=console)
        bed.settings = dataclasses.replace(bed.settings, board=board)
        with open_session(bed.settings, bed.journal) as session:
            judged = observe.vectors(session, bed.settings, STUB)
            moments[0].join()
    assert judged.judgement is not None
    assert judged.judgement.findings == ()
    assert bed.switch.did == ["off", "on", "off"]
    told = [r["text"] for r in journal.read(bed.run_dir).records if r["kind"] == "note"]
    assert [text.split(",")[0].split(" after")[0] for text in told] == [
        "the console's adapter was unplugged",
        "the console's adapter is back",
    ]


def test_one_console_log_a_run_however_often_it_boots(bed: Bed) -> None:
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
        first = (bed.run_dir / "console.raw").stat().st_size
        session.taint("crash")
        session.uboot()
    assert (bed.run_dir / "console.raw").read_bytes().count(b"U-Boot 2023") >= 2
    assert (bed.run_dir / "console.raw").stat().st_size > first


def test_whatever_is_raised_the_board_is_off_and_the_lock_is_free(bed: Bed) -> None:
    for exc in (KeyboardInterrupt(), errors.TargetCrash("x"), ZeroDivisionError()):
        with pytest.raises(type(exc)):
            _raise(bed, exc)
        assert bed.switch.did[-1] == "off"


def _raise(bed: Bed, exc: BaseException) -> None:
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
        raise exc


def test_a_board_in_use_is_refused_before_it_is_touched(bed: Bed) -> None:
    with open_session(bed.settings, bed.journal):
        used = pytest.raises(errors.LabError, match="is in use by")
        with used, open_session(bed.settings, bed.journal):
            pass
    assert bed.switch.did == ["off"]


def _impatient(settings: Settings) -> Settings:
    assert settings.board.uboot is not None
    uboot = dataclasses.replace(settings.board.uboot, prompt_timeout_s=1.0)
    return dataclasses.replace(settings, board=dataclasses.replace(settings.board, uboot=uboot))


def test_a_switch_that_lies_is_no_fresh_boot(bed: Bed) -> None:
    bed.switch.lies = True
    bed.settings = _impatient(bed.settings)
    with open_session(bed.settings, bed.journal) as session:
        session.payload(STUB)
        session.taint("hang")
        with pytest.raises(errors.LabError, match="not reached in 3 tries") as seen:
            session.payload(STUB)
    assert bed.switch.did.count("on") == 4
    assert "the payload from before power was cycled still runs" in seen.value.message
    assert "in quarantine until 'hilagent doctor bed' finds it well" in seen.value.hint
    marked = quarantine.found(bed.settings.board)
    assert marked is not None
    assert (marked.board, marked.run) == ("bed", str(bed.run_dir))
    refused = pytest.raises(errors.LabError, match=r"bed is in quarantine since .* still runs")
    did = list(bed.switch.did)
    with refused, open_session(bed.settings, bed.journal):
        pass
    assert bed.switch.did == did


def test_a_board_that_does_not_come_back_accuses_nobody_and_is_left_alone(bed: Bed) -> None:
    bed.settings = _impatient(bed.settings)
    with open_session(bed.settings, bed.journal) as session:
        session.payload(STUB)
        bed.board.uboot.traits = UBootTraits(never_prompts=True)
        session.taint("hang")
        with pytest.raises(errors.LabError, match="not reached in 3 tries") as seen:
            session.payload(STUB)
    assert "in quarantine until 'hilagent doctor bed' finds it well" in seen.value.hint
    mark = quarantine.found(bed.settings.board)
    assert mark is not None
    assert "U-Boot never came to its prompt" in mark.saw


@pytest.mark.parametrize("uboot", [UBootTraits(never_prompts=True)])
def test_a_u_boot_that_never_prompts_is_the_labs_and_asked_three_times(bed: Bed) -> None:
    never = pytest.raises(errors.LabError, match="U-Boot never came to its prompt")
    with open_session(bed.settings, bed.journal) as session, never:
        session.payload(STUB)
    assert bed.switch.did.count("on") == 3
    run = journal.read(bed.run_dir)
    assert [r for r in run.records if r["kind"] == "note" and r.get("blame") == "infra"]


@pytest.mark.parametrize("traits", [Traits(entry_el=1)])
def test_a_payload_entered_at_el1_is_a_precondition(bed: Bed) -> None:
    refused = pytest.raises(errors.PreconditionError, match="EL1")
    with open_session(bed.settings, bed.journal) as session, refused:
        session.payload(STUB)
    lines = (bed.run_dir / journal.NAME).read_text().splitlines()
    lab = [line for line in lines if '"blame":"infra"' in line]  # a loaded host may cost a try
    assert bed.switch.did == ["off", "on"] * (1 + len(lab)) + ["off"], lines


@pytest.mark.parametrize("traits", [Traits(cpus=1)])
def test_a_cpu_that_the_board_declares_and_has_not_is_said(bed: Bed) -> None:
    from hilagent.suites import verdicts

    with open_session(bed.settings, bed.journal) as session:
        observe.vectors(session, bed.settings, STUB)
        with pytest.raises(errors.PreconditionError, match="declares 2 CPUs, and CPU 1 did not"):
            verdicts.check_cpus(session)


def test_a_board_that_is_known_to_be_off_is_not_switched_off_first(bed: Bed) -> None:
    bed.switch.tells = True
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
    assert bed.switch.did == ["on", "off"]


def test_a_board_that_was_left_on_starts_from_power_too(bed: Bed) -> None:
    bed.switch.tells = True
    bed.switch.on()
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
    assert bed.switch.did == ["on", "off", "on", "off"]


def test_a_switch_that_sticks_is_tried_again(bed: Bed) -> None:
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
        bed.switch.sticks = 2
    assert bed.switch.did == ["off", "on", "off", "off", "off"]
    assert not bed.board.powered


@pytest.mark.parametrize("tells", [True, False])
def test_a_board_that_stays_on_is_said_with_the_command_that_ends_it(bed: Bed, tells: bool) -> None:
    with pytest.raises(errors.LabError, match="bed wasn't switched off") as caught:
        _leave_on(bed, tells)
    assert caught.value.hint == "bed may still have power; run: outlet '2 off'"
    assert bed.switch.did.count("off") == 4
    note = (bed.run_dir / journal.NAME).read_text()
    assert "bed may still have power; run: outlet '2 off'" in note
    assert '"blame":"infra"' in note
    marked = quarantine.found(bed.settings.board)
    assert (marked is not None) is tells, "a switch that fails and says so is no liar"
    assert not tells or "switched off 3 times: its switch says that it is on" in str(marked)


def _leave_on(bed: Bed, tells: bool) -> None:
    with open_session(bed.settings, bed.journal) as session:
        session.uboot()
        bed.switch.tells = bed.switch.lies = tells
        bed.switch.sticks = 0 if tells else 9


def test_a_switch_that_complains_of_a_board_that_is_off_is_no_trouble(bed: Bed) -> None:
    bed.switch.tells, bed.switch.sticks = True, 9
    with open_session(bed.settings, bed.journal):
        pass
    assert bed.switch.did == ["off"]
