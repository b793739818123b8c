# SPDX-License-Identifier: Apache-2.0
"""What the handlers of each server can do, by their code alone.

For each hcall a handler is followed from its vector entry with the number that names it;
what it can change then is a property of the code, whatever a board was seen to do. An
entry is also followed for whoever doesn't ask by number (:func:`entries`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.elf import Elf

from .follow import Budget, Seen, Way, follow
from .instruction import read
from .patches import Patches
from .values import Value, constant, symbol

_REFERENCE = "vectors_start"
TABLES: Mapping[str, tuple[str, ...]] = {
    "hyp-stub": ("__hyp_stub_vectors", _REFERENCE),
    "trans-pgd": ("trans_pgd_stub_vectors",),
    "kvm": ("__kvm_nvhe___kvm_hyp_host_vector", "__kvm_hyp_host_vector"),
}
"""By server the symbols that its vectors may stand at: kernels from 4.12 on, and ours.
A table is 2 KiB aligned (Arm ARM D24.2.176, VBAR_EL2)."""

_OURS: Mapping[str, str] = {"hyp-stub": "vectors_stub_start", "kvm": "vectors_kvm_start"}
"""As :data:`TABLES`, of the payload: handlers whose tables it builds when it runs."""

ENTRY = {"EL2t": 0x000, "EL2h": 0x200, "EL1h": 0x400}
"""Offset of the synchronous entry by origin (Arm ARM D1.4.1, "Vector tables")."""
_ENTRIES = tuple(n * 0x80 for n in range(16))
_HVC64 = 0x5A000000
"""ESR_EL2 of an hvc from AArch64: EC 0x16, IL (Arm ARM D24.2.40)."""
_PSTATE = frozenset({"DAIF", "NZCV", "SPSEL", "PAN", "UAO", "DIT", "SSBS", "TCO", "ALLINT"})
"""Fields of PSTATE as registers: an ``eret`` gives back those of the caller, from SPSR_EL2."""
EXCEPTION = frozenset({"FAR_EL2", "ESR_EL2", "ELR_EL2", "SPSR_EL2", "HPFAR_EL2", *_PSTATE})
"""What an exception overwrites anyway, so that nobody's state is in it."""
_BITS = range(3, 16)
_SMCCC = (0x8000_0000, 0x8400_0000, 0xC400_0001, 0xC600_0000)
"""Function ids of SMCCC (Arm DEN0028): x0 holds such where somebody else is called."""


@dataclass(frozen=True)
class Write:
    """A register that is not what the caller had in it when the handler ends.

    Attributes:
        at: address of the instruction that wrote it last.
        value: what it holds, as far as that can be told.
        sure: the code itself wrote it; else it came out of memory or of a C function,
            which may have kept the caller's value.
    """

    register: str
    at: int
    value: str
    sure: bool


@dataclass(frozen=True)
class Served:
    """What one hcall can do at one server, by the code.

    Attributes:
        number: the one that it was followed with; -1 for any.
        ways: every way out; ``seen``: what was met on all of them.
        writes: by register, GPRs first; EL2's own registers by their names.
        results: what x0 can hold where it returns.
        unproven: what of the contract can't be told, and why.
    """

    server: str
    contract: Contract
    number: int
    seen: Seen
    writes: Mapping[str, Write]
    results: tuple[str, ...]
    unproven: tuple[str, ...] = ()

    @property
    def ways(self) -> tuple[Way, ...]:
        """Every way out of it."""
        return tuple(self.seen.ways)

    @property
    def needs_stack(self) -> bool:
        """Whether it loads or stores by SP_EL2."""
        return bool(self.seen.stack)


@dataclass(frozen=True)
class Entry:
    """One of a table's 16 entries, whatever reaches it.

    Attributes:
        writes: registers that any path to an ``eret`` writes.
        reads: system registers that it looks at.
        endings: how its paths end.
    """

    server: str
    offset: int
    writes: tuple[str, ...]
    endings: tuple[str, ...]
    memory: int
    stack: int


@dataclass(frozen=True)
class Vectors:
    """Where the vectors of one server are.

    Attributes:
        address: of the table of 16 entries, or of the handler, where there is no table.
        ours: vectors of this program, which no kernel installs.
    """

    address: int
    whole: bool = True
    ours: bool = False

    def entry(self, origin: str) -> int:
        """Return where a synchronous exception from ``origin`` goes."""
        return self.address + ENTRY[origin] if self.whole else self.address


def tables(elf: Elf) -> dict[str, Vectors]:
    """Return each server's vectors that ``elf`` has."""
    found = {}
    for server, names in TABLES.items():
        symbols = (elf.symbols.named(name) for name in names)
        aligned = (each for each in symbols if each is not None and each.address % 0x800 == 0)
        first = next(aligned, None)
        if first is not None:
            found[server] = Vectors(first.address, ours=first.name == _REFERENCE)
    for server, name in _OURS.items():
        handler = elf.symbols.named(name)
        if handler is not None and server not in found:
            found[server] = Vectors(handler.address, whole=False, ours=True)
    return found


def entries(elf: Elf, patches: Patches, server: str, vectors: Vectors) -> Iterator[Entry]:
    """Yield what each of the 16 entries can do, or the one handler that there is."""
    known: dict[int, Seen] = {}
    budget = Budget()
    for offset in _ENTRIES if vectors.whole else (0,):
        here = read(elf, vectors.address + offset)
        jumps = here is not None and here.flow == "branch"
        at = here.target if here is not None and jumps else vectors.address + offset
        if at not in known:
            known[at] = follow(elf, patches, vectors.address + offset, budget=budget)
        seen = known[at]
        written = {register for way in seen.ways for register in _changed(way)}
        endings = sorted({_ending(elf, way) for way in seen.ways})
        yield Entry(
            server, offset, tuple(sorted(written, key=_order)), tuple(endings),
            len(seen.memory), len(seen.stack),
        )  # fmt: skip


