# SPDX-License-Identifier: Apache-2.0
"""Live: the hcalls of a running kernel, issued by a module from its EL1, on each CPU.

Who serves them is decided by how the kernel uses EL2: the hyp-stub with KVM off, KVM's
vectors under nVHE, protected KVM, which must refuse. A kernel at EL2 (VHE) issues none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.linux.facts import Kvm
from hilagent.linux.system import KvmState
from hilagent.linux.wire import Feature
from hilagent.probe import RULES, asks
from hilagent.probe.judgement import State
from hilagent.probe.live import NOT_LIVE
from hilagent.result import Finding
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.verdict import Unfinished
from hilagent.suites import alive, kernels
from hilagent.suites.alive import Alive
from hilagent.suites.cases import cases
from hilagent.suites.kernels import OnBoot, each_boot

LOADS = 3
"""How often the module is removed and loaded again."""
MODULE = "/lib/modules/hilhvc.ko"
_MODES: Mapping[str, tuple[str, ...]] = {
    "": ("nvhe", "hvhe", "vhe"), "nvhe": ("nvhe", "hvhe"), "none": ("none",),
    "protected": ("protected",),
}  # fmt: skip
"""How a kernel may use EL2, by what it was told."""


def _each_rule(settings: Settings) -> Iterable[OnBoot]:
    rules = [rule for rule in RULES if rule not in NOT_LIVE]
    return [OnBoot(boot, rule) for boot in settings.boots for rule in rules]


@cases(each_boot)
def test_live_abi(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """The kernel speaks the ABI that it ought to, by its answers."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    _needs_hvc(seen)
    wrong = seen.contradiction
    if wrong is not None and wrong.findings:
        kernels.accuse(hilagent_session, seen.server, wrong.findings)
    if wrong is not None:
        kernels.end(wrong.verdict, wrong.message)


@cases(_each_rule)
def test_live(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """One rule, for every hcall, on every CPU."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    _needs_hvc(seen)
    if seen.judgement is None:
        raise Unfinished("not asked: the kernel speaks another ABI than it should")
    cells = [cell for cell in seen.judgement.cells.values() if cell.rule == case.what]
    broken = [finding for cell in cells for finding in cell.findings]
    if broken:
        kernels.accuse(hilagent_session, seen.server, broken)
    open_cells = [each for each in cells if each.state in {State.UNFINISHED, State.VOID}]
    if open_cells:
        raise Unfinished(f"{open_cells[0].hcall}: {open_cells[0].reason}")
    if all(cell.state is State.NOT_APPLICABLE for cell in cells):
        raise errors.Unsupported(cells[0].reason if cells else "no hcall has this rule")


@cases(each_boot)
def test_live_entry(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """A soft restart into the module's own function enters it as the next kernel would be."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    _needs_hvc(seen)
    if seen.landed:
        kernels.accuse(hilagent_session, seen.server, seen.landed)
    if not seen.restarted:
        reasons = [each.reason for each in seen.left_out if each.hcall == "HVC_SOFT_RESTART"]
        refuses = "protected KVM refuses it" if seen.server == "pkvm" else ""
        if reasons or refuses:
            raise errors.Unsupported(refuses or reasons[0])
        raise Unfinished("no restart came to the module's function: see rule dispatch")


@cases(each_boot)
def test_live_kvm(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """KVM makes a virtual machine and runs instructions in it, before and after all that."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    _check_mode(hilagent_session, seen, case.boot.mode)
    before, after = seen.kvm
    if before is None or before is KvmState.ABSENT:
        raise errors.Unsupported("no KVM here" if before else "no program to try KVM with")
    if before is KvmState.OK and after is KvmState.OK:
        return
    when = "after the hcalls" if before is KvmState.OK else "before any hcall of ours"
    found = after if before is KvmState.OK else before
    assert found is not None
    finding = Finding("kvm", "KVM", "virtual machine", "runs", f"{found.value}, {when}")
    kernels.accuse(hilagent_session, seen.server, [finding])


@cases(each_boot)
def test_live_module(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """The module can be removed and loaded again and again, without harm."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    linux = hilagent_session.linux(case.boot)
    for _ in range(LOADS):
        for argv in (["rmmod", "hilhvc"], ["insmod", MODULE]):
            linux.system.connection.must(argv, deadline=Deadline.after(kernels.ASK_S))
        found = linux.probe.identify()
        if found.online != seen.identity.online or found.refused != seen.identity.refused:
            raise errors.AgentBug("the module finds another kernel after it was loaded again")


@cases(each_boot)
def test_live_hotplug(hilagent_session: Session, hilagent_settings: Settings, case: OnBoot) -> None:
    """PSCI still answers: each CPU can be switched off and on, after its hcalls."""
    seen = alive.seen(hilagent_session, hilagent_settings, case.boot)
    if seen.lost:
        _accuse_lost(hilagent_session, seen, seen.lost)
    if len(seen.identity.online) < 2:
        raise errors.Unsupported("the last CPU can't be switched off")
    linux = hilagent_session.linux(case.boot)
    switchable = kernels.switchable(linux)
    if not switchable:
        raise errors.Unsupported("the kernel offers to switch no CPU off: has firmware a way?")
    tried = [(cpu, kernels.restored(linux, cpu)) for cpu in switchable]
    lost = [(cpu, why) for cpu, why in tried if why]
    if seen.server == asks.KVM and not seen.restores:
        hilagent_session.taint("KVM doesn't survive it here")
    if lost:
        hilagent_session.taint("a CPU did not come back")
        _accuse_lost(hilagent_session, seen, lost)


def _check_mode(session: Session, seen: Alive, asked: str) -> None:
    """KVM owns EL2 as the kernel was told, unless it says that it can't; told nothing, the
    kernel itself is there where its CPUs have VHE (kernel/hyp-stub.S of 6.12)."""
    finalise = "HVC_FINALISE_EL2"
    if seen.stayed and seen.profile is not None and finalise in seen.profile.numbers:
        found = f"at EL1: {seen.kvm_line or 'KVM says nothing'}"
        finding = Finding("dispatch", finalise, "effect", "the kernel at EL2: CPUs have VHE", found)
        kernels.accuse(session, asks.STUB, [finding])
    if seen.mode in _MODES[asked]:
        return
    if seen.mode == Kvm.ABSENT.value and Feature.KVM in seen.identity.features:
        why = seen.kvm_line or "it says nothing"
        finding = Finding("kvm", "KVM", "EL2", f"{' or '.join(_MODES[asked])}", why)
        kernels.accuse(session, seen.server, [finding])
    raise errors.Unsupported(f"told to use {asked or 'its default'}, the kernel uses {seen.mode}")


def _needs_hvc(seen: Alive) -> None:
    if seen.identity.refused:
        raise errors.Unsupported(seen.identity.refused)


def _accuse_lost(session: Session, seen: Alive, lost: Iterable[tuple[int, str]]) -> None:
    findings = [
        Finding("psci", "CPU_ON", "CPU", "back after it was switched off", why, (cpu,))
        for cpu, why in lost
    ]
    kernels.accuse(session, seen.server, findings)
