# SPDX-License-Identifier: Apache-2.0
"""The suite ``live``: one measurement a kernel and mode, many tests that judge it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.linux.facts import Entry, Kvm
from hilagent.linux.request import Request
from hilagent.linux.system import KvmState
from hilagent.linux.wire import Effect, Feature
from hilagent.probe import RULES
from hilagent.probe.live import NOT_LIVE
from hilagent.result import Verdict
from hilagent.session.linux import Boot
from hilagent.session.sweeps import ConfirmedCrash, ConfirmedHang
from hilagent.session.verdict import Accusation, Unfinished, verdict_of
from hilagent.suites import alive, kernels, live
from hilagent.suites.kernels import OnBoot
from tests.probe.livesim import SCS, SLOT, VBAR, Kernel, profile_of
from tests.probe.sim import Shot
from tests.suites import fakes
from tests.suites.fakes import World

BOOT = Boot("patched", "nvhe")
CASE = OnBoot(BOOT)
TESTS = (live.test_live_abi, live.test_live_entry, live.test_live_kvm, live.test_live_module,
         live.test_live_hotplug)  # fmt: skip


def world(server: str = "kvm", profile: str = SCS, **changes: object) -> World:
    """Return a world whose kernel keeps its contract."""
    kvm = {"kvm": Kvm.NVHE, "hyp-stub": Kvm.NONE, "pkvm": Kvm.PROTECTED}[server]
    made = World(Kernel(profile_of(profile, server), server), facts=fakes.facts(kvm))
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def _run(tmp_path: Path, at: World, rule: str = "", test: object = None) -> object:
    session = fakes.session(tmp_path, at)
    case = OnBoot(BOOT, rule) if rule else CASE
    function = test or live.test_live
    return function(session, fakes.chosen(BOOT), case)  # type: ignore[operator]


@pytest.mark.parametrize("server", ["kvm", "hyp-stub"])
def test_a_kernel_that_keeps_its_contract_passes_everything(tmp_path: Path, server: str) -> None:
    at = world(server)
    session = fakes.session(tmp_path, at)
    settings = fakes.chosen(BOOT)
    for case in live._each_rule(settings):
        live.test_live(session, settings, case)
    for test in TESTS:
        if (server, test) != ("hyp-stub", live.test_live_kvm):  # told to use nVHE, and doesn't
            test(session, settings, CASE)
    assert session.boots == 1


def test_each_rule_that_is_seen_live_is_a_test_of_each_boot() -> None:
    ids = [str(case) for case in live._each_rule(fakes.chosen(Boot("patched", ""), BOOT))]
    assert ids[0] == "patched-default-dispatch"
    assert len(ids) == 2 * (len(RULES) - len(NOT_LIVE)) == len(set(ids))


def _x19(shot: Shot) -> None:
    if shot.imm == 1 and shot.cpu == 1:
        shot.x[19] = 1


def test_an_accusation_names_server_rule_hcall_and_cpu(tmp_path: Path) -> None:
    at = world()
    at.kernel.behave = _x19
    with pytest.raises(Accusation, match="kvm: clobber: HVC_GET_VECTORS x19") as seen:
        _run(tmp_path, at, "clobber")
    (found,) = seen.value.findings
    assert found.cpus == (1,)
    assert "issued    hvc #0x1 on CPU 1" in seen.value.details
    assert "served by kvm" in seen.value.details


def test_another_abi_than_declared_is_accused_and_no_more_is_issued(tmp_path: Path) -> None:
    at = world("kvm", "x0-mainline@6.12")
    with pytest.raises(Accusation, match=r"kvm: abi: unknown profile: expected iss-6.12-scs"):
        _run(tmp_path, at, test=live.test_live_abi)
    with pytest.raises(Unfinished, match="another ABI"):
        _run(tmp_path / "again", at, "clobber")


def test_another_abi_than_assumed_accuses_nobody(tmp_path: Path) -> None:
    at = world("kvm", "x0-mainline@6.12", name="debian")
    with pytest.raises(errors.PreconditionError, match="nobody had said which"):
        _run(tmp_path, at, test=live.test_live_abi)


def test_an_undeclared_abi_is_recognised(tmp_path: Path) -> None:
    at = world("hyp-stub", "x0-mainline@6.12", name="given", abi="")
    seen = alive.seen(fakes.session(tmp_path, at), fakes.chosen(BOOT), BOOT)
    assert seen.profile is not None
    assert (seen.profile.name, seen.server) == ("x0-mainline", "hyp-stub")
    assert seen.judgement is not None
    assert seen.judgement.findings == ()


@pytest.mark.parametrize(
    ("features", "name"), [(Feature.KVM, "iss-6.12"), (Feature.KEEPS_X18, "iss-6.12-scs")]
)
def test_what_the_hcalls_do_not_tell_the_build_does(features: Feature, name: str) -> None:
    built = fakes.LiveBench(world(abi="")).runs(BOOT).kernel
    assert kernels.candidates(built, features)[0].name == name


def test_protected_kvm_must_refuse_everything(tmp_path: Path) -> None:
    at = world("pkvm")
    _run(tmp_path, at, "result")
    with pytest.raises(errors.Unsupported, match="protected KVM refuses it"):
        _run(tmp_path / "again", at, test=live.test_live_entry)
    at.kernel.behave = lambda shot: shot.x.__setitem__(0, 0) if shot.imm == 4 else None
    with pytest.raises(Accusation, match="pkvm: result: unknown x0"):
        _run(tmp_path / "broken", at, "result")


def test_a_refusing_module_is_unsupported_with_its_reason(tmp_path: Path) -> None:
    at = world(refused="the kernel runs at EL2 itself (VHE)")
    tests = (live.test_live, live.test_live_abi, live.test_live_entry)
    for number, test in enumerate(tests):
        with pytest.raises(errors.Unsupported, match="runs at EL2 itself"):
            _run(tmp_path / str(number), at, "clobber", test)


def _hangs(imm: int, error: type[errors.HilagentError], times: int = 9) -> object:
    left = [times]

    def stops(request: Request) -> errors.HilagentError | None:
        if request.imm != imm or request.effect is Effect.NONE or not left[0]:
            return None
        left[0] -= 1
        return error("CPU 0 did not come back")

    return stops


@pytest.mark.parametrize("error", [errors.TargetHang, errors.LinkError])
def test_an_hcall_that_never_comes_back_twice_is_a_hang(
    tmp_path: Path, error: type[errors.HilagentError]
) -> None:
    at = world(stops=_hangs(5, error))
    with pytest.raises(ConfirmedHang, match=r"kvm: HVC_RESET_VECTORS .hvc #0x5. on CPU 0") as seen:
        _run(tmp_path, at, "result")
    assert verdict_of(seen.value) is Verdict.HANG
    assert "twice from fresh boots" in seen.value.message


def test_one_that_never_came_back_once_accuses_nobody(tmp_path: Path) -> None:
    at = world(stops=_hangs(5, errors.TargetHang, times=1))
    with pytest.raises(errors.LabError, match="stopped once, and not again"):
        _run(tmp_path, at, "result")


def test_a_kernel_that_dies_of_it_is_a_crash(tmp_path: Path) -> None:
    at = world(stops=_hangs(5, errors.LinkError))
    at.console = b"[    9.0] nVHE hyp BUG at: arch/arm64/kvm/hyp/nvhe/hyp-main.c\r\n"
    with pytest.raises(ConfirmedCrash, match=r"kvm: HVC_RESET_VECTORS.*nVHE hyp BUG"):
        _run(tmp_path, at, "result")


def test_what_the_module_refuses_is_left_out_with_its_reason(tmp_path: Path) -> None:
    def stops(request: Request) -> errors.HilagentError | None:
        refuses = request.effect is Effect.RESTART
        return errors.Unsupported("a restart to nowhere") if refuses else None

    seen = alive.seen(fakes.session(tmp_path, world(stops=stops)), fakes.chosen(BOOT), BOOT)
    assert {each.reason for each in seen.left_out if each.hcall == "HVC_SOFT_RESTART"} == {
        "a restart to nowhere"
    }
    with pytest.raises(errors.Unsupported, match="a restart to nowhere"):
        _run(tmp_path / "again", world(stops=stops), test=live.test_live_entry)


def test_what_a_restart_into_the_module_broke_is_accused(tmp_path: Path) -> None:
    at = world()
    at.kernel.entered = {"SCTLR_EL2": 0x30C50834}
    with pytest.raises(Accusation, match=r"kvm: entry-dcache: HVC_SOFT_RESTART SCTLR.C"):
        _run(tmp_path, at, test=live.test_live_entry)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([KvmState.BROKEN], "broken, before any hcall"),
        ([KvmState.OK, KvmState.BROKEN], "broken, after the hcalls"),
    ],
)
def test_a_kvm_that_stops_working_is_accused(
    tmp_path: Path, states: list[KvmState], said: str
) -> None:
    with pytest.raises(Accusation, match=said):
        _run(tmp_path, world(kvm=states), test=live.test_live_kvm)


def test_a_kvm_that_did_not_come_up_is_accused_and_one_that_was_not_wanted_is_not(
    tmp_path: Path,
) -> None:
    at = world("hyp-stub")
    at.facts = fakes.facts(Kvm.ABSENT)
    with pytest.raises(Accusation, match="kvm: KVM EL2: expected nvhe or hvhe"):
        _run(tmp_path, at, test=live.test_live_kvm)
    with pytest.raises(errors.Unsupported, match="the kernel uses none"):
        _run(tmp_path / "again", world("hyp-stub"), test=live.test_live_kvm)


def test_a_cpu_that_does_not_come_back_is_accused(tmp_path: Path) -> None:
    def hotplug(cpu: int, on: bool) -> errors.HilagentError | None:
        return errors.LabError("no error, and no effect") if on and cpu == 1 else None

    with pytest.raises(Accusation, match="kvm: psci: CPU_ON CPU: expected back"):
        _run(tmp_path, world(hotplug=hotplug), test=live.test_live_hotplug)


def test_where_hotplug_alone_breaks_kvm_nothing_is_blamed_on_hcalls(tmp_path: Path) -> None:
    at = world()

    def hotplug(cpu: int, on: bool) -> errors.HilagentError | None:
        at.kvm = [KvmState.OK, KvmState.BROKEN] if at.kvm == [KvmState.OK] else at.kvm
        return errors.LabError("a guest never ends") if on else None

    at.hotplug = hotplug
    session = fakes.session(tmp_path, at)
    seen = alive.seen(session, fakes.chosen(BOOT), BOOT)
    assert not seen.restores
    assert session.boots == 2
    assert any("one alone of restart and reset" in each.reason for each in seen.left_out)
    assert seen.judgement is not None
    assert seen.judgement.findings == ()


def test_the_module_is_loaded_again_and_again(tmp_path: Path) -> None:
    at = world()
    _run(tmp_path, at, test=live.test_live_module)
    assert at.did.count("rmmod hilhvc") == live.LOADS
    assert at.did.count(f"insmod {live.MODULE}") == live.LOADS


@pytest.mark.parametrize(
    ("entry", "declared", "error"),
    [
        (Entry.EL1, 2, errors.PreconditionError),
        (Entry.EL1, 1, errors.Unsupported),
        (Entry.MIXED, 2, errors.PreconditionError),
    ],
)
def test_a_kernel_that_started_at_el1_is_asked_nothing(
    tmp_path: Path, entry: Entry, declared: int, error: type[errors.HilagentError]
) -> None:
    at = world()
    at.facts = fakes.facts(entry=entry)
    session = fakes.session(tmp_path, at)
    object.__setattr__(session.board.payload, "entry_el", declared)
    with pytest.raises(error, match="was entered at"):
        live.test_live(session, fakes.chosen(BOOT), OnBoot(BOOT, "clobber"))


def test_the_stub_is_found_by_symbols_and_memory_map() -> None:
    found = kernels.parse_stub(fakes.SYMBOLS)
    assert (found.virtual, found.physical) == (SLOT, VBAR)
    assert found.idmap == VBAR + 0x800
    assert kernels.parse_stub("") == kernels.Stub()
    hidden = "0000000000000000 T _text\n0000000000000000 T __hyp_stub_vectors\n"
    assert kernels.parse_stub(hidden) == kernels.Stub()
    assert kernels.parse_stub(fakes.SYMBOLS.replace(": Kernel code", ": System RAM")).physical == 0


@pytest.mark.parametrize("verdict", [each for each in Verdict if each is not Verdict.BUG])
def test_each_verdict_has_an_error_that_stands_for_it(verdict: Verdict) -> None:
    if verdict is Verdict.PASS:
        kernels.end(verdict, "")
        return
    with pytest.raises(errors.HilagentError) as seen:
        kernels.end(verdict, "said", details="more")
    assert verdict_of(seen.value) is verdict
    assert seen.value.details == "more"  # type: ignore[attr-defined]


def _with_vhe(tmp_path: Path, cmdline: str = "console=ttyAMA0") -> None:
    """Run the test on a kernel that is at EL1, on CPUs that have VHE."""
    at = world("kvm", features=Feature.KVM | Feature.VH)
    at.facts = replace(at.facts, kvm_line="Hyp nVHE mode initialized successfully", cmdline=cmdline)
    session, boot = fakes.session(tmp_path, at), Boot("patched", "")
    live.test_live_kvm(session, fakes.chosen(boot), OnBoot(boot))


def test_a_kernel_that_stays_at_el1_where_cpus_have_vhe_is_accused(tmp_path: Path) -> None:
    with pytest.raises(Accusation, match=r"hyp-stub: dispatch: HVC_FINALISE_EL2 effect") as seen:
        _with_vhe(tmp_path)
    assert "at EL1: Hyp nVHE mode" in str(seen.value)


@pytest.mark.parametrize(
    "cmdline",
    [
        "kvm-arm.mode=nvhe",
        "x kvm_arm.mode=protected",
        'a "kvm-arm.mode=nvhe"',
        "id_aa64mmfr1.vh=0 y",
        "a arm64_sw.hvhe=1",
    ],
)
def test_a_kernel_that_was_told_to_stay_at_el1_is_not(tmp_path: Path, cmdline: str) -> None:
    _with_vhe(tmp_path, cmdline)


@pytest.mark.parametrize("cmdline", ["kvm-arm.mode=none", "arm64.nosve", "x-kvm-arm.mode=nvhe"])
def test_what_does_not_keep_it_there_is_no_excuse(tmp_path: Path, cmdline: str) -> None:
    with pytest.raises(Accusation, match=r"HVC_FINALISE_EL2 effect"):
        _with_vhe(tmp_path, cmdline)