def serve(
    elf: Elf, patches: Patches, profile: Profile, server: str, vectors: Vectors
) -> Iterator[Served]:
    """Yield what each hcall of ``profile`` can do at ``server``; unknown ones last.

    Of the unknown those are followed that a handler could take for a known one: its
    neighbours, those that differ from one in a single bit, and every constant that the
    code compares with.
    """
    compared: set[int] = set()
    budget, entry = Budget(), vectors.entry("EL1h")
    for contract in profile.hcalls(server):
        if contract.number is not None:
            served = serve_number(
                elf, patches, profile, entry, contract, contract.number, budget=budget
            )
            compared |= served.seen.compared
            yield served
    unknown = profile.named(UNKNOWN, server)
    for number in unknown_numbers(profile, server, compared):
        yield serve_number(elf, patches, profile, entry, unknown, number, budget=budget)


def unknown_numbers(profile: Profile, server: str, compared: Iterable[int]) -> Iterator[int]:
    """Yield the numbers that stand for all that a server doesn't serve."""
    known = {each.number for each in profile.hcalls(server) if each.number is not None}
    flipped = {number ^ 1 << bit for number in known for bit in _BITS}
    most = 0xFFFF
    if profile.selector == "x0":
        most = (1 << 64) - 1
        flipped |= {min(known) ^ 1 << bit for bit in range(16, 64)} | {most, *_SMCCC}
    asked = {max(known) + 1, 0xFFFF, *flipped, *compared}
    for number in sorted(asked):
        if 0 <= number <= most and number not in known:
            yield number


def serve_number(
    elf: Elf,
    patches: Patches,
    profile: Profile,
    entry: int,
    contract: Contract,
    number: int | None,
    *,
    any_immediate: bool = False,
    budget: Budget | None = None,
) -> Served:
    """Return what an hcall can do, followed from ``entry`` with the number that names it.

    Args:
        entry: address of the synchronous entry of where it is issued from.
        number: None for one that isn't known either.
        any_immediate: where x0 names it, the immediate beside it may be any.
        budget: shared by entries that are followed for one report.
    """
    by_immediate = profile.selector == "immediate"
    esr = constant(_HVC64 | (number if by_immediate and number is not None else 0))
    given = {} if by_immediate or number is None else {0: constant(number)}
    if number is None or (any_immediate and not by_immediate):
        esr = symbol("ESR_EL2")
    system = {"ESR_EL2": esr}
    seen = follow(elf, patches, entry, system=system, x=given, budget=budget)
    homes = [way for way in seen.ways if way.ending in ("eret", "enters")]
    writes: dict[str, Write] = {}
    for way in homes:
        for register, write in _writes(seen, way).items():
            if register not in writes or (write.sure and not writes[register].sure):
                writes[register] = write
    results = tuple(sorted({str(way.x[0]) for way in homes if way.ending == "eret"}))
    unproven = tuple(
        f"{way.why or 'given up'} at {name_of(elf, way.at)}"
        for way in seen.ways
        if way.ending == "given up"
    )
    ordered = {register: writes[register] for register in sorted(writes, key=_order)}
    return Served(
        contract.server, contract, -1 if number is None else number, seen, ordered, results,
        tuple(dict.fromkeys(unproven)),
    )  # fmt: skip


def _writes(seen: Seen, way: Way) -> dict[str, Write]:
    out = {}
    for register, value in _changed(way).items():
        number = int(register[1:]) if register[1:].isdigit() else -1
        at = way.because.get(number, way.at)
        out[register] = Write(register, at, str(value), sure(seen, value))
    return out


def _changed(way: Way) -> dict[str, Value]:
    """Return what isn't as the caller left it, besides what exceptions overwrite."""
    out = {f"x{n}": value for n, value in enumerate(way.x) if value != symbol(f"x{n}")}
    if way.sp != symbol("SP_EL2"):
        out["SP_EL2"] = way.sp
    out |= {f"v{n}": symbol(f"v{n} written at {at:#x}") for n, at in way.vectors.items()}
    for name, value in way.system.items():
        if name not in EXCEPTION and value != symbol(name):
            out[name] = value
    return out


def sure(seen: Seen, value: Value) -> bool:
    """Whether ``value`` is certainly another one than the caller's: no part of it came out
    of memory or of a C function."""
    kinds = {seen.origin[name][1] for name in value.symbols if name in seen.origin}
    return not kinds & {"memory", "callee", "boot"}


def name_of(elf: Elf, address: int) -> str:
    """Return an address as a person reads it: ``elx_sync+0x14``."""
    function = elf.symbols.function_at(address)
    if function is None:
        return f"{address:#x}"
    apart = address - function.address
    return f"{function.name}+{apart:#x}" if apart else function.name


def _ending(elf: Elf, way: Way) -> str:
    if way.ending == "enters":
        return f"enters {way.target}"
    if way.ending == "given up":
        return f"given up: {way.why}"
    return f"panic: {way.why}" if way.ending == "panic" else way.ending


def _order(register: str) -> tuple[int, int, str]:
    number = register[1:]
    return (0, int(number), "") if number.isdigit() else (1, 0, register)
