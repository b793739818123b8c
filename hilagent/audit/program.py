# SPDX-License-Identifier: Apache-2.0
"""Who calls what in one kernel or module: calls, branches between functions, addresses taken.

Built from one scan over the code, when first asked for. An address counts as taken where
data holds it (an address of 8 bytes, or an offset of 4 from where it stands), or where an
``adr``, or an ``adrp`` and an ``add`` to its register in the same function, may form it.
"""

from __future__ import annotations

import bisect
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hilagent.elf import Elf, Function, Section

from .patches import Patches
from .pointers import held, page_offset, shadow_call_stack, sums
from .registers import is_dumped, kind_of, may_touch, target_of

_CALL, _BRANCH, _CONDITIONAL, _PAGE, _ADD = b"cbnpa"
_NOP, _ZERO = 0xD503_201F, 0


def _class(top: int) -> int:
    if top & 0x7C == 0x14:
        return _CALL if top & 0x80 else _BRANCH
    if top == 0x54 or top & 0x7C == 0x34:
        return _CONDITIONAL
    if top & 0x1F == 0x10:
        return _PAGE
    return _ADD if top == 0x91 else 0


_CLASSES = bytes(map(_class, range(256)))
_OF_INTEREST, _CALLS, _ADDS = re.compile(rb"[bnpa]"), re.compile(b"c"), re.compile(b"a")
_BY_REGISTER = re.compile(rb"[\xd6\xd7]")
_MARKED = re.compile(rb"[^\0]")


@dataclass(frozen=True)
class _Scan:
    """Sites of direct calls by target, branches that leave their function, addresses formed."""

    calls: dict[int, list[int]]
    leaving: list[tuple[int, int]]
    formed: set[int]


