# SPDX-License-Identifier: Apache-2.0
"""The state machine takes the cheapest right way, and power after anything odd."""

from pathlib import Path
from typing import Any, cast

import pytest

from hilagent import errors, journal
from hilagent.console.uboot import UBoot
from hilagent.journal import Journal
from hilagent.session.linux import Boot, Linux
from hilagent.session.machine import TRIES, Machine, State
from hilagent.session.restart import Trip, Way
from tests.session.fakes import KVM, STUB, FakeBench

PATCHED, NO_KVM = Boot("patched"), Boot("patched", "none")


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()


@pytest.fixture
def machine(tmp_path: Path, bench: FakeBench) -> Machine:
    return Machine(bench, Journal(tmp_path))


def test_nothing_is_switched_before_it_is_needed(machine: Machine, bench: FakeBench) -> None:
    assert machine.state is State.OFF
    assert bench.did == []


def test_the_payload_is_reached_through_u_boot(machine: Machine, bench: FakeBench) -> None:
    machine.payload(STUB)
    assert bench.did == ["on", "uboot", "payload", "load reference-stub"]
    assert machine.state is State.PAYLOAD


def test_other_vectors_are_just_loaded(machine: Machine, bench: FakeBench) -> None:
    machine.payload(STUB)
    bench.did.clear()
    machine.payload(KVM)
    machine.payload(KVM)
    assert bench.did == ["load reference-kvm"]


def test_from_u_boot_the_payload_needs_no_power(machine: Machine, bench: FakeBench) -> None:
    machine.uboot()
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did == ["payload", "load reference-stub"]


def test_from_the_payload_u_boot_needs_power(machine: Machine, bench: FakeBench) -> None:
    machine.payload(STUB)
    bench.did.clear()
    machine.uboot()
    assert bench.did == ["off", "on", "uboot"]


def test_after_a_crash_the_next_state_begins_at_power(machine: Machine, bench: FakeBench) -> None:
    machine.payload(STUB)
    machine.taint("it crashed")
    assert machine.state is State.UNKNOWN
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did == ["off", "on", "uboot", "payload", "load reference-stub"]


@pytest.mark.parametrize("step", ["on", "uboot", "payload"])
def test_a_failed_transition_is_tried_again_from_power(
    machine: Machine, bench: FakeBench, step: str
) -> None:
    bench.fail[step] = [errors.LabError("no answer")]
    machine.payload(STUB)
    assert bench.did.count("on") == 2
    assert bench.did.count("off") == 1
    assert machine.state is State.PAYLOAD


