# SPDX-License-Identifier: Apache-2.0
"""What a kernel writes over its own instructions, and where a fault goes on.

Read from the tables that the kernel itself reads (Linux 6.12, all offsets relative to
the field that holds them):

- ``.altinstructions`` (arch/arm64/include/asm/alternative.h): s32 original, s32
  replacement or callback, u16 capability, u8 and u8 lengths in bytes. A callback has
  ``ARM64_CB_BIT`` in its capability, before Linux 6.1 only a replacement of 0 bytes.
- ``__jump_table`` (include/linux/jump_label.h): s32 instruction, s32 target, s64 key.
- ``__ex_table`` (arch/arm64/include/asm/extable.h): s32 instruction, s32 fixup, since
  Linux 5.16 s16 type and s16 data. ``__kvm_ex_table`` (asm/kvm_asm.h): the first two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hilagent.elf import Elf

from . import tables

NOPS = frozenset(
    (
        "alt_cb_patch_nops", "kasan_hw_tags_enable", "spectre_v4_patch_fw_mitigation_enable",
        "spectre_bhb_patch_loop_mitigation_enable", "spectre_bhb_patch_fw_mitigation_enabled",
        "spectre_bhb_patch_clearbhb",
    )
)  # fmt: skip
"""Callbacks that write nops or nothing (Linux 6.12: kernel/alternative.c, proton-pack.c, mte.c)."""

ALIKE = frozenset(
    (
        "kvm_get_kimage_voffset", "kvm_compute_final_ctr_el0", "kvm_update_va_mask",
        "spectre_bhb_patch_loop_iter", "spectre_bhb_patch_wa3",
    )
)  # fmt: skip
"""Callbacks that change an instruction's constants, or write a nop, and use no other register
than what they replace (Linux 6.12: kvm/va_layout.c, kernel/proton-pack.c)."""

CONDUIT = frozenset(("smccc_patch_fw_mitigation_conduit", "arm64_update_smccc_conduit"))
"""Callbacks that write ``hvc #0``, ``smc #0`` or nothing (kernel/proton-pack.c; the second
before Linux 5.10, kernel/cpu_errata.c)."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One entry of ``.altinstructions``.

    Attributes:
        original, size: the instructions that may be replaced, in bytes.
        replacement, length: what replaces the first ``length`` bytes of them; 0 and 0 for
            a callback.
        capability: number of the CPU capability that it depends on (asm/cpucaps.h).
        callback: names of the function that writes the instructions; its address in hex
            where no symbol names it; empty where there is none.
    """

    original: int
    size: int
    replacement: int = 0
    length: int = 0
    capability: int = 0
    callback: tuple[str, ...] = ()

    @property
    def region(self) -> tuple[int, int]:
        """First address and end of what it may write over."""
        return self.original, self.original + (self.size if self.callback else self.length)

    def is_one_of(self, callbacks: frozenset[str]) -> bool:
        """Whether its callback is one of these."""
        return any(name.removeprefix("__kvm_nvhe_") in callbacks for name in self.callback)


class Patches:
    """What may stand at an address at run time, and where it may go on from there.

    The code of a replacement never runs where it stands in the file. It is followed there
    all the same: from ``either`` on, through its own bytes, to its last instruction, whose
    ``edges`` lead behind the code that it replaces.
    """

    def __init__(
        self,
        alternatives: Iterable[Alternative] = (),
        jumps: Iterable[tuple[int, int]] = (),
        fixups: Iterable[tuple[int, int]] = (),
        leaves: Mapping[int, int] | None = None,
    ) -> None:
        """Args:
            jumps: address of each static key's instruction, and its target.
            fixups: address of each instruction that may fault, and where it goes on then.
            leaves: address of each branch of a replacement to that replacement's end, and
                of each last instruction of one that goes on -> where it really leads.
        """  # fmt: skip
        self.alternatives = tuple(dict.fromkeys(alternatives))
        self.jumps = tuple(dict.fromkeys(jumps))
        self._either: dict[int, tuple[int, ...]] = {}
        self._edges: dict[int, tuple[int, ...]] = {}
        self._ends: set[int] = set()
        self._covering: dict[int, tuple[Alternative, ...]] = {}
        self._original: dict[int, int] = {}
        for code, target in self.jumps:
            self._edge(code, target, code + 4)
        for code, target in fixups:
            self._edge(code, target)
        for code, target in (leaves or {}).items():
            self._edge(code, target)
        for each in self.alternatives:
            self._cover(each)
        for each in self.alternatives:
            self._stand_in(each)

    def either(self, address: int) -> tuple[int, ...]:
        """Return the addresses of instructions that may stand in place of the one there."""
        return self._either.get(address, ())

    def edges(self, address: int) -> tuple[int, ...]:
        """Return where else the instruction at ``address`` may go on, besides by its word."""
        return self._edges.get(address, ())

    def ends(self, address: int) -> bool:
        """Whether nothing falls (nor returns from a call) into the bytes that follow.

        So it is at the last instruction of a replacement.
        """
        return address in self._ends

    def unknown(self, address: int) -> bool:
        """Whether a callback may write any instruction here."""
        return any(each.callback and not each.is_one_of(NOPS) for each in self.covering(address))

    def alike(self, address: int) -> bool:
        """Whether what may be written where it is ``unknown`` uses the same registers.

        Decided by the callbacks' names: its constants are unknown, or it is a nop.
        """
        unknown = [e for e in self.covering(address) if e.callback and not e.is_one_of(NOPS)]
        return bool(unknown) and all(each.is_one_of(ALIKE) for each in unknown)

    def covering(self, address: int) -> tuple[Alternative, ...]:
        """Return the alternatives that may write over the instruction at ``address``.

        At an address in a replacement: over what it replaces.
        """
        return self._covering.get(self._original.get(address, address), ())

    def replaces(self, address: int) -> int | None:
        """Return the address that a replacement's instruction runs at; None for other code."""
        return self._original.get(address)

    def _edge(self, address: int, *targets: int) -> None:
        known = self._edges.get(address, ())
        self._edges[address] = tuple(dict.fromkeys((*known, *targets)))

    def _cover(self, alternative: Alternative) -> None:
        first, end = alternative.region
        for place in range(first, end, 4):
            self._covering[place] = (*self._covering.get(place, ()), alternative)
            if alternative.is_one_of(NOPS):
                self._edge(place, place + 4)
        for offset in range(0, alternative.length, 4):
            self._original.setdefault(alternative.replacement + offset, first + offset)

    def _stand_in(self, alternative: Alternative) -> None:
        """Note what may stand for each instruction, also for those of this replacement.

        Of two alternatives for different regions one may be written over a part of the other.
        """
        for offset in range(0, alternative.length, 4):
            place, mine = alternative.original + offset, alternative.replacement + offset
            self._either[place] = tuple(dict.fromkeys((*self._either.get(place, ()), mine)))
            over = [
                each.replacement + place - each.original
                for each in self._covering[place]
                if each.length and each.region != alternative.region
            ]
            if over:
                self._either[mine] = tuple(dict.fromkeys((*self._either.get(mine, ()), *over)))
        if alternative.length:
            self._ends.add(alternative.replacement + alternative.length - 4)


