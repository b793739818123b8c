# SPDX-License-Identifier: Apache-2.0
"""One soft restart as the suite ``restart`` does it: what is meant, done, seen and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from hilagent import errors, probe
from hilagent.linux.kexec import NoSuchCall
from hilagent.linux.system import KvmState
from hilagent.payload import Payload, foreign_cpus, gic
from hilagent.payload.cargo import BundleLost
from hilagent.payload.trouble import PayloadFault
from hilagent.probe import ended
from hilagent.probe.arrival import Arrival, Tree, blamed
from hilagent.probe.ended import Ended, Seen
from hilagent.probe.entry import FDT_MAGIC
from hilagent.probe.judgement import Judgement
from hilagent.probe.restart import Kind, Leg, Receiver, Times
from hilagent.result import Finding, Verdict
from hilagent.session.restart import Way
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.subject import Subject
from hilagent.suites import kernels

if TYPE_CHECKING:
    from hilagent.linux.facts import Facts
    from hilagent.session.linux import Boot, Linux
    from hilagent.session.restart import Trip

WAYS: Mapping[Kind, Way] = {
    Kind.FILE: Way("kexec", "file"), Kind.LOAD: Way("kexec", "load"), Kind.CRASH: Way("crash"),
}  # fmt: skip
_CRASH_BY_LOAD = Way("crash", "load")
_MISLED = "KVM takes a CPU's EL2 at its first guest with kvm.enable_virt_at_load=0, or before 6.12"
_NO_WAY_BACK = (errors.PreconditionError, BundleLost)
_FULL = 1
"""In a chain, the leg in which the payload sweeps every immediate."""


def into_kernel(session: Session, boot: Boot, kind: Kind, number: int) -> Ended:
    """Restart the kernel of ``boot`` into itself; return how it ended."""
    linux = session.linux(boot)
    facts, works = kernels.facts_of(linux, session), kernels.kvm_works(linux)
    leg = _leg(kind, linux, Receiver.KERNEL, boot, facts, number)
    trip = _tried(kind, lambda way: session.restart(boot, way, boot))
    done = _judged(session, replace(leg, run_id=trip.run_id, image=trip.image), trip)
    if done.verdict is Verdict.PASS and trip.linux is not None:
        done = _kvm_again(done, works, trip.linux)
        done = replace(done, available_bytes=kernels.facts_of(trip.linux).available_bytes)
    if kind is Kind.CRASH:
        session.taint("a kernel that was started by a crash has no crash kernel of its own")
    return done


def into_payload(
    session: Session, settings: Settings, boot: Boot, kind: Kind, number: int
) -> Ended:
    """Restart into the payload, sweep there, and let it start the kernel again."""
    linux = session.linux(boot)
    facts, stub = kernels.facts_of(linux, session), kernels.stub_of(linux).physical
    leg = _leg(kind, linux, Receiver.PAYLOAD, boot, facts, number)
    trip = _tried(kind, lambda way: session.enter_payload(boot, way))
    leg = replace(leg, run_id=trip.run_id, image=trip.image)
    late = _start(trip) if trip.payload is not None else ""
    arrival = _arrival(trip, leg, stub) if trip.payload is not None else None
    done = _judged(session, leg, trip, arrival)
    if trip.payload is None:
        return done
    if late:
        done = _unfinished(done, f"it arrived, and {late}")
    done = _swept(session, settings, done, number)
    return _home(session, trip, done, facts)


def _tried(kind: Kind, go: Callable[[Way], Trip]) -> Trip:
    """Take a way; a crash kernel by the other system call where the kernel lacks the first."""
    trip = go(WAYS[kind])
    lacks = isinstance(trip.refused, NoSuchCall)
    return go(_CRASH_BY_LOAD) if kind is Kind.CRASH and lacks else trip


def _leg(
    kind: Kind, linux: Linux, receiver: Receiver, boot: Boot, facts: Facts, number: int
) -> Leg:
    """Return what is meant; who serves it is asked first, where that can be asked.

    Raises:
        errors.PreconditionError: another server than the kernel's use of EL2 tells.
    """
    whole = receiver is Receiver.KERNEL and kind is not Kind.CRASH
    leg = Leg(
        kind, kernels.sender_of(linux, facts), receiver,
        to=boot.kernel if receiver is Receiver.KERNEL else "the payload",
        cpus=len(facts.cpus_online) if whole else 0,
        kvm=facts.kvm.value if receiver is Receiver.KERNEL else "",
        number=number,
    )  # fmt: skip
    if leg.asks:
        leg = replace(leg, sender=replace(leg.sender, servers=kernels.servers(linux)))
    if leg.misled:
        raise errors.PreconditionError(f"{leg}: {leg.misled}", hint=_MISLED)
    return leg


def _judged(session: Session, leg: Leg, trip: Trip, arrival: Arrival | None = None) -> Ended:
    """Judge a trip; a silence only after the board was started from power."""
    seen = Seen(
        console=trip.console,
        refused=trip.refused,
        run_id=trip.found_run_id,
        dmesg=trip.dmesg,
        arrival=arrival,
        times=Times(trip.left_s, trip.first_s, trip.ready_s),
        waited_s=trip.waited_s,
        stalled_s=trip.stalled_s,
        powered=trip.powered,
        trouble=trip.trouble if trip.payload is not None else "",
    )
    done = ended.judge(leg, seen)
    if done.verdict is Verdict.UNFINISHED and not trip.arrived and trip.refused is None:
        done = ended.judge(leg, replace(seen, boots=session.starts_from_power()))
    return done


def _start(trip: Trip) -> str:
    """Start the CPUs that don't run in the kernel before us; return why one won't."""
    payload = trip.payload
    assert payload is not None
    elsewhere = foreign_cpus(payload, trip.cargo, crash=trip.way.kind == "crash")
    try:
        payload.start_cpus(elsewhere=elsewhere)
    except (errors.LinkError, errors.BoardReset, errors.HostOverloaded):
        raise
    except errors.LabError as exc:
        return exc.message
    return ""


def _arrival(trip: Trip, leg: Leg, stub: int) -> Arrival:
    """Return the payload's entry as the judge wants it; CPUs that weren't started saved none."""
    payload = trip.payload
    assert payload is not None
    hello, cpus = payload.hello, payload.cpus()
    others = sorted(set(range(hello.cpus)) - {cpu.cpu for cpu in cpus})
    return Arrival(
        cpus=(*cpus, *(replace(cpus[0], cpu=cpu, entry={}) for cpu in others)),
        image=hello.image,
        image_size=hello.image_size,
        tree=_tree(trip, payload, cpus[0].entry["x0"]),
        server=leg.served.server,
        sender_el=leg.sender.el,
        profile=leg.sender.profile,
        stub_vectors=stub or None,
    )


def _tree(trip: Trip, payload: Payload, x0: int) -> Tree:
    cargo = trip.cargo
    if cargo is not None:
        ram = tuple((each.start, each.end - 1) for each in cargo.memory())
        initrd = (cargo.bundle.start, cargo.bundle.end - 1)
        return Tree(FDT_MAGIC, cargo.tree_at.size, ram, initrd)
    try:
        head = payload.read(x0, 8)
    except PayloadFault:
        return Tree(0, 0)
    return Tree(int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big"))


def _kvm_again(done: Ended, works: KvmState | None, linux: Linux) -> Ended:
    """KVM still makes virtual machines, if it did before."""
    now = kernels.kvm_works(linux)
    if works is not KvmState.OK or now is KvmState.OK:
        return done
    found = now.value if now is not None else "no program to try it"
    finding = Finding(
        "restart-kvm", "HVC_SOFT_RESTART", "virtual machine", "runs, as before", found
    )
    message = f"{done.leg}: restart-kvm: expected a virtual machine as before, found {found}"
    return replace(done, verdict=Verdict.FAIL, message=message, findings=(finding,))


def _swept(session: Session, settings: Settings, done: Ended, number: int) -> Ended:
    """Sweep the reference vectors there: what the kernel left behind must not show."""
    subject = next((each for each in settings.subjects if each.server == "hyp-stub"), None)
    if subject is None or done.verdict not in {Verdict.PASS, Verdict.FAIL}:
        return done
    judged = _sweep(session, settings, subject, whole=number == _FULL)
    found = judged.findings
    if done.findings or (done.verdict is Verdict.FAIL and not found):
        return replace(done, findings=(*done.findings, *found))
    if found:
        said = f"{done.leg}: after it, {found[0].rule}: {found[0].hcall} {found[0].what}"
        return replace(done, verdict=Verdict.FAIL, message=said, findings=found)
    return _unfinished(done, f"after it, {judged.open[0]}") if judged.open else done


def _sweep(session: Session, settings: Settings, subject: Subject, *, whole: bool) -> Judgement:
    from hilagent.suites import observe

    profile, server = settings.profile, subject.server
    payload = session.payload(subject)
    wanted = (
        probe.requests(profile, server, "vectors", [0])
        if whole
        else probe.narrow(profile, server, [0])
    )
    cpus = payload.cpus()
    session.learn(payload.hello, cpus)
    lab = observe.lab(session, cpus)
    passes = payload.sweep(wanted, want=probe.wanted_frames(profile, server, lab))
    return probe.judge(profile, server, passes, lab, wanted=wanted)


def _home(session: Session, trip: Trip, done: Ended, before: Facts) -> Ended:
    """Let the payload start the kernel that came along: only a closed circle passes."""
    try:
        if trip.cargo is None:
            kind = BundleLost if trip.lost else errors.PreconditionError
            raise kind(trip.no_cargo or "the payload has no kernel to start")
        interrupts = done.leg.sender.interrupts
        if interrupts.exposed and done.leg.kind is not Kind.CRASH:
            gic.require(trip.cargo.lpi, interrupts.tables)
        linux = session.leave_payload(trip)
    except errors.WorldError as exc:
        session.taint(exc.message)
        if done.verdict is Verdict.PASS and not isinstance(exc, _NO_WAY_BACK):
            raise
        return _open(done, exc)
    after = kernels.facts_of(linux)
    crash = trip.way.kind == "crash"
    note = f"a full circle: {len(after.cpus_online)} of {len(before.cpus_online)} CPUs"
    if crash:
        note += ", inside the crash region; the leg ends in a reset"
        session.taint("after a crash devices still write into the old kernel's memory")
    done = replace(done, notes=(*done.notes, note), available_bytes=after.available_bytes)
    lacking = len(after.cpus_online) < len(before.cpus_online)
    if lacking and not crash:
        only = note.removeprefix("a full circle: ")
        return _unfinished(done, f"the payload's kernel has only {only}")
    return done


def _open(done: Ended, why: errors.WorldError) -> Ended:
    """Return ``done`` without a way back; of a lost initrd the restart is accused."""
    done = replace(done, notes=(*done.notes, f"no way back: {why.message}"))
    if not isinstance(why, BundleLost):
        return _unfinished(done, f"the circle is not closed: {why.message}")
    finding = Finding(
        "restart-initrd", blamed(done.leg.served.server), "initrd", "the bytes that were loaded",
        why.message, evidence=f"served by {done.leg.served.server}; the device tree is good",
    )  # fmt: skip
    found = (*done.findings, finding)
    if done.verdict is Verdict.FAIL:
        return replace(done, findings=found)
    message = f"{done.leg}: restart-initrd: {why.message}"
    return replace(done, verdict=Verdict.FAIL, message=message, findings=found)


def _unfinished(done: Ended, why: str) -> Ended:
    """Return ``done`` as not finished, unless it was worse."""
    if done.verdict is not Verdict.PASS:
        return done
    return replace(done, verdict=Verdict.UNFINISHED, message=f"{done.leg}: {why}")
