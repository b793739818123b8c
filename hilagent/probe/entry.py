# SPDX-License-Identifier: Apache-2.0
"""The state that an image is entered in, held against the kernel's own documents.

Most rules are Documentation/arch/arm64/booting.rst's; a few are the soft restart's
(Documentation/virt/kvm/arm/hyp-abi.rst, arch/arm64/kernel/cpu-reset.S) and bind only
where an hvc brought us here. As of 6.12. What the documents ask for and nobody can see
from here is in the table too, so that no report claims it. What firmware did to the
other CPUs is judged apart from what the soft restart did to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hilagent import errors
from hilagent.result import CpuFacts

from . import arrival as arrivals
from . import ruling
from .arrival import FIRMWARE, Arrival, Tree, level, sctlr
from .ruling import HELD, Answer, Breach, Rule, Ruling, State, broken, unseen

Judge = Callable[[Arrival], Answer]
Test = Callable[[CpuFacts], tuple[str, str, str] | None]
"""Of one CPU: what, expected, found; None where it holds."""

FDT_MAGIC = 0xD00DFEED
MAX_DTB = 2 << 20
TWO_MIB, GIB = 2 << 20, 1 << 30
WINDOW = 32 * GIB
PHYSICAL_BITS = 48

BOOTING = "booting.rst"
HEAD = "arch/arm64/kernel/head.S, 'Kernel startup entry point'"
RESET = "arch/arm64/kernel/cpu-reset.S, 'the same state as it would be if it had been reset'"


def judge(arrival: Arrival) -> tuple[Ruling[Arrival], ...]:
    """Return what became of every rule, in the order of :data:`RULES`."""
    if not arrival.entry.get("CurrentEL"):
        raise errors.AgentBug("the entry state of CPU 0 was not read: it can't be judged")
    return ruling.judge(
        RULES,
        arrival,
        blame=lambda cpus: arrivals.blamed(arrival.server) if 0 in cpus else "CPU_ON",
        served=arrival.server if arrival.by_hvc else "",
    )


def _each(test: Test) -> Judge:
    """Return a judge that asks ``test`` of every CPU; the same breach of several is one."""

    def judged(arrival: Arrival) -> Answer:
        found: dict[tuple[str, str, str, bool], list[int]] = {}
        for cpu in arrival.seen:
            said = test(cpu)
            if said is not None:
                found.setdefault((*said, cpu.cpu == 0), []).append(cpu.cpu)
        if not found:
            return HELD
        breaches = (Breach(w, e, f, tuple(cpus)) for (w, e, f, _), cpus in found.items())
        return Answer(State.BROKEN, breaches=tuple(breaches))

    return judged


def _bit_off(bit: int, name: str) -> Judge:
    def test(cpu: CpuFacts) -> tuple[str, str, str] | None:
        value = sctlr(cpu)
        if value is None or not value & bit:
            return None
        return name, "off", f"on: SCTLR_EL{level(cpu)} = {value:#x}"

    def judged(arrival: Arrival) -> Answer:
        if any(level(cpu) not in (1, 2) for cpu in arrival.seen[:1]):
            return unseen("the payload doesn't save SCTLR_EL3")
        return _each(test)(arrival)

    return judged


def _by_reset(judged: Judge) -> Judge:
    """Return a judge that accuses where an hvc restarted us, and elsewhere only notes."""

    def wrapped(arrival: Arrival) -> Answer:
        answer = judged(arrival)
        if answer.state is not State.BROKEN:
            return answer
        of_first = tuple(each for each in answer.breaches if 0 in each.cpus)
        if arrival.by_hvc and of_first:
            return Answer(State.BROKEN, breaches=of_first)
        said = "; ".join(f"{each.what}: {each.found}" for each in answer.breaches)
        return Answer(State.NOTE, f"{said} (no document forbids it here)")

    return wrapped


def _el(arrival: Arrival) -> Answer:
    entered = level(arrival.cpus[0])
    if entered == 2:
        return HELD
    if arrival.server != FIRMWARE and (arrival.sender_el == 2 or entered != 1):
        return broken("CurrentEL", "EL2, as the sending kernel was entered", f"EL{entered}")
    if arrival.server != FIRMWARE and arrival.sender_el == 1:
        return Answer(State.PRECONDITION, "EL1, as the sending kernel was entered")
    if entered == 1:
        return Answer(State.PRECONDITION, "entered at EL1, and nobody said that EL2 is ours")
    return Answer(State.NOTE, f"entered at EL{entered}, by firmware")


def _same_el(arrival: Arrival) -> Answer:
    seen = arrival.seen
    first = level(seen[0])
    others = tuple(cpu.cpu for cpu in seen if level(cpu) != first)
    if others:
        levels = ", ".join(f"CPU {cpu.cpu} EL{level(cpu)}" for cpu in seen)
        return broken("CurrentEL", f"EL{first} on every CPU", levels, others)
    if len(seen) < len(arrival.cpus):
        return unseen(f"{len(seen)} of {len(arrival.cpus)} CPUs were started")
    return HELD


def _daif(cpu: CpuFacts) -> tuple[str, str, str] | None:
    masks = cpu.entry["DAIF"] >> 6 & 0xF
    clear = "".join(name for bit, name in zip((8, 4, 2, 1), "DAIF", strict=True) if not masks & bit)
    return ("DAIF", "all masked", f"{clear} not masked") if clear else None


def _spsel(cpu: CpuFacts) -> tuple[str, str, str] | None:
    return None if cpu.entry["SPSel"] & 1 else ("SPSel", "SP_ELx", "SP_EL0")


def _never(reason: str) -> Judge:
    return lambda arrival: unseen(reason)


def _zero(register: str) -> Judge:
    def judged(arrival: Arrival) -> Answer:
        value = arrival.entry[register]
        return broken(register, "0", f"{value:#x}") if value else HELD

    return judged


def _aligned_dtb(arrival: Arrival) -> Answer:
    value = arrival.entry["x0"]
    return broken("x0", "on an 8-byte boundary", f"{value:#x}") if value & 7 else HELD


def _with_tree(judged: Callable[[Arrival, Tree], Answer]) -> Judge:
    def wrapped(arrival: Arrival) -> Answer:
        if arrival.tree is None:
            return unseen("the memory at x0 was not read")
        return judged(arrival, arrival.tree)

    return wrapped


def _magic(arrival: Arrival, tree: Tree) -> Answer:
    if tree.magic == FDT_MAGIC:
        return HELD
    found = f"{tree.magic:#010x} at {arrival.entry['x0']:#x}"
    return broken("x0", f"a device tree (magic {FDT_MAGIC:#010x})", found)


def _good_tree(judged: Callable[[Arrival, Tree], Answer]) -> Judge:
    """Return a judge for what can only be said of a tree that is one."""

    def wrapped(arrival: Arrival, tree: Tree) -> Answer:
        if tree.magic != FDT_MAGIC:
            return unseen("there is no device tree at x0")
        return judged(arrival, tree)

    return _with_tree(wrapped)


def _dtb_span(arrival: Arrival, tree: Tree) -> tuple[int, int]:
    return arrival.entry["x0"], arrival.entry["x0"] + max(tree.size, 1) - 1


def _small_tree(arrival: Arrival, tree: Tree) -> Answer:
    if tree.size <= MAX_DTB:
        return HELD
    return broken("device tree", "at most 2 MiB", f"{tree.size} bytes")


def _in_ram(what: str) -> Judge:
    def judged(arrival: Arrival, tree: Tree) -> Answer:
        if not tree.ram:
            return unseen("the device tree's memory was not read")
        span = arrival.span if what == "image" else _dtb_span(arrival, tree)
        if arrivals.inside(span, tree.ram):
            return HELD
        return broken(what, "in RAM by its own /memory", f"{span[0]:#x}-{span[1]:#x}")

    return _good_tree(judged)


def _base(arrival: Arrival) -> Answer:
    called, offset = arrival.entry["PC"], arrival.text_offset
    if called != arrival.image:
        return broken("PC", f"the image's first instruction, {arrival.image:#x}", f"{called:#x}")
    if (called - offset) % TWO_MIB:
        return broken("image", f"{offset:#x} bytes from a 2 MiB boundary", f"{called:#x}")
    return HELD


def _reachable(arrival: Arrival) -> Answer:
    if arrival.span[1] >> PHYSICAL_BITS == 0:
        return HELD
    return broken("image", f"below 1 << {PHYSICAL_BITS}", f"ends at {arrival.span[1]:#x}")


def _image_free(arrival: Arrival, tree: Tree) -> Answer:
    things = [("device tree", _dtb_span(arrival, tree))]
    if tree.initrd is not None:
        things.append(("initrd", tree.initrd))
    for name, span in things:
        if arrivals.overlap(span, arrival.span):
            found = f"{name} at {span[0]:#x}-{span[1]:#x}, image to {arrival.span[1]:#x}"
            return broken(name, "outside of the image and its BSS", found)
    return HELD


def _initrd(arrival: Arrival, tree: Tree) -> Answer:
    if tree.initrd is None:
        return Answer(State.NOT_APPLICABLE, "/chosen names no initrd")
    low = min(tree.initrd[0], arrival.image) // GIB * GIB
    end = max(tree.initrd[1], arrival.span[1])
    if end < low + WINDOW:
        return HELD
    where = f"{tree.initrd[0]:#x}-{tree.initrd[1]:#x}, the image at {arrival.image:#x}"
    return broken("initrd", "with the image in a 1 GiB-aligned window of 32 GiB", where)


def _cntfrq(arrival: Arrival) -> Answer:
    values = {cpu.cpu: cpu.entry["CNTFRQ"] for cpu in arrival.seen}
    zero = tuple(cpu for cpu, value in values.items() if not value)
    if zero:
        return broken("CNTFRQ", "the timer's frequency", "0", zero)
    return _same("CNTFRQ", values)


def _cntvoff(arrival: Arrival) -> Answer:
    if any(level(cpu) < 2 for cpu in arrival.seen):
        return unseen("CNTVOFF_EL2 can't be read at EL1")
    first = arrival.entry["CNTVOFF_EL2"]
    answer = _same("CNTVOFF_EL2", {cpu.cpu: cpu.entry["CNTVOFF_EL2"] for cpu in arrival.seen})
    kept = arrival.server != FIRMWARE and first  # by the sender; a reset value is UNKNOWN
    if answer.state is not State.BROKEN or kept:
        return replace(answer, breaches=tuple(replace(b, cpus=(0,)) for b in answer.breaches))
    said = answer.breaches[0].found
    return Answer(State.NOTE, f"CNTVOFF_EL2: {said}: firmware may have left it so")


def _same(register: str, values: dict[int, int]) -> Answer:
    first = next(iter(values.values()))
    others = tuple(cpu for cpu, value in values.items() if value != first)
    if not others:
        return HELD
    said = ", ".join(f"CPU {cpu} {value:#x}" for cpu, value in values.items())
    return broken(register, "the same on every CPU", said, others)


_CALL, _MODE, _CACHES, _TIMERS, _SYSTEM, _COHERENT, _PLACE = (
    f"{BOOTING} 4, '{part}'"
    for part in (
        *("Before jumping into the kernel", "CPU mode", "Caches, MMUs", "Architected timers"),
        *("System registers", "Coherency", "The Image must be placed"),
    )
)
_TREE, _FLAGS = f"{BOOTING} 2", f"{BOOTING} 4, 'Header notes', flags bit 3"
_EVERY = f"{BOOTING} 4, 'All CPUs must enter the kernel in the same exception level'"
_WINDOW = f"{BOOTING} 4, 'If an initrd/initramfs is passed'"
_CODE = "that the payload's code ran is all that shows it"

RULES: tuple[Rule[Arrival], ...] = (
    Rule("entry-el", "at EL2, where the sending kernel was; or at EL1", _MODE, _el),
    Rule("entry-el-same", "every CPU at the same exception level", _EVERY, _same_el),
    Rule("entry-mmu", "the MMU is off", _CACHES, _bit_off(arrivals.MMU, "SCTLR.M")),
    Rule("entry-dcache", "the D-cache is off", HEAD, _bit_off(arrivals.DCACHE, "SCTLR.C")),
    Rule("entry-daif", "debug, SError, IRQ and FIQ are masked", _MODE, _each(_daif)),
    Rule("entry-dtb-align", "x0: on an 8-byte boundary", _TREE, _aligned_dtb),
    Rule("entry-dtb", "x0: a device tree", _CALL, _with_tree(_magic)),
    Rule("entry-dtb-size", "device tree: at most 2 MiB", _TREE, _good_tree(_small_tree)),
    Rule("entry-dtb-ram", "x0: in system RAM", _CALL, _in_ram("device tree")),
    Rule("entry-x1", "x1 is 0", _CALL, _zero("x1")),
    Rule("entry-x2", "x2 is 0", _CALL, _zero("x2")),
    Rule("entry-x3", "x3 is 0", _CALL, _zero("x3")),
    Rule("entry-base", "text_offset bytes from a 2 MiB boundary, and called there", _PLACE, _base),
    Rule("entry-image-ram", "image: in system RAM", _PLACE, _in_ram("image")),
    Rule("entry-image-48", "image: in the 48-bit range", _FLAGS, _reachable),
    Rule("entry-image-free", "image_size bytes are free", _PLACE, _good_tree(_image_free)),
    Rule("entry-initrd", "initrd: in one window with the image", _WINDOW, _good_tree(_initrd)),
    Rule("entry-cntfrq", "CNTFRQ is programmed, the same everywhere", _TIMERS, _cntfrq),
    Rule("entry-cntvoff", "CNTVOFF is the same on all CPUs", _TIMERS, _cntvoff),
    Rule("entry-endian", "little-endian", RESET, _by_reset(_bit_off(arrivals.EE, "SCTLR.EE"))),
    Rule("entry-wxn", "WXN is off", RESET, _by_reset(_bit_off(arrivals.WXN, "SCTLR.WXN"))),
    Rule("entry-spsel", "SP_ELx is selected", RESET, _by_reset(_each(_spsel))),
    Rule("entry-dma", "DMA is quiet", _CALL, _never("no device is asked")),
    Rule("entry-clean", "image cleaned to the PoC, no stale I-cache", _CACHES, _never(_CODE)),
    Rule("entry-secure", "non-secure state", _MODE, _never("needs EL3")),
    Rule("entry-el3", "SCR_EL3, CPTR_EL3, ICC_SRE_EL3", _SYSTEM, _never("needs EL3")),
    Rule("entry-coherent", "one coherency domain", _COHERENT, _never("caches are off here")),
)
"""As of 6.12. The I-cache may be on or off."""