def read_patches(elf: Elf) -> Patches:
    """Return what the tables of a kernel or module say; nothing where it has none.

    Raises InputError for tables that aren't whole or point out of the code.
    """
    alternatives = tuple(_alternatives(elf))
    return Patches(
        alternatives,
        tables.jumps(elf),
        (*tables.fixups(elf), *tables.hyp_fixups(elf)),
        dict(_leaves(elf, alternatives)),
    )


def _alternatives(elf: Elf) -> Iterator[Alternative]:
    names: dict[int, tuple[str, ...]] = {}
    for original, other, capability, size, length in tables.alternatives(elf):
        if capability & tables.CALLBACK or length == 0:
            if other not in names:
                names[other] = _names(elf, other)
            number = capability & ~tables.CALLBACK
            yield Alternative(original, size, 0, 0, number, names[other])
        else:
            yield Alternative(original, size, other, length, capability)


def _names(elf: Elf, address: int) -> tuple[str, ...]:
    function = elf.symbols.function_at(address)
    if function is not None and function.address == address and function.names:
        return function.names
    return (elf.external(address) or f"{address:#x}",)


def _leaves(elf: Elf, alternatives: Iterable[Alternative]) -> Iterator[tuple[int, int]]:
    """Yield where a replacement is left: its last instruction, and branches to its end.

    The kernel leaves such branches as they are (arch/arm64/kernel/alternative.c,
    branch_insn_requires_update), so that they lead behind the code that was replaced.
    """
    for each in alternatives:
        behind = each.replacement + each.length
        words = elf.read(each.replacement, each.length) if each.length else b""
        for offset in range(0, each.length, 4):
            word = int.from_bytes(words[offset : offset + 4], "little")
            place = each.replacement + offset
            if tables.branches_to(word, place) == behind or (
                place + 4 == behind and tables.goes_on(word)
            ):
                yield place, each.original + each.length
