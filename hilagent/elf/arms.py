# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor vector does for each number that names an hcall, by its code alone.

Every path from an entry is followed with what it knows (:mod:`.fields`), from a state in
which an hvc was taken; paths that can't be, such as ``b.ne .`` for another exception
class, end. Nothing is run. What the walk can't follow it takes as unknown, so that it may
see paths that there aren't, and never misses one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .fields import Field, State, Value, entered
from .flow import flow
from .values import Unfollowed, compared, computed, narrowed

MOST_STEPS = 200_000
"""Steps after which a handler counts as one that can't be followed."""

_CONDITIONS = {0: "eq", 1: "ne", 2: "hs", 3: "lo", 8: "hi", 9: "ls"}
_ESR, _MSR_VBAR, _MRS_VBAR, _MSR_HCR = 0xD53C_5200, 0xD51C_C000, 0xD53C_C000, 0xD51C_1100
_VBAR = Field("vbar")
Out = Literal["immediate", "x0"]


@dataclass(frozen=True)
class Leave:
    """Code or data that is reached, and isn't in the cut.

    Attributes:
        address: of the instruction; ``target``: what it reaches.
        how: ``branches to``, ``reads`` or ``names``.
    """

    address: int
    target: int
    how: str


@dataclass(frozen=True)
class End:
    """How one path ends.

    Attributes:
        how: ``eret``, ``br``, ``ret``, ``udf`` or ``out``.
        immediate, x0: what the path knows them to be; None: anything else. Of the bits in
            ``immediate_bits`` and ``x0_bits``: others were not looked at.
        result: what x0 holds: a number, a field of what came in, or unknown.
        target: of ``br``, likewise.
        did: ``call``, ``hcr_el2``, ``vbar_el2`` and ``vbar_el2 x0`` (with its source).
        leaves: what of it isn't in the cut.
        written: registers that were written.
    """

    how: str
    address: int
    immediate: int | None
    x0: int | None
    result: Value
    target: Value
    did: frozenset[str]
    leaves: frozenset[Leave]
    written: frozenset[int]
    immediate_bits: int = 0
    x0_bits: int = 0


@dataclass(frozen=True)
class Arms:
    """Every end of every path; ``compared``: what fields were compared with, and where."""

    ends: tuple[End, ...]
    compared: tuple[tuple[int, Field, int], ...]
    whole: bool = True

    def numbers(self, by: Out) -> tuple[int, ...]:
        """Return the numbers that code of its own serves, ascending."""
        found = {end.immediate if by == "immediate" else end.x0 for end in self.ends}
        return tuple(sorted(each for each in found if each is not None))

    def of(self, by: Out, number: int | None) -> tuple[End, ...]:
        """Return the ends of one number; of None, those of every other number."""
        return tuple(
            end for end in self.ends if (end.immediate if by == "immediate" else end.x0) == number
        )


@dataclass(frozen=True)
class _Path:
    address: int
    state: State
    did: frozenset[str] = frozenset()
    leaves: frozenset[Leave] = frozenset()
    written: frozenset[int] = frozenset()

    def key(self) -> tuple[object, ...]:
        return self.address, self.state.key(), self.did, self.leaves, self.written


