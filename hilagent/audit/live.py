# SPDX-License-Identifier: Apache-2.0
"""Whether a register that an hcall gives away is read before it is written.

Every path from behind the hcall is followed, through calls and back into all direct
callers. The procedure-call standard (AAPCS64, section 6.1.1) ends a path only at the
return of a global function that isn't called directly within its own unit: inside a unit
GCC keeps values in caller-saved registers across calls (-fipa-ra). Even then callers in
assembler are followed. What can't be told is ``may be live``, and so is what compiled code
reads of x9 to x18 that was called: nobody hands it anything there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hilagent.elf import Function

from .patches import ALIKE, CONDUIT, NOPS
from .pointers import shadow_call_stack
from .program import Program, is_compiled
from .readers import VENEER, by_pointer, readers
from .registers import ARGUMENTS, effect, kind_of, target_of

__all__ = ["MOST_STEPS", "Live", "after", "shadow_call_stack"]

MOST_STEPS = 200_000
MOST_IN_ALL, LEAST_STEPS = 2_000_000, 100
"""Of all searches in one program, and what each of them gets all the same."""
_MOST_REFINED = 2_000
_BEFORE, _ROOT = -2, -1
_SCRATCH = frozenset(range(2, 19))
"""What a C caller expects nothing in after a call; x0 and x1 may hold what it returns."""
_SHOWN = 12

_Pointed = tuple[str, frozenset[int]]
_NOBODY: _Pointed = ("", frozenset())
_State = tuple[int, int]
"""The entry of the function that was called, or ``_ROOT``; and an address."""


@dataclass(frozen=True)
class Live:
    """What was found of one register.

    Attributes:
        at: the instruction that reads it, or that leaves it open; None for ``dead``.
        path: where the way there branched, called or returned, from the site on; the last
            of them if there are many.
    """

    state: Literal["dead", "live", "may be live"]
    at: int | None = None
    why: str = ""
    path: tuple[int, ...] = ()


def after(program: Program, site_address: int, registers: Iterable[int]) -> dict[int, Live]:
    """Return, for each register, whether its value behind the instruction there matters."""
    return {register: _after(program, site_address, register) for register in registers}


def _after(program: Program, site: int, register: int) -> Live:
    stack = program.shadow_call_stack if register == 18 else None
    if stack is not None:
        return Live("live", stack, "x18 is the shadow call stack's pointer", ())
    pointed = _by_pointer(program, register)
    search = _Search(program, register, MOST_STEPS, pointed)
    found = search.run(site)
    if found.state != "live" or not search.passed:
        return found
    refined = _Search(program, register, _MOST_REFINED, pointed, every=True).run(site)
    return refined if refined.state == "dead" else found


def _by_pointer(program: Program, register: int) -> _Pointed:
    """Return one function that may read the register when it is called by a pointer.

    With what may call such; empty without. To find the first of them, calls by pointers
    don't count: a chain of those ends in one.
    """
    if register not in program.by_pointer:
        program.by_pointer[register] = _NOBODY
        for each in sorted(readers(program, register) & program.pointed):
            if _Search(program, register, MOST_STEPS, _NOBODY).enter(each).state != "dead":
                owner = program.owner(each)
                name = owner.name if owner else hex(each)
                program.by_pointer[register] = name, by_pointer(program, register)
                break
    return program.by_pointer[register]


class _Search:
    """One register, from one site. With ``every``, also through calls that don't read it."""

    def __init__(
        self, program: Program, register: int, most: int, pointed: _Pointed, every: bool = False
    ) -> None:
        self.program, self.register = program, register
        self.passed = False
        self._most, self._every = most, every
        self._readers = readers(program, register)
        self._pointed, self._perhaps = pointed
        self._from: dict[_State, _State | None] = {}
        self._todo: deque[_State] = deque()
        self._waiting: dict[int, list[tuple[_State, tuple[int, ...]]]] = defaultdict(list)
        self._returned: set[int] = set()
        self._left: set[int] = set()
        self._standard: dict[str, None] = {}
        self._dumped = 0
        self._live: Live | None = None
        self._open: Live | None = None

    def run(self, site: int) -> Live:
        """Return the answer for what follows the instruction at ``site``."""
        start = (_BEFORE, site)
        self._from[start] = None
        self._push(start, self._behind(site), _ROOT)
        return self._answer(start)

    def enter(self, function: int) -> Live:
        """Return the answer for the entry of a function, up to its return."""
        self._from[function, function] = None
        self._todo.append((function, function))
        return self._answer((function, function))

    def _answer(self, start: _State) -> Live:
        steps, most = 0, min(self._most, max(MOST_IN_ALL - self.program.searched, LEAST_STEPS))
        while self._todo and self._live is None:
            steps += 1
            if steps > most:
                self._doubt(start, f"too many paths: {most} steps")
                break
            self._step(self._todo.popleft())
        self.program.searched += steps
        return self._live or self._open or Live("dead", None, self._why())

    def _why(self) -> str:
        dumped = f"; but for the dump at {self._place(self._dumped)}" if self._dumped else ""
        if not self._standard:
            return f"overwritten first on every path, or the path ends{dumped}"
        names = ", ".join(list(self._standard)[:3]) + (" ..." if len(self._standard) > 3 else "")
        standard = f"by the procedure-call standard at the return of {names}"
        return f"{standard}; overwritten elsewhere{dumped}"

    def _push(self, before: _State, addresses: Iterable[int], context: int | None = None) -> None:
        where = before[0] if context is None else context
        for address in addresses:
            if (where, address) not in self._from:
                self._from[where, address] = before
                self._todo.append((where, address))

    def _step(self, state: _State) -> None:
        context, address = state
        at = self.program.next_stop(address, self.register)
        if at is None:
            self._doubt(state, "it runs out of the code in this file")
            return
        if at != address:
            if (context, at) in self._from:
                return
            self._from[context, at] = state
        here = (context, at)
        if self.program.elf.symbols.is_data(at):
            self._doubt(here, "it runs into data")
            return
        patches, word = self.program.patches, self.program.word(at) or 0
        if at in self.program.patched:
            self._push(here, patches.either(at))
            self._written(here)
        does = effect(word)
        if not does.known:
            self._doubt(here, f"the disassembler doesn't know {word:#010x}")
        elif self.register in does.reads and self.program.dumped(at):
            self._dumped = self._dumped or at
            self._go(here, word)
        elif self.register in does.reads and self._is_no_argument(context):
            self._doubt(here, f"{self._reads(at)}, in compiled code that was called")
            self._go(here, word)
        elif self.register in does.reads:
            self._live = Live("live", at, self._reads(at), self._path(here))
        elif self.register in does.kills and not patches.alike(at):
            self._push(here, self.program.unwritten(at))
        else:
            self._go(here, word)

    def _is_no_argument(self, context: int) -> bool:
        """Whether what was called expects nothing in the register: x9 to x18, in compiled code.

        There GCC passes nothing to any function (AAPCS64, section 6.1.1). A path on which it
        is read all the same is one that never runs: mas_descend_adopt of Linux 6.1 has some.
        """
        owner = self.program.owner(context) if 9 <= self.register <= 18 and context >= 0 else None
        if owner is None or owner.address != context:
            return False
        return is_compiled(owner) or not self.program.has_units

    def _written(self, here: _State) -> None:
        """Judge what a callback may write in place of the instruction."""
        if not self.program.patches.unknown(here[1]):
            return
        unknown = [e for e in self.program.patches.covering(here[1]) if e.callback]
        if not all(each.is_one_of(NOPS | ALIKE | CONDUIT) for each in unknown):
            self._doubt(here, "the kernel may write any instruction there")
        elif self.register in ARGUMENTS and any(each.is_one_of(CONDUIT) for each in unknown):
            self._live = Live("live", here[1], "an hvc or smc is written there", self._path(here))

    def _go(self, here: _State, word: int) -> None:
        at, kind = here[1], kind_of(word)
        if kind in ("branch", "conditional"):
            self._push(here, self._targets(at, target_of(word, at)))
        if kind == "call":
            self._call(here, target_of(word, at))
        elif kind == "return":
            if word >> 5 & 31 != 30:
                self._doubt(here, "it returns by another register than x30")
            self._return(here)
        elif kind == "jump":
            self._doubt(here, "an indirect branch")
        elif kind == "eret":
            self._doubt(here, "an exception return")
        if kind == "indirect call" and self._pointed:
            self._doubt(here, f"an indirect call, perhaps of {self._pointed} that may read it")
        if kind in ("branch", "return", "jump", "eret", "stop"):
            self._push(here, self.program.patches.edges(at))
        elif kind != "call":
            self._push(here, self._behind(at))

    def _targets(self, at: int, target: int) -> tuple[int, ...]:
        """Return where a branch leads: not to its replacement's end, its edges say where."""
        patches = self.program.patches
        if patches.replaces(at) is None or not patches.edges(at):
            return (target,)
        while patches.replaces(at) is not None and not patches.ends(at):
            at += 4
        return () if at + 4 == target else (target,)

    def _behind(self, at: int) -> tuple[int, ...]:
        """Return where an instruction that doesn't branch goes on, or a call returns to."""
        edges = self.program.patches.edges(at)
        if self.program.patches.ends(at):
            return edges
        word = self.program.word(at) or 0
        may_end = kind_of(word) in ("call", "indirect call", "brk")
        owner = self.program.owner(at) if may_end else None
        if owner is not None and self.program.last(owner) == at:
            return (at + 4, *edges) if self.program.falls_through(at) else edges
        return (at + 4, *edges)

    def _call(self, here: _State, target: int) -> None:
        at, name = here[1], self.program.elf.external(target)
        if name and self.register in VENEER:
            self._push(here, self.program.patches.edges(at))
            return
        owner = self.program.owner(target)
        if self.program.word(target) is None:
            self._doubt(here, f"it calls {name or hex(target)}, which isn't in this file")
        elif self._every or owner is None or owner.address in self._readers:
            self._push(here, (target,), target)
            if target not in self._returned:
                self._waiting[target].append((here, self._behind(at)))
                return
        else:
            self.passed = True
            if owner.address in self._perhaps:
                perhaps = f"perhaps {self._pointed} that may read it"
                self._doubt(here, f"it calls {owner.name}, which may call by a pointer, {perhaps}")
        self._push(here, self._behind(at))

    def _return(self, here: _State) -> None:
        context, at = here
        if context != _ROOT:
            self._returned.add(context)
            for caller, behind in self._waiting.pop(context, ()):
                self._push(here, behind, caller[0])
            return
        owner = self.program.owner(at)
        if owner is None:
            self._doubt(here, "it returns from code without a symbol")
            return
        for each in self.program.handing_over(owner):
            if each.address not in self._left:
                self._left.add(each.address)
                self._leave(here, each)

    def _leave(self, here: _State, function: Function) -> None:
        """Go on behind the calls of a function."""
        sites = list(self.program.calls_to(function))
        owners = {site: self.program.owner(site) for site in sites}
        outside = all(_is_apart(function, owners[site]) for site in sites)
        if function.is_global and outside and self.register in _SCRATCH:
            self._standard[function.name] = None
            sites = [site for site in sites if not is_compiled(owners[site])]
        elif function.is_global and not self.program.has_units and self.register in _SCRATCH:
            self._doubt(here, f"{function.name} returns, to its own unit or not: no symbol tells")
            return
        elif function.address in self.program.taken:
            self._doubt(here, f"{function.name} may be called by its address")
        elif not sites and len(self.program.handing_over(function)) == 1:
            self._doubt(here, f"no call of {function.name} is known")
        for site in sites:
            self._push(here, self._behind(site))

    def _doubt(self, here: _State, why: str) -> None:
        if self._open is None:
            place = self._place(here[1])
            self._open = Live("may be live", here[1], f"{why}, at {place}", self._path(here))

    def _reads(self, at: int) -> str:
        return f"x{self.register} is read at {self._place(at)}"

    def _place(self, at: int) -> str:
        owner = self.program.owner(at)
        if owner is None or at not in owner:
            return f"{at:#x}"
        return f"{owner.name}+{at - owner.address:#x}" if at > owner.address else owner.name

    def _path(self, here: _State) -> tuple[int, ...]:
        way: list[int] = []
        state: _State | None = here
        seen: set[_State] = set()
        while state is not None and state not in seen:
            seen.add(state)
            way.append(state[1])
            state = self._from[state]
        way.reverse()
        turns = [one for one, then in itertools.pairwise(way) if not one <= then <= one + 256]
        return (*turns[-_SHOWN:], here[1])


def _is_apart(function: Function, caller: Function | None) -> bool:
    """Whether a caller is surely in another unit."""
    if caller is None or not caller.unit or not function.unit:
        return False
    return caller.unit != function.unit
