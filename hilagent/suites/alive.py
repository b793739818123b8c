# SPDX-License-Identifier: Apache-2.0
"""What the suite ``live`` judges: every hcall of one running kernel, issued once a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.abi import UNKNOWN, Profile
from hilagent.linux.exchange import Identity, LiveExchange
from hilagent.linux.system import KvmState
from hilagent.linux.wire import Feature
from hilagent.probe import asks, live, recognise
from hilagent.probe.asks import Ask, LeftOut, Live, Plan
from hilagent.probe.judgement import Judgement
from hilagent.probe.live import Done
from hilagent.probe.recognise import Contradiction, Recognised
from hilagent.result import Finding
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.suites import issuing, kernels, silent

if TYPE_CHECKING:
    from hilagent.build.kernel import Kernel
    from hilagent.session.linux import Boot, Linux

SERVERS = {"nvhe": asks.KVM, "hvhe": asks.KVM, "protected": asks.PKVM}
"""Who serves, by how a kernel uses EL2; in every other mode the hyp-stub."""


@dataclass(frozen=True)
class Alive:
    """One kernel, asked and judged.

    Attributes:
        mode, kvm_line: how it uses EL2, by its own log.
        recognised: what it speaks, by its answers; None where nothing was issued.
        contradiction: it speaks what it should not; then nothing more was issued.
        judgement: None where nothing was issued.
        landed: what the restarts into the module's own function broke; ``restarted``
            counts them.
        kvm: what a virtual machine did before and after; None: no program to try it.
        restores: KVM comes back to a CPU that is switched off and on.
        lost: what went wrong with switching a CPU off and on, by CPU.
        stayed: it is at EL1, its CPUs have VHE, and nothing is known that would keep it there.
    """

    identity: Identity
    mode: str
    server: str
    kvm_line: str = ""
    profile: Profile | None = None
    recognised: Recognised | None = None
    contradiction: Contradiction | None = None
    judgement: Judgement | None = None
    left_out: tuple[LeftOut, ...] = ()
    landed: tuple[Finding, ...] = ()
    restarted: int = 0
    kvm: tuple[KvmState | None, KvmState | None] = (None, None)
    restores: bool = False
    lost: tuple[tuple[int, str], ...] = ()
    stayed: bool = False


def seen(session: Session, settings: Settings, boot: Boot) -> Alive:
    """Return the kernel of ``boot``, measured once."""
    return session.observe(f"live:{boot}", lambda: _measure(session, settings, boot))


def _measure(session: Session, settings: Settings, boot: Boot) -> Alive:
    try:
        linux = session.linux(boot)
    except errors.TargetHang as exc:
        raise silent.explained(session, settings, boot, exc) from exc
    if linux.no_module:
        raise errors.Unsupported(linux.no_module, hint="give its headers, or its tree")
    facts, identity = kernels.facts_of(linux, session), linux.probe.identify()
    kernels.need_el2(session, facts)
    mode = facts.kvm.value
    alive = Alive(
        identity, mode, SERVERS.get(mode, asks.STUB), facts.kvm_line,
        kvm=(kernels.kvm_works(linux),) * 2,
        stayed=not identity.refused and Feature.VH in identity.features
        and kernels.free_to_use_vhe(facts.cmdline),
    )  # fmt: skip
    if not identity.refused:
        alive = _recognised(session, boot, alive, linux.kernel)
    if alive.contradiction is None and not identity.refused:
        alive = _judged(session, boot, alive)
    session.journal.observation("live", boot=str(boot), **_record(alive))
    return alive


def _recognised(session: Session, boot: Boot, alive: Alive, kernel: Kernel) -> Alive:
    protected = alive.server == asks.PKVM
    profiles = kernels.candidates(kernel, alive.identity.features)
    wanted = [Ask("hvc", UNKNOWN, None, request) for request in recognise.requests(profiles)]
    issued = issuing.issue(session, boot, lambda linux: wanted, alive.server)
    answers = [each.got for each in issued.done if isinstance(each.got, LiveExchange)]
    if protected:
        profiles = tuple(asks.refusing(profile) for profile in profiles)
    servers = (asks.PKVM,) if protected else (asks.STUB, asks.KVM)
    found = recognise.recognise(answers, profiles, servers)
    declared, by = kernels.declared(kernel), kernels.declared_by(kernel)
    return replace(
        alive,
        server=found.server,
        recognised=found,
        contradiction=recognise.contradiction(found, declared, by=by),
        profile=next(
            (p for p in profiles if declared is not None and p.name == declared.name),
            found.profile,
        ),
    )


def _judged(session: Session, boot: Boot, alive: Alive) -> Alive:
    profile, server = alive.profile, alive.server
    assert profile is not None
    restores = _restores(session, boot, alive) if server == asks.KVM else ()
    planned: dict[bool, tuple[Ask, ...]] = {}
    barred: list[LeftOut] = []

    def make(linux: Linux, *, last: bool) -> Sequence[Ask]:
        plan = asks.plan(profile, server, _known(linux, profile, server, restores))
        planned[last] = tuple(ask for ask in plan.asks if ask.last == last)
        barred[:] = barred or plan.left_out
        return planned[last]

    cpus = session.linux(boot).probe.identify().online
    withheld = live.withheld(session.linux(boot).probe.hvcs(asks.baseline(cpus)))
    with session.journal.step(f"hcalls of {boot}, served by {server}"):
        issued = issuing.issue(session, boot, lambda linux: make(linux, last=False), server)
    after = kernels.kvm_works(session.linux(boot))
    ends = issuing.issue(session, boot, lambda linux: make(linux, last=True), server)
    linux = session.linux(boot)
    places = kernels.stub_of(linux)
    stub = linux.probe.identify().stub_vectors or places.physical
    host = places.host if server == asks.KVM else 0
    if ends.done:
        session.taint("KVM is off on some CPUs for good")
    done = (*issued.done, *ends.done)
    left_out = (*barred, *issued.left_out, *ends.left_out)
    plan = Plan(server, (*planned[False], *planned[True]), left_out)
    return replace(
        alive,
        judgement=live.judge_all(profile, plan, done, stub=stub, host=host, withheld=withheld),
        left_out=left_out,
        landed=live.landed_findings(done),
        restarted=sum(bool(_landed(each)) for each in done),
        lost=issued.lost,
        kvm=(alive.kvm[0], after),
        restores=bool(restores),
    )


def _restores(session: Session, boot: Boot, alive: Alive) -> tuple[int, ...]:
    """Return the CPUs that can be switched off and on so that KVM survives, with no hcall of ours.

    Where one doesn't, nothing after a reset could tell whose fault that is: then none.
    """
    linux = session.linux(boot)
    cpus = kernels.switchable(linux)
    if alive.kvm[0] is not KvmState.OK:
        return cpus
    for cpu in cpus:
        why = kernels.restored(linux, cpu) or kernels.kvm_on(linux, cpu)
        if why:
            session.journal.note(f"switching CPU {cpu} off and on breaks KVM, without us: {why}")
            session.taint(why)
            return ()
    return cpus


def _landed(done: Done) -> bool:
    return isinstance(done.got, LiveExchange) and bool(live.landed(done.ask, done.got))


def _known(linux: Linux, profile: Profile, server: str, restores: Sequence[int]) -> Live:
    """Return what the planner must know; asks for the vectors first where KVM has them."""
    identity = linux.probe.identify()
    stub = kernels.stub_of(linux)
    known = Live(
        cpus=identity.online,
        switchable=frozenset(restores),
        expendable=True,
        vhe=Feature.VH in identity.features,
        stub=stub.virtual,
        idmap=stub.idmap,
        whole=frozenset(identity.online[:1]),
    )
    if server != asks.KVM:
        return known
    gets = [ask for ask in asks.plan(profile, server, known).asks if ask.hcall == recognise.GET]
    answers = linux.probe.hvcs([ask.request for ask in gets]) if gets else []
    done = [Done(ask, got) for ask, got in zip(gets, answers, strict=True)]
    return replace(known, vectors=live.agreed(profile, done, stub.host))


def _record(alive: Alive) -> dict[str, object]:
    """Return what the journal keeps; the judgement's findings are in the outcomes."""
    out: dict[str, object] = {"mode": alive.mode, "server": alive.server}
    out["refused"] = alive.identity.refused
    out["cpus"] = list(alive.identity.online)
    out["restarted"] = alive.restarted
    out["left_out"] = [[each.hcall, each.cpu, each.reason] for each in alive.left_out]
    if alive.recognised is not None and alive.profile is not None:
        found = alive.recognised
        out |= {"abi": alive.profile.name, "recognised": found.profile.name}
        out |= {"certain": found.certain, "evidence": list(found.evidence)}
    if alive.judgement is not None:
        notes = alive.judgement.notes
        out["notes"] = [[note.hcall, note.what, list(note.cpus)] for note in notes]
        out["cells"] = [
            [hcall, rule, cell.state.value, cell.reason]
            for (hcall, rule), cell in alive.judgement.cells.items()
        ]
    return out