@dataclass
class Walker:
    """Follows entries.

    Args:
        read: the instruction at an address.
        outside: why what an instruction reaches is not in the cut, by
            (address, target, size in bytes, how); None where it is.
    """

    read: Callable[[int], int]
    outside: Callable[[int, int, int, str], Leave | None]
    _seen: set[tuple[object, ...]] = field(default_factory=set)
    _ends: dict[End, None] = field(default_factory=dict)
    _compared: dict[tuple[int, Field, int], None] = field(default_factory=dict)
    _disassembler: Any = None

    def walk(self, entries: Sequence[int]) -> Arms:
        """Return what an hvc that is taken at each of ``entries`` does."""
        todo = [_Path(entry, entered()) for entry in entries]
        while todo and len(self._seen) < MOST_STEPS:
            path = todo.pop()
            if path.key() not in self._seen:
                self._seen.add(path.key())
                todo += self._step(path)
        return Arms(tuple(self._ends), tuple(sorted(self._compared, key=lambda c: c[0])), not todo)

    def _step(self, path: _Path) -> Iterator[_Path]:
        word, address = self.read(path.address), path.address
        where = flow(word, address)
        if where.data is not None:
            path = self._reaching(path, *where.data)
        if where.ends:
            self._end(path, where.ends, word)
            return
        after = replace(self._executed(path, word), address=address + 4)
        if not where.targets:
            yield after
            return
        if word >> 31 and word & 0x7C00_0000 == 0x1400_0000:  # bl
            after = _called(after)
        taken, fallen = self._split(after, word, address)
        for target in where.targets if taken else ():
            assert taken is not None
            leave = self.outside(address, target, 4, "branches to")
            if leave is None:
                yield replace(after, address=target, state=taken)
            else:
                self._end(replace(after, state=taken, leaves=path.leaves | {leave}), "out", word)
        if where.falls and fallen is not None:
            yield replace(after, state=fallen)

    def _reaching(self, path: _Path, target: int, size: int) -> _Path:
        how = "reads" if size in (4, 8, 16) else "names"
        leave = self.outside(path.address, target, size, how)
        return path if leave is None else replace(path, leaves=path.leaves | {leave})

    def _split(self, path: _Path, word: int, address: int) -> tuple[State | None, State | None]:
        state = path.state
        if word & 0xFF00_0000 == 0x5400_0000:
            self._note(address, state)
            return state.split(_CONDITIONS.get(word & 0xF, ""))
        if word & 0x7E00_0000 == 0x3400_0000:
            what = narrowed(state.registers.get(word & 31), word)
            if isinstance(what, Field):
                with_compare = replace(state, compared=(what, 0))
                self._note(address, with_compare)
                taken, fallen = with_compare.split("ne" if word >> 24 & 1 else "eq")
                return _comparing(taken, state), _comparing(fallen, state)
            if isinstance(what, int):
                zero = (what == 0) != bool(word >> 24 & 1)
                return (state, None) if zero else (None, state)
        return state, state

    def _note(self, address: int, state: State) -> None:
        if state.compared is not None:
            what, number = state.compared
            if isinstance(what, int):
                return
            self._compared[address, replace(what, minus=0), number + what.minus] = None

    def _end(self, path: _Path, how: str, word: int) -> None:
        state = path.state
        register = word >> 5 & 31
        immediate, immediate_bits = state.number("esr", 16) or (None, 0)
        x0, x0_bits = state.number("x0", 64) or (None, 0)
        end = End(
            how, path.address, immediate, x0, state.registers.get(0),
            state.registers.get(register) if how == "br" else None, path.did, path.leaves,
            path.written, immediate_bits, x0_bits,
        )  # fmt: skip
        self._ends[end] = None

    def _executed(self, path: _Path, word: int) -> _Path:
        """Return the path after an instruction that goes on to the next."""
        state, register = path.state, word & 31
        if word & 0xFFFF_FFE0 in (_ESR, _MRS_VBAR):
            return _wrote(path, register, Field("esr") if word & 0xFFFF_FFE0 == _ESR else _VBAR)
        if word & 0xFFFF_FFE0 == _MSR_VBAR:
            source = state.registers.get(register)
            return replace(path, did=path.did | {"vbar_el2"} | _given(source))
        if word & 0xFFFF_FFE0 == _MSR_HCR:
            return replace(path, did=path.did | {"hcr_el2"})
        if word & 0xFE1F_FC1F == 0xD61F_0000 and word >> 21 & 7 == 1:  # blr
            return _called(path)
        value = computed(state, word)
        if word & 0xBF00_0000 == 0x1800_0000:  # ldr of a literal
            value = self._literal(path.address, word)
        if not isinstance(value, Unfollowed):
            return _wrote(path, register, value)
        if (said := compared(state, word)) is not None:
            return replace(path, state=replace(state, compared=said))
        return self._other(path, word)

    def _literal(self, address: int, word: int) -> Value:
        """Return what the assembler put beside the code; unknown where that isn't in the cut."""
        where = flow(word, address).data
        if where is None or self.outside(address, where[0], where[1], "reads") is not None:
            return None
        low = self.read(where[0])
        return low if where[1] == 4 else self.read(where[0] + 4) << 32 | low

    def _other(self, path: _Path, word: int) -> _Path:
        """Return the path with whatever else an instruction writes unknown."""
        written, flags = self._writes(word)
        state = replace(path.state, compared=None) if flags else path.state
        for number in written:
            state = state.set(number, None)
        return replace(path, state=state, written=path.written | written)

    def _writes(self, word: int) -> tuple[frozenset[int], bool]:
        """Return the registers that an instruction writes, and whether it writes NZCV."""
        import capstone

        if self._disassembler is None:
            self._disassembler = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
            self._disassembler.detail = True
        found = next(self._disassembler.disasm(word.to_bytes(4, "little"), 0), None)
        if found is None:  # an instruction newer than the disassembler
            return frozenset(range(31)), True
        names = {found.reg_name(each) for each in found.regs_access()[1]}
        flags = "nzcv" in names or bool(found.update_flags)
        return frozenset(number for name in names if (number := _number(name)) is not None), flags


def _number(name: str) -> int | None:
    if name in ("fp", "lr"):
        return 29 if name == "fp" else 30
    return int(name[1:]) if name[:1] in "xw" and name[1:].isdecimal() else None


def _given(source: Value) -> set[str]:
    """Return which register of the caller's VBAR_EL2 is set from, if it is one's value."""
    whole = isinstance(source, Field) and source == Field(source.source)
    return {f"vbar_el2 {source.source}"} if whole and isinstance(source, Field) else set()


def _wrote(path: _Path, register: int, value: Value) -> _Path:
    written = path.written | ({register} if register != 31 else set())
    return replace(path, state=path.state.set(register, value), written=written)


def _called(path: _Path) -> _Path:
    """A callee may change every register that the procedure-call standard gives it."""
    state = replace(path.state, compared=None)
    for number in (*range(19), 30):
        state = state.set(number, None)
    return replace(path, state=state, did=path.did | {"call"}, written=path.written | {30})


def _comparing(state: State | None, before: State) -> State | None:
    return None if state is None else replace(state, compared=before.compared)


__all__ = ["Arms", "End", "Leave", "Walker"]