def test_a_board_that_never_answers_is_given_up_for_the_run(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["uboot"] = [errors.LabError("no prompt", hint="look at the cable")] * 9
    with pytest.raises(errors.LabError, match=f"not reached in {TRIES} tries: no prompt") as seen:
        machine.uboot()
    assert seen.value.hint == "look at the cable"
    tried = len(bench.did)
    with pytest.raises(errors.LabError):
        machine.payload(STUB)
    assert len(bench.did) == tried


def test_a_missing_precondition_is_not_tried_again(machine: Machine, bench: FakeBench) -> None:
    bench.fail["payload"] = [errors.PreconditionError("entered at EL1")]
    for _ in range(2):
        with pytest.raises(errors.PreconditionError, match="entered at EL1"):
            machine.payload(STUB)
    assert bench.did.count("payload") == 1


def test_a_failed_load_leaves_the_state_unknown(machine: Machine, bench: FakeBench) -> None:
    bench.fail["load reference-stub"] = [errors.LinkError("lost")]
    with pytest.raises(errors.LinkError):
        machine.payload(STUB)
    assert machine.state is State.UNKNOWN


def test_an_interrupt_in_a_transition_leaves_the_state_unknown(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["uboot"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        machine.uboot()
    assert machine.state is State.UNKNOWN


@pytest.mark.parametrize("leave", ["taint", "off", "uboot", "load"])
def test_a_handle_of_a_state_that_was_left_is_refused(machine: Machine, leave: str) -> None:
    payload = machine.payload(STUB)
    assert payload.echo(b"x") == b"x"
    match leave:
        case "taint":
            machine.taint("crash")
        case "off":
            machine.off()
        case "uboot":
            machine.uboot()
        case "load":
            machine.payload(KVM)
    with pytest.raises(errors.StateError, match="was left"):
        payload.echo(b"x")


def test_every_state_is_in_the_journal(tmp_path: Path, bench: FakeBench) -> None:
    log = Journal(tmp_path)
    machine = Machine(bench, log)
    machine.payload(STUB)
    machine.off()
    log.close()
    states = [r["state"] for r in journal.read(tmp_path).records if r["kind"] == "state"]
    assert states == ["unknown", "U-Boot", "payload", "payload", "off"]


def test_linux_is_built_before_power_and_started_by_u_boot(
    machine: Machine, bench: FakeBench
) -> None:
    assert machine.linux(PATCHED).boot == PATCHED
    assert bench.did == ["prepare patched", "on", "uboot", "linux patched"]
    assert machine.state is State.LINUX
    bench.did.clear()
    machine.linux(PATCHED)
    assert bench.did == []


def test_another_mode_of_the_same_kernel_is_another_boot(
    machine: Machine, bench: FakeBench
) -> None:
    machine.linux(PATCHED)
    bench.did.clear()
    machine.linux(NO_KVM)
    wanted = ["off", "on", "uboot", "linux patched, none"]
    assert bench.did == ["prepare patched, none", *wanted]


def test_a_kernel_that_hangs_is_no_reason_to_give_up_the_board(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["linux patched"] = [errors.TargetHang("never got ready")]
    with pytest.raises(errors.TargetHang):
        machine.linux(PATCHED)
    assert machine.state is State.UNKNOWN
    assert machine.linux(NO_KVM).boot == NO_KVM


def test_a_lab_that_fails_on_the_way_to_linux_is_tried_again(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["linux patched"] = [errors.LabError("no SSH")]
    machine.linux(PATCHED)
    assert bench.did.count("on") == 2


def test_a_linux_that_the_lab_does_not_reach_gives_up_nothing_but_linux(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["linux patched"] = [errors.LabError("no SSH")] * TRIES
    for boot in (PATCHED, NO_KVM):
        with pytest.raises(errors.LabError, match=f"Linux not reached in {TRIES} tries: no SSH"):
            machine.linux(boot)
    assert bench.did.count("on") == TRIES
    machine.payload(STUB)
    machine.uboot()
    assert machine.state is State.UBOOT


def test_a_payload_without_its_precondition_does_not_keep_a_kernel_from_starting(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["payload"] = [errors.PreconditionError("entered at EL1")]
    with pytest.raises(errors.PreconditionError):
        machine.payload(STUB)
    assert machine.linux(PATCHED).boot == PATCHED


def test_a_u_boot_that_is_never_reached_on_the_way_to_linux_is_reached_for_nothing(
    machine: Machine, bench: FakeBench
) -> None:
    bench.fail["uboot"] = [errors.LabError("no prompt")] * 9
    with pytest.raises(errors.LabError):
        machine.linux(PATCHED)
    for other in (machine.uboot, lambda: machine.payload(STUB)):
        with pytest.raises(errors.LabError, match="Linux not reached"):
            other()
    assert bench.did.count("on") == TRIES


def trip(**seen: Any) -> Trip:
    return Trip(Way(), PATCHED, "patched", **seen)


def test_a_restart_leaves_every_handle_behind_even_if_nobody_arrives(
    machine: Machine, bench: FakeBench
) -> None:
    linux = machine.linux(PATCHED)
    assert not machine.leave_linux(PATCHED, "kexec", lambda running: trip()).arrived
    assert machine.state is State.UNKNOWN
    with pytest.raises(errors.StateError, match="belongs to Linux"):
        _ = linux.run_id


def test_a_restart_that_the_lab_spoils_leaves_nobody_knows_what(machine: Machine) -> None:
    def spoil(running: Linux) -> Trip:
        raise errors.LinkError("the network went")

    with pytest.raises(errors.LinkError):
        machine.leave_linux(PATCHED, "kexec", spoil)
    assert machine.state is State.UNKNOWN


def test_a_refused_restart_leaves_the_kernel_where_it_was(
    machine: Machine, bench: FakeBench
) -> None:
    refusal = errors.Unsupported("EBUSY")
    machine.leave_linux(PATCHED, "kexec", lambda running: trip(refused=refusal))
    bench.did.clear()
    machine.linux(PATCHED)
    assert bench.did == []


def test_a_restart_into_the_payload_has_no_vectors_loaded_yet(
    machine: Machine, bench: FakeBench
) -> None:
    arrived = bench.payload(cast(UBoot, None))
    entered = machine.leave_linux(PATCHED, "kexec", lambda running: trip(payload=arrived))
    assert machine.state is State.PAYLOAD
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did == ["load reference-stub"]
    assert entered.payload is not None
    with pytest.raises(errors.StateError):
        entered.payload.echo(b"")


def test_the_payload_can_start_a_kernel_and_then_only_that_runs(
    machine: Machine, bench: FakeBench
) -> None:
    with pytest.raises(errors.StateError, match="no payload runs"):
        machine.payload_to_linux("home", lambda _: bench.runs(PATCHED))
    machine.payload(STUB)
    assert machine.payload_to_linux("home", lambda _: bench.runs(PATCHED)).boot == PATCHED
    assert machine.state is State.LINUX
    bench.did.clear()
    machine.payload(STUB)
    assert bench.did[:3] == ["off", "on", "uboot"]


def test_a_kernel_that_another_one_started_is_a_state_like_any_other(
    machine: Machine, bench: FakeBench
) -> None:
    arrived = bench.runs(NO_KVM, "f" * 16)
    seen = machine.leave_linux(PATCHED, "kexec", lambda running: trip(linux=arrived))
    assert seen.linux is not None
    assert seen.linux.run_id == "f" * 16
    bench.did.clear()
    machine.linux(NO_KVM)
    assert bench.did == []


@pytest.fixture
def own(bench: FakeBench) -> FakeBench:
    bench.starts_in = State.OS
    return bench


def test_a_board_without_u_boot_is_left_through_its_own_system(
    machine: Machine, own: FakeBench
) -> None:
    machine.payload(STUB)
    assert own.did == ["on", "own_system", "payload", "load reference-stub"]
    own.did.clear()
    machine.linux(Boot("patched"))
    assert own.did == ["prepare patched", "off", "on", "own_system", "linux patched"]
    own.did.clear()
    machine.reach_base()
    assert own.did == ["off", "on", "own_system"]
    assert machine.state is State.OS


def test_a_board_whose_power_starts_the_payload_goes_through_nothing_else(
    machine: Machine, bench: FakeBench
) -> None:
    bench.starts_in = State.PAYLOAD
    machine.payload(STUB)
    assert bench.did == ["on", "payload", "load reference-stub"]
    bench.did.clear()
    machine.taint("it hung")
    machine.payload(KVM)
    assert bench.did == ["off", "on", "payload", "load reference-kvm"]
    bench.did.clear()
    with pytest.raises(errors.Unsupported, match="no U-Boot; it boots payload"):
        machine.uboot()
    assert bench.did == []


def test_a_board_without_u_boot_can_not_lend_one(machine: Machine, own: FakeBench) -> None:
    with pytest.raises(errors.Unsupported, match="this board has no U-Boot"):
        machine.uboot()
    assert own.did == []
