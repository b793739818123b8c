# SPDX-License-Identifier: Apache-2.0
"""Cuts a kernel's own hypervisor vectors out of its ELF, to run where they were not linked.

``hyp-stub``: ``__hyp_stub_vectors`` of arch/arm64/kernel/hyp-stub.S, and what its entries
reach; in 6.12 one page: the table, ``elx_sync``, the invalid handlers. ``trans-pgd``:
``trans_pgd_stub_vectors`` of mm/trans_pgd-asm.S, which the kernel itself copies.

What is in the file is what runs: a boot-time alternative in the cut is told, not applied.
An hcall whose code leaves the cut, or rewrites HCR_EL2 (``__finalise_el2`` does both), is
left out; anything else that leaves it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hilagent.errors import InputError

from .arms import Arms, End, Leave, Walker
from .boot import alternatives, relocated
from .file import Elf
from .flow import PAGE, Flow, flow

TABLES: Mapping[str, str] = {
    "hyp-stub": "__hyp_stub_vectors", "trans-pgd": "trans_pgd_stub_vectors"
}  # fmt: skip
"""Servers whose vectors can be cut out, and the symbols that they stand at."""
SIZE, ENTRY, ENTRIES = 0x800, 0x80, 16
SYNC_EL2H, SYNC_LOWER = 0x200, 0x400
MOST = 0x10000
"""Bytes of the payload's slot: SLOT_SIZE of firmware/payload/lab.h."""
NEEDED = (
    "give a vmlinux with its symbols, or a stripped one or an Image with its System.map:"
    " IMAGE+SYSTEM.MAP"
)
By = Literal["immediate", "x0"]
ALL_BITS = (1 << 64) - 1
_WIDTH: Mapping[str, int] = {"immediate": 16, "x0": 64}


@dataclass(frozen=True)
class LeftOut:
    """An hcall whose code can't run outside of its kernel.

    Attributes:
        by, number: what names it.
        reason: what its code does, with addresses.
        symbol: the function that does it.
        finalises: it rewrites HCR_EL2.
        certain: every path does; else some path may, as far as the code can be followed.
        bits: those of the number that are looked at; others may be anything.
    """

    by: By
    number: int
    reason: str
    symbol: str
    finalises: bool = False
    certain: bool = True
    bits: int = ALL_BITS

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number & self.bits == self.number & self.bits


@dataclass(frozen=True)
class Cut:
    """Vectors to load: ``blob``, with the table ``offset`` bytes into it.

    Attributes:
        address: where ``blob`` was linked; ``table_address``: where the table was.
        symbols: of the functions in it that can be reached, by address.
        left_out: hcalls that can't be issued there.
        notes: what a person should know.
        arms: what the code does for each number.
    """

    server: str
    blob: bytes
    offset: int
    address: int
    table_address: int
    symbols: Mapping[int, str]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    arms: Arms


def cut(elf: Elf, server: str = "hyp-stub") -> Cut:
    """Return the vectors of ``server``.

    Raises InputError where they aren't there, or can't run anywhere else.
    """
    table = _table(elf, server)
    reached = _Reached(elf, table)
    arms = Walker(elf.word, reached.outside).walk([table + SYNC_EL2H, table + SYNC_LOWER])
    if not arms.whole:
        raise InputError(elf.path, f"{TABLES[server]}: too many paths to follow them all")
    left_out = tuple(_left_out(elf, arms))
    _check_leaves(elf, server, reached, arms)
    first, end = reached.block
    return Cut(
        server, elf.read(first, end - first), table - first, first, table,
        dict(_names(elf, reached.code)), left_out,
        tuple(_notes(elf, first, end)), arms,
    )  # fmt: skip


