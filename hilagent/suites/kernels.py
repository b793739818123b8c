# SPDX-License-Identifier: Apache-2.0
"""What the suites on a live kernel share: which kernel, what it says of itself, how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hilagent import abi, errors
from hilagent.abi import Profile
from hilagent.clock import Deadline
from hilagent.linux import files
from hilagent.linux.facts import Entry, Facts, entry_of
from hilagent.linux.system import KVM_TEST, KvmState
from hilagent.linux.wire import Feature
from hilagent.probe import lpi
from hilagent.probe.restart import Sender
from hilagent.result import Finding, Verdict
from hilagent.session.session import Session
from hilagent.session.settings import Settings
from hilagent.session.verdict import Accusation, Unfinished
from hilagent.text import scrub

if TYPE_CHECKING:
    from hilagent.build.kernel import Kernel
    from hilagent.session.linux import Boot, Linux

ASK_S, KVM_S = 30.0, 60.0
"""Seconds for one question by SSH, and for one virtual machine."""
KNOWN_ABIS = ("iss-6.12-scs", "iss-6.12", "iss-2015", "x0-mainline")
MOST_SHOWN = 5
_MOST_CONSOLE = 1 << 20
_FOUND_AT = {Entry.EL1: 1, Entry.EL2: 2}
_IDMAP = "__kvm_nvhe___kvm_hyp_init"
_HOST = "__kvm_nvhe___kvm_hyp_host_vector"
_WHERE = (
    f"grep -E ' (_text|__hyp_stub_vectors|{_IDMAP}|{_HOST})$' /proc/kallsyms; "
    "grep 'Kernel code' /proc/iomem"
)
_KEEPS_NVHE = re.compile(
    r'(?:^|[\s"])(?:kvm[-_]arm\.mode=(?!none\b)|id_aa64mmfr1\.vh|arm64_sw\.hvhe)'
)
"""Documentation/admin-guide/kernel-parameters.txt and kernel/pi/idreg-override.c of 6.12."""
_SYMBOLS = ("sh", "-c", _WHERE)


@dataclass(frozen=True)
class OnBoot:
    """A case about one kernel in one mode; ``boot`` is what the plugin orders tests by."""

    boot: Boot
    what: str = ""

    def __str__(self) -> str:
        parts = [self.boot.kernel, self.boot.mode or "default", self.what]
        return "-".join(part for part in parts if part)


def each_boot(settings: Settings) -> Iterable[OnBoot]:
    """Return one case a kernel and mode."""
    return [OnBoot(boot) for boot in settings.boots]


def declared(kernel: Kernel) -> Profile | None:
    """Return the ABI that a kernel ought to speak, None where nobody knows."""
    return abi.load(kernel.abi, kernel=kernel.version) if kernel.abi else None


def declared_by(kernel: Kernel) -> str:
    """Return who says which ABI a kernel speaks; a stock kernel's is an assumption of ours."""
    from hilagent.session.linux import FOUND

    return "" if kernel.name in FOUND else "its build"


def candidates(kernel: Kernel, features: Feature) -> tuple[Profile, ...]:
    """Return every ABI that a kernel may speak, the likeliest first: the declared one.

    Hcalls that touch neither x16 nor x18 don't tell the variants of one ABI apart, but
    what the kernel was built with does.
    """
    first = declared(kernel)
    spares = features & (Feature.KEEPS_X18 | Feature.SHADOW_CALL_STACK)
    known = KNOWN_ABIS if spares else (KNOWN_ABIS[1], KNOWN_ABIS[0], *KNOWN_ABIS[2:])
    names = [name for name in known if first is None or name != first.name]
    others = [abi.load(name, kernel=kernel.version) for name in names]
    return (first, *others) if first is not None else tuple(others)


@dataclass(frozen=True)
class Stub:
    """Where a kernel's hyp-stub vectors are; 0 where that isn't known.

    Attributes:
        idmap: physical address of the vectors that KVM is started by.
        host: physical address of the vectors that KVM serves its host by.
    """

    virtual: int = 0
    physical: int = 0
    idmap: int = 0
    host: int = 0


def stub_of(linux: Linux) -> Stub:
    """Return where the hyp-stub's vectors are, by the kernel's own symbols and memory map."""
    done = linux.system.connection.run(
        _SYMBOLS, deadline=Deadline.after(ASK_S), doing="finding the hyp-stub"
    )
    return parse_stub(done.out.decode("utf-8", "replace"))


def parse_stub(text: str) -> Stub:
    """Return the stub's place from lines of /proc/kallsyms and /proc/iomem."""
    symbols = {name: int(at, 16) for at, name in re.findall(r"^([0-9a-f]+) \w (\w+)$", text, re.M)}
    code = re.search(r"^\s*([0-9a-f]+)-[0-9a-f]+ : Kernel code$", text, re.M)
    vectors, start = symbols.get("__hyp_stub_vectors", 0), symbols.get("_text", 0)
    if not vectors or not start or code is None or not int(code[1], 16):
        return Stub(vectors, 0)
    physical = int(code[1], 16) - start
    idmap, host = (symbols[name] + physical if symbols.get(name) else 0 for name in (_IDMAP, _HOST))
    return Stub(vectors, vectors + physical, idmap, host)


def facts_of(linux: Linux, session: Session | None = None) -> Facts:
    """Return what a kernel says about itself now; what its log lost, by the session's console."""
    facts = linux.system.facts(Deadline.after(ASK_S))
    if facts.entry is not Entry.UNKNOWN or session is None:
        return facts
    said = scrub(session.console().cut(linux.position, _MOST_CONSOLE)[1])
    return replace(facts, entry=entry_of(said.splitlines()))