class Program:
    """A kernel's or module's code, with what its patches add."""

    def __init__(self, elf: Elf, patches: Patches) -> None:
        """``searched``: how many steps searches in it have taken."""
        self.elf, self.patches = elf, patches
        self._words = [(s, array("I", bytes(s.data[: s.size & -4]))) for s in elf.code]
        self._first = [section.address for section, _ in self._words]
        self._marks: dict[int, list[bytes]] = {}
        self.searched = 0
        self.readers: dict[int, frozenset[int]] = {}
        self.by_pointer: dict[int, tuple[str, frozenset[int]]] = {}

    def word(self, address: int) -> int | None:
        """Return the instruction at ``address``; None where the file has no code there."""
        index = bisect.bisect_right(self._first, address) - 1
        if index < 0 or address & 3:
            return None
        section, words = self._words[index]
        at = address - section.address >> 2
        return words[at] if at < len(words) else None

    @cached_property
    def shadow_call_stack(self) -> int | None:
        """The first place that has x18 as the shadow call stack's pointer; None without."""
        return shadow_call_stack(self.elf)

    @cached_property
    def has_units(self) -> bool:
        """Whether symbols tell which unit code is from: a System.map has no such."""
        return any(function.unit for function in self.elf.symbols.functions)

    def owner(self, address: int) -> Function | None:
        """Return the function that an instruction belongs to.

        One of a replacement belongs to that of the code that it replaces.
        """
        runs_at = self.patches.replaces(address)
        return self.elf.symbols.function_at(address if runs_at is None else runs_at)

    def next_stop(self, address: int, register: int) -> int | None:
        """Return the first place from ``address`` on that may matter to ``register``.

        There it may be read or written, go elsewhere, be patched or be data. None behind the
        end of the section.
        """
        index = bisect.bisect_right(self._first, address) - 1
        if index < 0 or address & 3:
            return None
        first = self._first[index]
        found = _MARKED.search(self.marks(register)[index], address - first >> 2)
        return None if found is None else first + 4 * found.start()

    def marks(self, register: int) -> list[bytes]:
        """Return, by section of code, a byte for each word: not 0 where it may matter."""
        if register not in self._marks:
            self._marks[register] = [
                self._marked(section, words.tobytes(), register) for section, words in self._words
            ]
        return self._marks[register]

    def marked(self, register: int) -> Iterator[tuple[int, int]]:
        """Yield address and word of each that may name the register, or is unusual."""
        for section, words in self._words:
            marks = may_touch(register, words.tobytes(), flow=False)
            for found in _MARKED.finditer(marks):
                at = found.start()
                yield section.address + 4 * at, words[at]

    def _marked(self, section: Section, words: bytes, register: int) -> bytes:
        marks = bytearray(may_touch(register, words))
        for place in self._special:
            at = place - section.address >> 2
            if 0 <= at < len(marks):
                marks[at] = 1
        return bytes(marks)

    @cached_property
    def _special(self) -> set[int]:
        """Places with patches around them, and where data begins in code."""
        places = {first for first, _ in self.elf.symbols.data} | self.patched
        return {place & -4 for place in places}

    @cached_property
    def patched(self) -> frozenset[int]:
        """The address of every instruction that patches say something of."""
        return frozenset(places_of(self.patches))

    def unwritten(self, address: int) -> set[int]:
        """Return where an instruction that writes a register goes on without having done so.

        After a fault, or where a nop stands in its place; not behind a replacement.
        """
        edges = set(self.patches.edges(address))
        if self.patches.replaces(address) is not None:
            edges -= {e.original + e.length for e in self.patches.covering(address)}
        return edges

    def dumped(self, address: int) -> bool:
        """Whether an instruction of compiled code stores a register in a dump of them all.

        Nothing but assembler could rely on what it stores.
        """
        if not is_compiled(self.owner(address)):
            return False
        near = [self.word(address + by) or 0 for by in (-8, -4, 0, 4, 8)]
        return any(is_dumped((near[i], near[i + 1], near[i + 2])) for i in range(3))

    def calls_to(self, function: Function) -> Iterator[int]:
        """Yield the direct calls of a function, to its start or into its middle."""
        low = bisect.bisect_left(self._targets, function.address)
        high = bisect.bisect_left(self._targets, function.end)
        for target in self._targets[low:high]:
            yield from self._scan.calls[target]

    def handing_over(self, function: Function) -> frozenset[Function]:
        """Return it and every function that may go on in it without a call.

        By a branch or by falling through, directly or by way of others.
        """
        found, todo = {function.address: function}, [function.address]
        while todo:
            for each in self._into.get(todo.pop(), ()):
                if each.address not in found:
                    found[each.address] = each
                    todo.append(each.address)
        return frozenset(found.values())

    @cached_property
    def _targets(self) -> list[int]:
        return sorted(self._scan.calls)

    @cached_property
    def callees(self) -> frozenset[int]:
        """Targets of direct calls, and of branches from one function into another."""
        return frozenset(self._scan.calls) | {target for _, target in self._scan.leaving}

    @cached_property
    def reached_from(self) -> dict[int, list[Function]]:
        """Which functions call or branch to an address, by that address's function."""
        found: dict[int, list[Function]] = defaultdict(list)
        for target, sites in self._scan.calls.items():
            callee = self.owner(target)
            if callee is not None:
                callers = (self.owner(site) for site in sites)
                found[callee.address] += [each for each in callers if each is not None]
        for address, functions in self._into.items():
            found[address] += functions
        return found

    @cached_property
    def _into(self) -> dict[int, list[Function]]:
        found: dict[int, list[Function]] = defaultdict(list)
        for source, target in (*self._scan.leaving, *self._falls(), *self._patched()):
            here, there = self.owner(source), self.owner(target)
            if here is not None and there is not None and here.address != there.address:
                found[there.address].append(here)
        return found

    @cached_property
    def indirect(self) -> frozenset[int]:
        """The starts of functions that call or go on by a register."""
        found = set()
        for section, words in self._words:
            for match in _BY_REGISTER.finditer(words.tobytes()[3::4]):
                if words[match.start()] >> 21 & 7 in (0, 1):
                    owner = self.owner(section.address + 4 * match.start())
                    found.add(owner.address if owner else 0)
        return frozenset(found)

    def unsure(self, is_killed: bool) -> Iterator[Function]:
        """Yield functions with instructions that nobody knows, or that call outside.

        Args:
            is_killed: the register doesn't live through a call to what is outside.
        """
        for place in self.patched:
            if self.patches.unknown(place) and not self.patches.alike(place):
                yield from filter(None, (self.owner(place),))
        for target in () if is_killed else self._targets:
            if self.word(target) is None:
                for site in self._scan.calls[target]:
                    yield from filter(None, (self.owner(site),))

    def _patched(self) -> Iterator[tuple[int, int]]:
        for place in self.patched:
            yield from ((place, target) for target in self.patches.edges(place))

    def _falls(self) -> Iterator[tuple[int, int]]:
        for function in self.elf.symbols.functions:
            last = self.last(function)
            if last is not None and self.falls_through(last):
                yield last, function.end

    def last(self, function: Function) -> int | None:
        """Return the address of its last instruction, the nops of an alignment aside."""
        at = function.end - 4 & -4
        while at >= function.address and self.word(at) in (_NOP, _ZERO):
            at -= 4
        return at if at >= function.address else None

    def falls_through(self, last: int) -> bool:
        """Whether a function's last instruction may be followed by the next function.

        A compiler ends a function with a call or a brk only where that doesn't return.
        """
        word = self.word(last)
        if word is None or self.elf.symbols.is_data(last):
            return False
        kind = kind_of(word)
        if kind in ("call", "indirect call", "brk"):
            return not is_compiled(self.owner(last))
        return kind not in ("branch", "jump", "return", "eret", "stop")

    @cached_property
    def taken(self) -> frozenset[int]:
        """The starts of functions whose address something holds or forms."""
        starts = set(self._named)
        return frozenset(self._scan.formed & starts | held(self.elf, starts))

    @cached_property
    def _named(self) -> list[int]:
        return [each.address for each in self.elf.symbols.functions if each.names]

    @cached_property
    def _by_page(self) -> dict[int, set[int]]:
        """The offsets in its page of each function that a symbol names, by the page's address."""
        found: dict[int, set[int]] = defaultdict(set)
        for address in self._named:
            found[address & -0x1000].add(address & 0xFFF)
        return found

    @cached_property
    def pointed(self) -> frozenset[int]:
        """Those of them that may be called by a pointer: marked as functions.

        Other code (vectors, what an exception or a switch of tasks leads to) has no type:
        SYM_CODE_START in include/linux/linkage.h.
        """
        functions = {each.address for each in self.elf.symbols if each.kind == "func"}
        return self.taken & functions

    @cached_property
    def _scan(self) -> _Scan:
        found = _Scan(defaultdict(list), [], set())
        code = {page for s in self.elf.code for page in range(s.address >> 12, (s.end >> 12) + 1)}
        for section, words in self._words:
            tops = self._tops(section, words)
            for match in _CALLS.finditer(tops):
                address = section.address + 4 * match.start()
                found.calls[target_of(words[match.start()], address)].append(address)
            self._scan_section(found, code, section, words, tops)
        return found

    def _scan_section(
        self, found: _Scan, code: set[int], section: Section, words: array[int], tops: bytes
    ) -> None:
        """Note the branches that leave each function, and the addresses formed in it."""
        pages: set[tuple[int, int]] = set()
        lows: dict[int, set[int]] = defaultdict(set)
        start = end = 0
        replacing = self.patches._original
        for match in _OF_INTEREST.finditer(tops):
            at = match.start()
            address, word, what = section.address + 4 * at, words[at], tops[at]
            if not start <= address < end:
                found.formed.update(sums(pages, lows, self._by_page))
                pages, lows = set(), defaultdict(set)
                here = self.elf.symbols.function_at(address)
                start, end = (here.address, here.end) if here else (address, address + 4)
            if what == _ADD:
                lows[word >> 5 & 31].add(word >> 10 & 0xFFF)
            elif what == _PAGE:
                self._form(found, pages, code, address, word)
            else:
                target = target_of(word, address)
                if not start <= target < end or address in replacing:
                    found.leaving.append((address, target))
        found.formed.update(sums(pages, lows, self._by_page))

    def _tops(self, section: Section, words: array[int]) -> bytes:
        """Return the class of each word; none for an ``add`` that shifts, and for data."""
        data = words.tobytes()
        tops = bytearray(data[3::4].translate(_CLASSES))
        for match in _ADDS.finditer(tops):
            if data[4 * match.start() + 2] & 0x40:
                tops[match.start()] = 0
        for first, end in self.elf.symbols.data:
            low = max(first - section.address, 0) >> 2
            high = min(-(section.address - end) + 3 >> 2, len(tops))
            if low < high:
                tops[low:high] = bytes(high - low)
        return bytes(tops)

    def _form(
        self, found: _Scan, pages: set[tuple[int, int]], code: set[int], at: int, word: int
    ) -> None:
        offset = page_offset(word)
        if not word >> 31:
            found.formed.add(at + offset)
        elif (at >> 12) + offset in code:
            pages.add((word & 31, (at >> 12) + offset << 12))


def is_compiled(function: Function | None) -> bool:
    """Whether a compiler made it: its unit is a C file. An unknown unit counts as assembler."""
    return function is not None and function.is_compiled


def places_of(patches: Patches) -> set[int]:
    """Return the address of every instruction that patches say something of."""
    return {*patches._edges, *patches._either, *patches._covering, *patches._original}