def _table(elf: Elf, server: str) -> int:
    name = TABLES.get(server)
    if name is None:
        known = ", ".join(TABLES)
        raise InputError(
            elf.path, f"vectors of {server} can't be cut out", hint=f"those of {known} can"
        )
    if elf.kind != "vmlinux":
        raise InputError(elf.path, "not linked yet (an object or a module): a vmlinux was expected")
    if not len(elf.symbols):
        raise InputError(elf.path, "it has no symbols: its vectors can't be found", hint=NEEDED)
    symbol = elf.symbols.named(name)
    if symbol is None:
        raise InputError(elf.path, f"no symbol {name}: no vectors of {server} in it", hint=NEEDED)
    if symbol.address % SIZE:
        raise InputError(
            elf.path, f"{name} at {symbol.address:#x} is not aligned to {SIZE:#x}: no vector table"
        )
    elf.read(symbol.address, SIZE)
    return symbol.address


class _Reached:
    """What can be reached from the entries, whatever the exception: the extent of the cut."""

    def __init__(self, elf: Elf, table: int) -> None:
        self._elf, self._table = elf, table
        self._low, self._high = table - MOST + SIZE, table + MOST
        self.code: dict[int, Flow] = {}
        self._follow([table + n * ENTRY for n in range(ENTRIES)])
        self.block = self._block()
        self._moved = relocated(elf, *self.block)
        self._kernel = _extent(elf)

    def _follow(self, todo: list[int]) -> None:
        while todo:
            address = todo.pop()
            if address in self.code or not self._low <= address < self._high:
                continue
            where = flow(self._elf.word(address), address)
            self.code[address] = where
            todo += where.targets
            if where.falls:
                todo.append(address + 4)

    def _block(self) -> tuple[int, int]:
        spans = [(self._table, self._table + SIZE)]
        spans += [(address, address + 4) for address in self.code]
        for where in self.code.values():
            if where.data is not None and not where.page and self._near(*where.data):
                spans.append((where.data[0], sum(where.data)))
        first, end = min(low for low, _ in spans), max(high for _, high in spans)
        unit = PAGE if any(where.page for where in self.code.values()) else SIZE
        first, end = first & -unit, -(-end // SIZE) * SIZE
        section = self._elf.at(self._table)
        assert section is not None
        first, end = max(first, section.address & -4), min(end, section.end)
        if first % SIZE or self._table - first + SIZE > end - first or end - first > MOST:
            raise InputError(
                self._elf.path,
                f"the vectors at {self._table:#x} and what they reach take {end - first:#x} bytes"
                f" from {first:#x}: the payload has room for {MOST:#x}, aligned to {SIZE:#x}",
            )
        return first, end

    def _near(self, address: int, size: int) -> bool:
        section = self._elf.at(self._table)
        assert section is not None
        inside = section.address <= address and address + size <= section.end
        return inside and self._low <= address and address + size <= self._high

    def outside(self, address: int, target: int, size: int, how: str) -> Leave | None:
        """Return what leaves the cut: a target beyond it, or data that only holds in place."""
        first, end = self.block
        if size == PAGE and how == "names":
            whole = first % PAGE == 0 and first <= target < end
            return None if whole else Leave(address, target, how)
        if not (first <= target and target + size <= end):
            return Leave(address, target, how)
        if any(target < moved + 8 and moved < target + size for moved in self._moved):
            return Leave(address, target, "reads, relocated at boot,")
        if how == "reads" and size == 8:
            value = int.from_bytes(self._elf.read(target, 8), "little")
            if self._kernel[0] <= value < self._kernel[1]:
                return Leave(address, value, "names, by its absolute address,")
        return None

    def leaves(self) -> Iterator[Leave]:
        """Yield everything that leaves the cut, on whatever path."""
        for address, where in self.code.items():
            reached = [(target, 4, "branches to") for target in where.targets]
            if where.data is not None:
                size = where.data[1]
                reached.append((where.data[0], size, "reads" if size in (4, 8, 16) else "names"))
            for target, size, how in reached:
                leave = self.outside(address, target, size, how)
                if leave is not None:
                    yield leave


def _left_out(elf: Elf, arms: Arms) -> Iterator[LeftOut]:
    """Yield the numbers whose code leaves the cut or rewrites HCR_EL2."""
    for by in ("immediate", "x0"):
        usual = {_symbol(elf, end.address) for end in arms.of(by, None)}
        for number in arms.numbers(by):
            ends = [end for end in arms.of(by, number) if by == "x0" or end.x0 is None]
            leaves = sorted({e for end in ends for e in end.leaves}, key=lambda e: e.address)
            hcr = [end.address for end in ends if "hcr_el2" in end.did]
            if not leaves and not hcr:
                continue
            symbol = _symbol(elf, leaves[0].address if leaves else hcr[0])
            rewrites = [f"{symbol} rewrites HCR_EL2"] if hcr else []
            own = symbol not in usual
            certain = all(
                end.leaves or "hcr_el2" in end.did or (own and _symbol(elf, end.address) == symbol)
                for end in ends
            )
            yield LeftOut(
                by, number, "; ".join([*_told(elf, leaves), *rewrites]), symbol, bool(hcr),
                certain, _bits(by, ends),
            )  # fmt: skip


def _bits(by: By, ends: Sequence[End]) -> int:
    """Return the bits that every path to ``ends`` looked at: all, where they are all there are."""
    bits = (1 << _WIDTH[by]) - 1
    for end in ends:
        bits &= end.immediate_bits if by == "immediate" else end.x0_bits
    return ALL_BITS if bits == (1 << _WIDTH[by]) - 1 else bits


def _told(elf: Elf, leaves: Sequence[Leave]) -> list[str]:
    """Return where code leaves the vectors: a branch first, then what it reads."""
    ordered = sorted(leaves, key=lambda leave: "branch" not in leave.how)
    said = [_leave(elf, leave) for leave in ordered[:2]]
    if len(leaves) > 2:
        said[-1] += f" (and {len(leaves) - 2} more)"
    return said


def _leave(elf: Elf, leave: Leave) -> str:
    at = f"{_symbol(elf, leave.address)} at {leave.address:#x}"
    name = _symbol(elf, leave.target)
    return f"{at} {leave.how} {leave.target:#x}" + (f" ({name})" if name else "")


def _check_leaves(elf: Elf, server: str, reached: _Reached, arms: Arms) -> None:
    """Raise InputError for what leaves the cut and belongs to no hcall that can be left out."""
    owned: set[Leave] = set()
    for end in arms.ends:
        if end.immediate is not None or end.x0 is not None:
            owned |= end.leaves
    loose = [leave for end in arms.ends for leave in end.leaves - owned]
    loose += [leave for leave in reached.leaves() if leave not in owned]
    unnamed = [
        leave for end in arms.ends if end.immediate is None and end.x0 is None
        for leave in end.leaves
    ]  # fmt: skip
    for leave in (*unnamed, *loose):
        raise InputError(
            elf.path,
            f"{TABLES[server]}: {_leave(elf, leave)}, which is not in what can be cut out, and"
            " it isn't the code of one hcall alone",
        )


def _names(elf: Elf, addresses: Iterable[int]) -> Iterator[tuple[int, str]]:
    found = {}
    for address in addresses:
        function = elf.symbols.function_at(address)
        if function is not None and function.names:
            found[function.address] = function.name
    yield from sorted(found.items())


def _symbol(elf: Elf, address: int) -> str:
    function = elf.symbols.function_at(address)
    if function is not None and function.names:
        return function.name
    section = elf.at(address)
    return section.name if section is not None else ""


def _extent(elf: Elf) -> tuple[int, int]:
    return elf.loaded[0].address, elf.loaded[-1].end


def _notes(elf: Elf, first: int, end: int) -> Iterator[str]:
    """Yield what the file doesn't show of the code that runs in the kernel."""
    covered = [at for at, size in alternatives(elf) if at < end and first < at + size]
    if covered:
        shown = ", ".join(f"{_symbol(elf, at)} at {at:#x}" for at in covered[:3])
        more = f" and {len(covered) - 3} more" if len(covered) > 3 else ""
        yield (
            f"{len(covered)} boot-time alternatives in these vectors ({shown}{more}) are run as"
            " the file has them, not as a CPU may have them patched"
        )