def free_to_use_vhe(cmdline: str) -> bool:
    """Return whether nothing on its command line keeps a kernel from VHE where CPUs have it."""
    return not _KEEPS_NVHE.search(cmdline)


def need_el2(session: Session, facts: Facts) -> None:
    """Raise unless the kernel was entered at EL2 on every CPU.

    Raises:
        errors.Unsupported: the board's file says that EL2 is somebody else's.
        errors.PreconditionError: nobody had said so; or nobody saw it.
    """
    if facts.entry is Entry.EL2:
        return
    if facts.entry is Entry.UNKNOWN:
        raise errors.PreconditionError(
            "nobody saw at which EL the kernel was entered: its log no longer reaches back so far",
            hint="give it a larger log_buf_len",
        )
    said = f"the kernel was entered at {facts.entry.value}"
    if session.board.payload.entry_el == 1:
        raise errors.Unsupported(f"{said}, as the board's file declares")
    raise errors.PreconditionError(said, hint="somebody else owns EL2: declare entry_el: 1")


def sender_of(linux: Linux, facts: Facts) -> Sender:
    """Return a running kernel as the one that will restart."""
    log = "\n".join(line.text for line in linux.system.dmesg(Deadline.after(ASK_S)))
    return Sender(
        kernel=linux.kernel.name,
        mode=facts.kvm.value,
        el=_FOUND_AT.get(facts.entry, 0),
        run_id=linux.run_id,
        profile=declared(linux.kernel),
        interrupts=lpi.interrupts(f"{log}\n{facts.cmdline}"),
    )


def servers(linux: Linux) -> dict[int, str]:
    """Return who serves hcalls on each CPU now, by its answers; empty where nobody can ask."""
    try:
        identity = linux.probe.identify()
        profile = declared(linux.kernel) or candidates(linux.kernel, identity.features)[0]
        return {cpu: linux.probe.server(profile, cpu) for cpu in identity.online}
    except (errors.Unsupported, errors.PreconditionError):
        return {}


def kvm_works(linux: Linux) -> KvmState | None:
    """Return what a virtual machine did; None where there is no program to try it with."""
    try:
        return linux.system.kvm_check(Deadline.after(KVM_S)).state
    except errors.Unsupported:
        return None


def kvm_on(linux: Linux, cpu: int) -> str:
    """Run a virtual machine on one CPU; return what went wrong."""
    argv = ["taskset", f"{1 << cpu:x}", KVM_TEST]
    try:
        done = linux.system.connection.run(
            argv, deadline=Deadline.after(ASK_S), doing=f"running a guest on CPU {cpu}"
        )
    except errors.LabError as exc:
        return exc.message
    return "" if done.status == 0 else f"a guest on CPU {cpu} ends with status {done.status}"


def restored(linux: Linux, cpu: int) -> str:
    """Switch a CPU off and on, which gives it back to KVM; return what went wrong.

    Raises:
        errors.Unsupported: this CPU can't be switched, which is nobody's fault.
    """
    try:
        for on in (False, True):
            linux.system.hotplug(cpu, on=on, deadline=Deadline.after(ASK_S))
    except errors.LabError as exc:
        return exc.message
    return ""


def switchable(linux: Linux) -> tuple[int, ...]:
    """Return the online CPUs that the kernel offers to switch off and on."""
    deadline = Deadline.after(ASK_S)
    online = linux.system.cpus_online(deadline)
    paths = {cpu: f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in online}
    there = files.read(linux.system.connection, tuple(paths.values()), deadline)
    found = tuple(cpu for cpu, path in paths.items() if path in there)
    return found if len(online) > 1 else ()


def accuse(
    session: Session, server: str, findings: Sequence[Finding], details: Sequence[str] = ()
) -> None:
    """Raise the accusation that ``findings`` are; its message names the server."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    message = (
        f"{server}: {first.rule}: {first.hcall} {first.what}: expected {first.expected}, "
        f"found {first.found}{more}"
    )
    raise Accusation(message, findings, details=_details(session, findings, details))


def _details(session: Session, findings: Sequence[Finding], more: Sequence[str]) -> str:
    from hilagent.probe import names

    parts = []
    for each in findings[:MOST_SHOWN]:
        cpus = ", ".join(map(str, each.cpus)) or "-"
        lines = [
            f"rule      {each.rule}: {each.hcall}, {each.what}",
            f"expected  {each.expected}",
            f"found     {each.found}",
        ]
        if each.immediates:
            lines.append(f"issued    hvc #{names.show_spans(each.immediates)} on CPU {cpus}")
        if each.evidence:
            lines.append(f"evidence  {each.evidence}")
        parts.append("\n".join(lines))
    if len(findings) > MOST_SHOWN:
        parts.append(f"... and {len(findings) - MOST_SHOWN} more findings, see results.json")
    parts += more
    parts.append(f"raw log   {session.raw_log}")
    return "\n\n".join(parts)


_KINDS: dict[Verdict, type[errors.HilagentError]] = {
    Verdict.CRASH: errors.TargetCrash,
    Verdict.HANG: errors.TargetHang,
    Verdict.INFRA: errors.LabError,
    Verdict.PRECONDITION: errors.PreconditionError,
    Verdict.UNSUPPORTED: errors.Unsupported,
    Verdict.UNFINISHED: Unfinished,
}


def end(verdict: Verdict, message: str, *, hint: str = "", **evidence: object) -> None:
    """Raise what stands for ``verdict``, with ``details`` and ``findings``; PASS returns."""
    if verdict is Verdict.PASS:
        return
    exc = _KINDS.get(verdict, errors.TargetError)(message, hint=hint)
    for name, value in evidence.items():
        setattr(exc, name, value)
    raise exc
