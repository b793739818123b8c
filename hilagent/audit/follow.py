# SPDX-License-Identifier: Apache-2.0
"""Follows a handler from its vector entry to every way out, without running it.

Both ways are taken wherever it can't be known which one the CPU takes. What a called C
function does is not followed: by the procedure-call standard (AAPCS64, 6.1.1) it may
change x0-x18 and x30. One that is given a function by its caller (``blr`` of an argument)
is taken for one that changes nothing, as the measurement does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hilagent.elf import Elf

from . import privileged
from .instruction import Instruction, read
from .patches import Patches
from .values import Flags, Value, constant, symbol

if TYPE_CHECKING:
    from .step import Stepper

MOST_STEPS = 20_000
"""Instructions that are followed from one entry; what needs more is given up."""
MOST_PATH = 2_000
TOO_MANY = "too many ways through it"
MOST_IN_ALL, LEAST_STEPS = 100_000, 200
"""From all entries of a table, and what each of them gets all the same: Debian's takes 20,000."""
_Place = int
"""Number of a state at an address: comparing whole states takes most of the time."""
_BEGIN: _Place = -1

_Step = tuple[int, "State", int, _Place]
"""Where a path goes on: address, state, how many instructions so far, and from where."""

Ending = Literal["eret", "enters", "loop", "panic", "fault", "given up"]


