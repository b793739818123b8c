# SPDX-License-Identifier: Apache-2.0
"""A kernel's own vectors as a subject: cut out of its ELF, recognised, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hilagent import abi, errors
from hilagent.abi import UNKNOWN
from hilagent.result import Finding

if TYPE_CHECKING:
    from hilagent.elf.cut import Cut, LeftOut
    from hilagent.elf.file import Elf

DEFAULT_SERVER = "hyp-stub"
BEYOND = 0x1_0000
"""Stands for a number in x0 that is greater than any that is asked for one by one."""
_NAMED = {"immediate": 16, "x0": 64}
FINALISE = "HVC_FINALISE_EL2"
"""What every kernel that has it serves; HVC_VHE_RESTART before it needs CONFIG_ARM64_VHE."""


@dataclass(frozen=True)
class Kernels:
    """Vectors that a kernel brought.

    Attributes:
        place: where they were linked, in a line.
        profile: that they are judged by; what can't be run is not swept in it.
        evidence: why they speak it, a line each.
        left_out: hcalls that are not issued, and why, a line each.
        notes: what else a person should know.
        skip: immediates, or numbers in x0 where that names the hcall, that the contract
            doesn't know and whose code can't be run.
        unnamed: immediates likewise where x0 names the hcall, and values of x0 where the
            immediate does: code that looks at both.
        undecided: numbers that are not issued, as some path of theirs may leave, and
            nobody can be accused of that: whatever is wanted of them stays open.
        aliases: by number, which of its bits alone the code looks at: others reach it too.
        findings: what the code alone shows to be wrong: it was not run.
        elf: the kernel.
    """

    elf: Elf = field(compare=False, repr=False)
    server: str
    blob: bytes
    offset: int
    place: str
    profile: abi.Profile
    evidence: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    skip: tuple[int, ...] = ()
    unnamed: tuple[int, ...] = ()
    undecided: tuple[int, ...] = ()
    aliases: tuple[tuple[int, int], ...] = ()
    findings: tuple[Finding, ...] = ()


def read(text: str, forced: abi.Profile | None) -> Kernels:
    """Return the vectors that ``PATH[+SYSTEM.MAP][,SERVER]`` names.

    Args:
        forced: the ABI that was asked for; None: the one that their code speaks.

    Raises:
        errors.UsageError: the file is no kernel, or has no such vectors (an InputError); or
            the ABI has no such server.
    """
    from hilagent.elf.cut import TABLES, cut
    from hilagent.elf.mapped import named, open_kernel

    path, _, server = text.rpartition(",") if text.rpartition(",")[2] in TABLES else (text, "", "")
    found = open_kernel(*named(path))
    piece = cut(found, server or DEFAULT_SERVER)
    profile, evidence = _spoken(found, piece, forced)
    if piece.server not in profile.servers:
        raise errors.UsageError(
            f"--vectors vmlinux:{text}: profile {profile.name} has no server '{piece.server}'",
            hint=f"its servers: {', '.join(profile.servers)}",
        )
    return _described(found, piece, profile, evidence)


def _spoken(
    found: Elf, piece: Cut, forced: abi.Profile | None
) -> tuple[abi.Profile, tuple[str, ...]]:
    from hilagent.elf.speaks import recognise_static

    if forced is None:
        spoken = recognise_static(found, piece)
        return abi.load(spoken.profile), spoken.evidence
    try:
        spoken = recognise_static(found, piece)
    except errors.InputError as exc:
        return forced, (f"--abi {forced.name}, which can't be told from the code: {exc.message}",)
    own = abi.load(spoken.profile)
    if own.name == forced.name:
        return forced, (f"--abi {forced.name}, as its code says", *spoken.evidence)
    said = f"--abi {forced.name}, against its code, which speaks {spoken.profile}"
    return forced, (said, *spoken.evidence)


def _described(found: Elf, piece: Cut, profile: abi.Profile, evidence: tuple[str, ...]) -> Kernels:
    from hilagent.elf.cut import ALL_BITS

    mine = [each for each in piece.left_out if each.by == profile.selector]
    others = [each for each in piece.left_out if each.by != profile.selector]
    table = f"{piece.table_address:#x}"
    certain = [each for each in mine if each.certain]
    return Kernels(
        elf=found,
        server=piece.server,
        blob=piece.blob,
        offset=piece.offset,
        place=f"{len(piece.blob)} bytes from {piece.address:#x}, the table at {table}",
        profile=_without(profile, piece.server, certain),
        evidence=evidence,
        left_out=tuple(_left_out(profile, piece.server, mine)),
        notes=piece.notes,
        skip=tuple(each.number for each in certain if _unknown(profile, piece.server, each)),
        unnamed=tuple(each.number for each in others),
        undecided=tuple(each.number for each in mine if not each.certain),
        aliases=tuple((each.number, each.bits) for each in mine if each.bits != ALL_BITS),
        findings=tuple(_findings(profile, piece, mine)),
    )


def _unknown(profile: abi.Profile, server: str, left: LeftOut) -> bool:
    return profile.name_of(left.number, server) == UNKNOWN


def _without(profile: abi.Profile, server: str, left_out: list[LeftOut]) -> abi.Profile:
    """Return ``profile`` where what can't be run isn't swept, with the reason."""
    contracts = dict(profile.contracts)
    for left in left_out:
        name = profile.name_of(left.number, server)
        if name == UNKNOWN:
            continue
        contract = contracts[name, server]
        reason = "; ".join(filter(None, [left.reason, contract.sweep_reason]))
        contracts[name, server] = replace(contract, sweep=False, sweep_reason=reason)
    return replace(profile, contracts=contracts)


def _left_out(profile: abi.Profile, server: str, left_out: list[LeftOut]) -> Iterator[str]:
    for left in left_out:
        name = profile.name_of(left.number, server)
        may = "" if left.certain else "it may be that "
        yield f"{name} ({left.number:#x}): {may}{left.reason}"


def _findings(profile: abi.Profile, piece: Cut, left_out: list[LeftOut]) -> Iterator[Finding]:
    """Yield what is wrong with hcalls whose code can't be run, or isn't there to be left out.

    A number that the contract doesn't know is to be refused in place, and only one whose
    contract is to finalise may rewrite HCR_EL2.
    """
    server = piece.server
    for left in left_out:
        if not left.certain:
            continue
        alias = _alias(left)
        if alias is not None:
            found = f"goes to {left.symbol}, by its code alone: of it, {left.bits:#x} is looked at"
            yield _finding(profile.named(UNKNOWN, server), alias, found, left.reason)
        contract = profile.contract(left.number, server)
        if contract.hcall == UNKNOWN or (left.finalises and contract.effect != "finalise"):
            found = f"goes to {left.symbol}, by its code alone"
            yield _finding(contract, left.number, found, left.reason)
    finalising = {each.number for each in left_out if each.finalises}  # or may
    for contract in profile.hcalls(server):
        if contract.hcall == FINALISE and contract.number not in finalising:
            found = "nothing that could, by its code alone"
            why = f"{piece.table_address:#x}: no path for it rewrites HCR_EL2"
            yield _finding(contract, contract.number or 0, found, why)


def _alias(left: LeftOut) -> int | None:
    """Return the next number that the code takes for this one; None where there is none."""
    bit = next((bit for bit in range(_NAMED[left.by]) if not left.bits >> bit & 1), None)
    return None if bit is None else min(left.number ^ 1 << bit, BEYOND)


def _finding(contract: abi.Contract, number: int, found: str, why: str) -> Finding:
    """Return a finding; its range is of what names the hcall, as a sweep's."""
    promised = f"returns, x0 {contract.result}" if contract.effect == "none" else contract.effect
    return Finding(
        "dispatch", contract.hcall, "effect", promised, found, immediates=((number, number),),
        evidence=f"not run: {why}",
    )  # fmt: skip
