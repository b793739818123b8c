# SPDX-License-Identifier: Apache-2.0
"""Builds vectors under test: the reference tables of an ISS profile, and their mutants.

All are ``firmware/vectors/iss.S``, with the numbers and rules of the profile as
``hcalls.h``: position-independent, the table first, its handlers behind it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from hilagent import abi
from hilagent.errors import UsageError

from . import compile, sources
from .mutants import MUTANTS, Mutant

REFERENCES = {"reference-stub": "hyp-stub", "reference-kvm": "kvm"}
BUILTIN_ABI = "iss-2015"
"""What the vectors that travel within the payload speak."""
_SYMBOLS = {"VECTORS_START": "vectors_start", "VECTORS_END": "vectors_end"}


@dataclass(frozen=True)
class Vectors:
    """A table to load into the payload's slot.

    Attributes:
        name: as given to ``--vectors``.
        blob: its bytes; the table stands ``offset`` bytes into them, 2 KiB aligned.
        server: whose contract it is to keep.
        serves_el2: hvcs from EL2h reach it too.
        elf: what ``blob`` was made from.
        mutant: what is broken in it, if that is known.
    """

    name: str
    blob: bytes
    offset: int
    server: str
    profile: str
    serves_el2: bool
    elf: Path
    mutant: Mutant | None = None


@dataclass(frozen=True)
class Builtin:
    """Reference vectors that travel within the payload: how their handlers are assembled."""

    name: str
    source: Path
    header: str
    defines: dict[str, str | int]


def builtin() -> tuple[Builtin, ...]:
    """Return what the payload's targets HYP_STUB and KVM are made of."""
    profile = abi.load(BUILTIN_ABI)
    source = sources.firmware_dir() / "vectors" / "iss.S"
    return tuple(
        Builtin(
            label, source, header(profile, server),
            {"HANDLERS_ONLY": 1, "VECTORS_START": f"vectors_{label}_start",
             "VECTORS_END": f"vectors_{label}_end"},
        )
        for label, server in (("stub", "hyp-stub"), ("kvm", "kvm"))
    )  # fmt: skip


def names() -> tuple[str, ...]:
    """Return every name that :func:`build` takes."""
    return (*REFERENCES, *(f"mutant:{each.name}" for each in MUTANTS))


def mutants() -> tuple[Mutant, ...]:
    """Return every mutant, with the accusation that it must meet."""
    return MUTANTS


def build(name: str, profile: abi.Profile | None = None) -> Vectors:
    """Build ``reference-stub``, ``reference-kvm`` or ``mutant:NAME``; cached.

    Args:
        profile: an ISS profile (default: ``iss-2015``, or the mutant's own).

    Raises UsageError for an unknown name, or a mutant of another profile (it would
    break nothing there); LabError if the assembler fails.
    """
    if name.startswith("mutant:"):
        mutant = _mutant(name.removeprefix("mutant:"))
        if profile is not None and profile.name != mutant.profile:
            raise UsageError(
                f"{name} breaks a rule of profile {mutant.profile}, not of {profile.name}",
                hint=f"add --abi {mutant.profile}",
            )
        return _build(name, mutant.server, profile or abi.load(mutant.profile), mutant)
    if name not in REFERENCES:
        near = difflib.get_close_matches(name, names(), 3)
        raise UsageError(
            f"no vectors named '{name}'",
            hint=f"perhaps {' or '.join(near)}" if near else f"there are {', '.join(REFERENCES)}",
        )
    return _build(name, REFERENCES[name], profile or abi.load(BUILTIN_ABI), None)


def header(profile: abi.Profile, server: str) -> str:
    """Return ``hcalls.h``: the profile's numbers, and the rules that change the code."""
    lines = [abi.c_header(profile)]
    if profile.error is not None:
        lines.append(f"#define HVC_ERROR {profile.error:#x}")
    if profile.serves_el2(server):
        lines.append("#define SERVES_EL2 1")
    if "x18" not in profile.named(abi.UNKNOWN, server).clobbers:
        lines.append("#define KEEP_X18 1")
    if server == "kvm":
        lines.append("#define FLAVOUR_KVM 1")
    return "\n".join([*lines, ""])


def _mutant(name: str) -> Mutant:
    for each in MUTANTS:
        if each.name == name:
            return each
    near = difflib.get_close_matches(name, [each.name for each in MUTANTS], 3)
    hint = f"perhaps {' or '.join(near)}" if near else "`hilagent run --list-vectors` lists them"
    raise UsageError(f"no mutant named '{name}'", hint=hint)


def _build(name: str, server: str, profile: abi.Profile, mutant: Mutant | None) -> Vectors:
    if profile.selector != "immediate":
        raise UsageError(
            f"there are no reference vectors for profile {profile.name}: it names hcalls by"
            f" {profile.selector}",
            hint="choose an iss profile, or load a table of your own with --vectors file:PATH",
        )
    defines: dict[str, str | int] = dict(_SYMBOLS)
    if mutant is not None:
        defines[mutant.macro] = 1
    source = sources.firmware_dir() / "vectors" / "iss.S"
    built = compile.compile_blob(
        source, defines=defines, headers={"hcalls.h": header(profile, server)}
    )
    return Vectors(
        name, built.data, built.symbols["vectors_start"], server, profile.name,
        profile.serves_el2(server), built.elf, mutant,
    )  # fmt: skip