@dataclass
class State:
    """Registers, system registers and memory at one place of one path.

    Attributes:
        x: x0-x30; ``sp`` is SP_EL2.
        system: by name in capitals, those that were written.
        memory: 8 bytes each by the address that they were stored at.
        because: address of the instruction that wrote a register last.
        met: how often something unknown came up at an address.
        vectors: vector registers that were written -> the first instruction that did.
        forks: where it went one of two ways, and nobody can say which the CPU takes.
        patched: where it went through what a boot may write over the code, or a fault.
    """

    x: list[Value]
    sp: Value = field(default_factory=lambda: symbol("SP_EL2"))
    flags: Flags = field(default_factory=Flags)
    system: dict[str, Value] = field(default_factory=dict)
    memory: dict[Value, Value] = field(default_factory=dict)
    because: dict[int, int] = field(default_factory=dict)
    called: list[Call] = field(default_factory=list)
    met: dict[int, int] = field(default_factory=dict)
    vectors: dict[int, int] = field(default_factory=dict)
    forks: tuple[int, ...] = ()
    patched: tuple[int, ...] = ()

    def copy(self) -> State:
        return State(
            list(self.x), self.sp, self.flags, dict(self.system), dict(self.memory),
            dict(self.because), list(self.called), dict(self.met),
            dict(self.vectors),
            self.forks,
            self.patched,
        )  # fmt: skip

    def key(self) -> tuple[object, ...]:
        """What makes two states at one address the same."""
        return (
            tuple(self.x), self.sp, self.flags, frozenset(self.system.items()),
            frozenset(self.memory.items()), frozenset(self.vectors),
            tuple((call.target, call.args) for call in self.called),
        )  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call on the way: of what, with which x0-x3."""

    address: int
    target: Value
    args: tuple[Value, ...]


@dataclass(frozen=True)
class Way:
    """One way out of a handler.

    Attributes:
        ending: ``eret``; ``enters`` (a branch to ``target``); ``loop`` (never ends);
            ``panic``; ``fault`` (an instruction that traps); ``given up`` (too long, or
            something that isn't understood).
        at: address of its last instruction.
        x, system: what they hold then; ``because``: who wrote a register last.
        called: the calls on it, in order.
        vectors, forks, patched: see :class:`State`.
        why: of ``panic`` and ``given up``: where, or what isn't understood.
    """

    ending: Ending
    at: int
    x: tuple[Value, ...]
    sp: Value
    system: Mapping[str, Value]
    because: Mapping[int, int]
    called: tuple[Call, ...]
    vectors: Mapping[int, int]
    forks: tuple[int, ...]
    patched: tuple[int, ...]
    target: Value | None = None
    why: str = ""


@dataclass
class Seen:
    """What was met on any path from one entry.

    Attributes:
        memory, stack: addresses of loads and stores, apart from SP_EL2 and by it.
        read: registers of the caller's that were looked at -> first address.
        compared: constants that ESR_EL2's or x0's number was compared with.
        origin: of each symbol that came up on the way: its instruction and kind.
    """

    memory: set[int] = field(default_factory=set)
    stack: set[int] = field(default_factory=set)
    calls: dict[int, str] = field(default_factory=dict)
    origin: dict[str, tuple[int, str]] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)
    compared: set[int] = field(default_factory=set)

    def fresh(self, address: int, kind: str, state: State) -> Value:
        """Return something that nobody knows, and remember where it came up.

        It is the same on every path to ``address``, so that paths that differ in nothing
        else join again, and another one each time that one path comes by.
        """
        state.met[address] = count = state.met.get(address, 0) + 1
        name = f"?{address:x}.{count}"
        self.origin[name] = (address, kind)
        return symbol(name)


class Budget:
    """What may be followed of one table: many entries that each take long are one of them."""

    def __init__(self, left: int = MOST_IN_ALL) -> None:
        self._left = left

    @property
    def steps(self) -> int:
        """How far the next entry may be followed."""
        return min(MOST_STEPS, max(self._left, LEAST_STEPS))

    def spend(self, steps: int) -> None:
        """Note that so many instructions were followed."""
        self._left -= steps


def follow(
    elf: Elf,
    patches: Patches,
    entry: int,
    *,
    system: Mapping[str, Value] | None = None,
    x: Mapping[int, Value] | None = None,
    budget: Budget | None = None,
) -> Seen:
    """Return every way out of the handler at ``entry``.

    Args:
        system: what system registers hold, e.g. ``ESR_EL2``; others are symbols.
        x: likewise registers; the others hold what the caller gave.
        budget: shared by entries of one table; without, as if it were the first.
    """
    start = State([symbol(f"x{n}") for n in range(31)], system=dict(system or {}))
    for number, value in (x or {}).items():
        start.x[number] = value
    return _Follower(elf, patches, budget or Budget()).run(entry, start)


class _Follower:
    def __init__(self, elf: Elf, patches: Patches, budget: Budget) -> None:
        from .step import Stepper

        self._elf, self._patches = elf, patches
        self._budget, self._most = budget, budget.steps
        self._seen = Seen()
        self._step: Stepper = Stepper(elf, self._seen)
        self._instruction: Callable[[int], Instruction | None] = lambda at: read(elf, at)
        self._numbers: dict[tuple[object, ...], _Place] = {}
        self._states: list[tuple[int, State]] = []
        self._from_where: list[set[_Place]] = []
        self._out: set[_Place] = set()

    def run(self, entry: int, start: State) -> Seen:
        """Follow every path; what no way out can be reached from is an endless loop."""
        try:
            return self._run(entry, start)
        finally:
            self._budget.spend(len(self._states))

    def _run(self, entry: int, start: State) -> Seen:
        todo, later = [(entry, start, 0, _BEGIN)], list[_Step]()
        while todo or later:
            # Where paths meet, the first is kept: one that no boot has to write code for.
            at, state, length, came = todo.pop() if todo else later.pop()
            here = self._numbers.setdefault((at, *state.key()), len(self._states))
            if here < len(self._states):
                self._from_where[here].add(came)
                continue
            self._states.append((at, state))
            self._from_where.append({came})
            before = len(self._seen.ways)
            if len(self._states) > self._most or length > MOST_PATH:
                self._ended("given up", at, state, TOO_MANY)
                self._out.add(here)
                if len(self._states) > self._most:
                    return self._seen
                continue
            last = self._states[came][0] if came != _BEGIN else None
            for then, each in self._from(at, state, last):
                (later if each.patched else todo).append((then, each, length + 1, here))
            if len(self._seen.ways) > before:
                self._out.add(here)
        self._loops()
        return self._seen

    def _loops(self) -> None:
        """Note a place that no way out can be reached from, if there is one."""
        reach, todo = set(self._out), list(self._out)
        while todo:
            here = todo.pop()
            new = self._from_where[here] - reach if here != _BEGIN else set()
            reach |= new
            todo += new
        stuck = next((n for n in range(len(self._states)) if n not in reach), None)
        if stuck is not None:
            self._ended("loop", *self._states[stuck])

    def _from(self, at: int, state: State, last: int | None) -> Iterator[tuple[int, State]]:
        """Yield where the path goes on; ways out are noted. ``last``: where it comes from."""
        for place in (at, *self._replacements(at, last)):
            mine = state.copy()
            if place != at:
                mine.patched = (*mine.patched, at)
            here = self._instruction(place)
            if here is None:
                self._ended("given up", place, mine, "no code")
            elif self._patches.unknown(place) and not self._patches.alike(place):
                self._ended("given up", place, mine, "written at boot by a callback")
            elif self._patches.unknown(place):
                self._step.written_at_boot(place, here, mine)
                yield from self._next(place, mine)
            else:
                yield from self._after(place, here, mine)

    def _replacements(self, at: int, last: int | None) -> tuple[int, ...]:
        """Return what may stand at ``at``; nothing in the middle of an original that the
        path has begun, as that is written over as a whole or not at all."""
        if last == at - 4:
            begun = {each.region for each in self._patches.covering(last)}
            if {each.region for each in self._patches.covering(at)} <= begun:
                return ()
        return self._patches.either(at)

    def _after(self, at: int, here: Instruction, state: State) -> Iterator[tuple[int, State]]:
        for other in self._patches.edges(at):
            away = state.copy()
            if self._patches.replaces(at) is None:
                away.patched = (*away.patched, at)
            yield other, away
        if here.flow in ("branch", "conditional"):
            yield from self._branching(at, here, state)
        elif here.flow == "eret":
            self._ended("eret", at, state)
        elif here.flow in ("jump", "return"):
            yield from self._jump(at, state.x[here.register], state)
        elif here.flow == "stop":
            self._ended("given up" if here.name == ".word" else "fault", at, state, here.text)
        else:
            if here.name in ("hvc", "svc"):
                self._ended("given up", at, state, f"{here.text}, to its own vectors")
                return
            if here.flow == "next":
                self._step(at, here, state)
            elif self._goes_into(here):
                state.x[30], state.because[30] = constant(at + 4), at
                yield here.target, state
                return
            else:
                self._call(at, here, state)
            yield from self._next(at, state)

    def _next(self, at: int, state: State) -> Iterator[tuple[int, State]]:
        """Go on behind ``at``; behind the end of a replacement ``edges`` goes on."""
        if not self._patches.ends(at):
            yield at + 4, state

    def _branching(self, at: int, here: Instruction, state: State) -> Iterator[tuple[int, State]]:
        taken = self._step.decides(here, state) if here.flow == "conditional" else True
        if taken is None:
            state.forks = (*state.forks, at)
        if taken is not False:
            yield from self._branch(here, state.copy())
        if taken is not True:
            yield from self._next(at, state)

    def _jump(self, at: int, target: Value, state: State) -> Iterator[tuple[int, State]]:
        """Go where a register says, if that is code of this file.

        KVM adds what it loads to an address of the kernel's, to reach its own code in
        another mapping (kvm/hyp/nvhe/host.S, ``hyp_kimg_va`` and ``hyp_pa``).
        """
        moved = [self._seen.origin.get(name, (0, ""))[1] for name in target.symbols]
        if set(moved) <= {"memory", "boot"} and read(self._elf, target.const) is not None:
            yield target.const, state
        else:
            self._ended("enters", at, state, target=target)

    def _branch(self, here: Instruction, state: State) -> Iterator[tuple[int, State]]:
        function = self._elf.symbols.function_at(here.target)
        if function is not None and "panic" in function.name:
            self._ended("panic", here.address, state, function.name)
        elif here.target == here.address:
            self._ended("loop", here.address, state)
        else:
            yield here.target, state

    def _goes_into(self, here: Instruction) -> bool:
        """Whether what is called is code in assembler, which keeps to no standard."""
        if here.flow != "call" or not self._elf.symbols.mapped:
            return False  # no symbol tells
        function = self._elf.symbols.function_at(here.target)
        return function is not None and not function.is_compiled

    def _call(self, at: int, here: Instruction, state: State) -> None:
        target = constant(here.target) if here.flow == "call" else state.x[here.register]
        if here.flow == "call":
            function = self._elf.symbols.function_at(here.target)
            self._seen.calls[at] = function.name if function else f"{here.target:#x}"
        given = target.symbol.startswith("x")
        state.called.append(Call(at, target, tuple(state.x[:4])))
        state.x[30], state.because[30] = constant(at + 4), at
        if not given:
            self._step.forget_call(at, state)

    def _ended(
        self, how: Ending, at: int, state: State, why: str = "", target: Value | None = None
    ) -> None:
        privileged.select_stack(state, 1)
        self._seen.ways.append(
            Way(
                how, at, tuple(state.x), state.sp, dict(state.system), dict(state.because),
                tuple(state.called), dict(state.vectors), state.forks, state.patched,
                target, why,
            )
        )  # fmt: skip
