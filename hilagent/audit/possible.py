# SPDX-License-Identifier: Apache-2.0
"""What an hcall can change by the code of its handlers, to be held against a board."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hilagent.abi import Contract, Profile
from hilagent.elf import Elf

from .follow import Budget, Way
from .handlers import Served, Vectors, Write, name_of, serve_number, tables, unknown_numbers
from .instruction import read
from .patches import Patches, read_patches
from .values import symbol

PSTATE = "PSTATE"
"""Stands for every field of it: they come home out of SPSR_EL2 (Arm ARM D1.4.4)."""


@dataclass(frozen=True)
class Possible:
    """What the code of one hcall can change.

    Attributes:
        writes: by register, ``v7`` for all of z7, system registers in capitals.
        where: by register: which instruction, on which way.
        unproven: why that can't be told; empty where it can.
    """

    writes: Mapping[str, Write]
    where: Mapping[str, str]
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True)
class Code:
    """The vectors of one server in one file."""

    elf: Elf
    profile: Profile
    server: str
    vectors: Vectors

    @cached_property
    def patches(self) -> Patches:
        """What a boot may write over the code."""
        return read_patches(self.elf)

    def possible(self, contract: Contract) -> Possible:
        """Return what an hcall can change; of the unknown, those that could be taken for another.

        Other numbers may go other ways: :meth:`at` tells of one.
        """
        return self._joined(self._served(contract))

    def at(self, contract: Contract, number: int | None) -> Possible:
        """Return what an hvc of this number can change, whatever else names it; None: any."""
        return self._joined(
            self._one(entry, contract, number, any_immediate=True) for entry in self._entries
        )

    @cached_property
    def _entries(self) -> tuple[int, ...]:
        """The synchronous entries of where hcalls are issued from, one of those that agree."""
        found: dict[int, int] = {}
        for origin in self.profile.servers[self.server].origins:
            entry = self.vectors.entry(origin)
            first = read(self.elf, entry)
            jumps = first is not None and first.flow == "branch"
            found.setdefault(first.target if first and jumps else entry, entry)
        return tuple(found.values())

    def _served(self, contract: Contract) -> Iterator[Served]:
        for entry in self._entries:
            if contract.number is not None:
                yield self._one(entry, contract, contract.number)
                continue
            compared = self._compared
            for number in unknown_numbers(self.profile, self.server, compared):
                yield self._one(entry, contract, number)

    @cached_property
    def _compared(self) -> frozenset[int]:
        """The constants that the code compares a number with."""
        served = [
            self._one(entry, contract, contract.number or 0)
            for entry in self._entries
            for contract in self.profile.hcalls(self.server)
            if contract.effect != "finalise"  # thousands of ways, and all behind the compares
        ]
        return frozenset(number for each in served for number in each.seen.compared)

    @cached_property
    def _budget(self) -> Budget:
        return Budget()

    def _one(
        self, entry: int, contract: Contract, number: int | None, *, any_immediate: bool = False
    ) -> Served:
        return serve_number(
            self.elf, self.patches, self.profile, entry, contract, number,
            any_immediate=any_immediate, budget=self._budget,
        )  # fmt: skip

    def _joined(self, served: Iterable[Served]) -> Possible:
        writes: dict[str, Write] = {}
        where: dict[str, str] = {}
        unproven: dict[str, None] = {}
        for each in served:
            unproven |= dict.fromkeys((*each.unproven, *self._trusted(each)))
            if unproven:
                break
            for register, write in self._written(each):
                if register not in writes:
                    writes[register] = write
                    where[register] = self._where(each, write)
        return Possible(writes, where, tuple(unproven))

    def _trusted(self, served: Served) -> Iterator[str]:
        """Yield the calls that are only taken to keep to the procedure-call standard."""
        for at, name in served.seen.calls.items():
            yield f"{name} is called at {name_of(self.elf, at)}, and isn't followed"

    def _written(self, served: Served) -> Iterator[tuple[str, Write]]:
        for register, write in served.writes.items():
            named = register == "x0" and write.value == f"{served.number:#x}"
            if not named or any(0 in way.because for way in served.ways):
                yield register, write
        for way in served.ways:
            state = way.system.get("SPSR_EL2", symbol("SPSR_EL2"))
            if way.ending == "eret" and state != symbol("SPSR_EL2"):
                yield PSTATE, Write(PSTATE, way.at, str(state), sure=True)

    def _where(self, served: Served, write: Write) -> str:
        """Return which way has to be taken for a write, in words."""
        said = [name_of(self.elf, write.at)]
        if not write.sure:
            said.append("out of memory or of a C function, which may have kept it")
        way = _way(served, write)
        if way is not None and way.forks:
            forks = ", ".join(name_of(self.elf, at) for at in way.forks[:3])
            said.append(f"where the CPU goes that way at {forks}")
        if way is not None and way.patched:
            said.append(f"once a boot has written over {name_of(self.elf, way.patched[0])}")
        return ", ".join(said)


def code_of(elf: Elf, profile: Profile, server: str) -> Code | None:
    """Return the vectors of ``server`` in ``elf``, where they are alone or have its symbol."""
    found = tables(elf)
    vectors = found.get(server, next(iter(found.values()), None))
    return None if vectors is None else Code(elf, profile, server, vectors)


def _way(served: Served, write: Write) -> Way | None:
    """Return the plainest way that has this write; None where each way home has one."""
    homes = [way for way in served.ways if way.ending in ("eret", "enters")]
    mine = [way for way in homes if write.register in _because(way) or way.at == write.at]
    if len(mine) == len(homes):
        return None
    return min(mine, key=lambda way: (len(way.patched), len(way.forks)), default=None)


def _because(way: Way) -> set[str]:
    """Return what registers were written on a way, though some may have been put back."""
    return {f"x{n}" for n in way.because} | {f"v{n}" for n in way.vectors} | set(way.system)
