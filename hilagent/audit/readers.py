# SPDX-License-Identifier: Apache-2.0
"""Which functions may read a register that they haven't written: at entry, or by a call."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

from hilagent.elf import Function

from .program import Program
from .registers import effect, kind_of, may_name, target_of

VENEER = frozenset((16, 17))
"""What a linker's veneer may overwrite (AAPCS64, section 6.1.1)."""


def readers(program: Program, register: int) -> frozenset[int]:
    """Return the starts of the functions that may; what isn't named surely doesn't.

    They read it on some path before they write it, or call or go on in one that does (one
    that leaves by ``br`` if it reads it anywhere). Calls by a pointer don't count.
    """
    if register not in program.readers:
        found = _closed(program, (each.address for each in _local(program, register)))
        program.readers[register] = frozenset(found)
    return program.readers[register]


def by_pointer(program: Program, register: int) -> frozenset[int]:
    """Return the starts of the functions that call by a pointer, or call those."""
    return frozenset(_closed(program, program.indirect)) - readers(program, register)


def _closed(program: Program, start: Iterable[int]) -> set[int]:
    """Return the functions, and all that call them or go on in them."""
    found = set(start)
    todo = list(found)
    while todo:
        for caller in program.reached_from.get(todo.pop(), ()):
            if caller.address not in found:
                found.add(caller.address)
                todo.append(caller.address)
    return found


def _local(program: Program, register: int) -> Iterator[Function]:
    reading: dict[int, Function] = {}
    for address, word in program.marked(register):
        if may_name(word, register):
            here = effect(word)
            if (register in here.reads or not here.known) and not program.dumped(address):
                owner = program.owner(address)
                if owner is not None and owner.address not in reading:
                    reading[owner.address] = owner
    entries = sorted(program.callees)
    for function in reading.values():
        low, high = (bisect.bisect_left(entries, end) for end in (function.address, function.end))
        if _reads(program, register, function, {function.address, *entries[low:high]}):
            yield function
    yield from program.unsure(register in VENEER)


def _reads(program: Program, register: int, function: Function, entries: set[int]) -> bool:
    seen, todo = set(entries), list(entries)
    while todo:
        at = program.next_stop(todo.pop(), register)
        if at is None or not _is_in(program, function, at):
            continue
        word = program.word(at) or 0
        here, kind = effect(word), kind_of(word)
        is_read = register in here.reads and not program.dumped(at)
        if is_read or not here.known or kind == "jump":
            return True
        on = {*program.patches.either(at), *program.unwritten(at)}
        if register not in here.kills or program.patches.alike(at):
            on.update(program.patches.edges(at))
            if kind not in ("branch", "return", "eret", "stop"):
                on.add(at + 4)
            if kind in ("branch", "conditional"):
                on.add(target_of(word, at))
        for each in on - seen:
            if _is_in(program, function, each):
                seen.add(each)
                todo.append(each)
    return False


def _is_in(program: Program, function: Function, address: int) -> bool:
    if address in function:
        return True
    owner = program.owner(address)
    return owner is not None and owner.address == function.address
