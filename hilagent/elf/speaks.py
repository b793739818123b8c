# SPDX-License-Identifier: Apache-2.0
"""Which hcall ABI vectors speak, by their code and their kernel's symbols, with the evidence.

What is compared says what names an hcall: ESR_EL2's ISS, or x0. The numbers, and what each
does, are then held against the contracts of the profiles; the one that they contradict least
is it, so that vectors that are wrong in one place are still recognised, and accused by their
own contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hilagent import abi
from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.errors import InputError

from .arms import End
from .cut import By, Cut
from .fields import Field
from .file import Elf

_BANNER = re.compile(rb"Linux version (\d{1,4})\.(\d{1,5})[^\s\0]{0,200}")
_MOST_BANNER = 512
_SHADOW = ("irq_shadow_call_stack_ptr", "scs_alloc", "init_shadow_call_stack")
"""Symbols of a kernel with CONFIG_SHADOW_CALL_STACK: kernel/scs.c, kernel/irq.c of arm64."""
_PROFILES = {"immediate": ("iss-6.12", "iss-2015"), "x0": ("x0-mainline",)}
_SCS = {"iss-6.12": "iss-6.12-scs"}
_HINT = "say which it is: --abi PROFILE"
_MOST_COMPARES = 6


@dataclass(frozen=True)
class Spoken:
    """What vectors speak.

    Attributes:
        profile: its name, with the kernel's version where that matters (``x0-mainline@6.12``).
        evidence: a line each, with addresses.
    """

    profile: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class _Fit:
    profile: Profile
    agree: tuple[str, ...]
    differ: tuple[str, ...]


def recognise_static(elf: Elf, cut: Cut) -> Spoken:
    """Return the ABI of the vectors that were cut out of ``elf``.

    Raises InputError where the code or the kernel doesn't tell; ``--abi`` is the way out.
    """
    by, compares = _selector(elf, cut)
    banner, version = _banner(elf)
    evidence = [f"kernel {banner}"] if banner else []
    evidence += compares
    fits = [_fit(abi.load(name, kernel=_kernel(name, version)), cut) for name in _PROFILES[by]]
    best = max(fits, key=lambda each: (len(each.agree) - len(each.differ), len(each.agree)))
    if len(best.agree) <= len(best.differ):
        said = "; ".join(best.differ)
        raise InputError(
            elf.path,
            f"{cut.server}: named by {_NAMED[by]}, and no profile has such numbers"
            f" (nearest: {best.profile.name}: {said})",
            hint=_HINT,
        )
    evidence.append(f"as {best.profile.name}: {', '.join(best.agree)}")
    evidence += [f"not as {best.profile.name}: {each}" for each in best.differ]
    name = best.profile.name
    if name in _SCS:
        shadow, why = _shadow(elf, cut, known=bool(banner))
        evidence.append(why)
        name = _SCS[name] if shadow else name
    if by == "x0" and version:
        name = f"{name}@{version}"
    return Spoken(name, tuple(evidence))


_NAMED = {"immediate": "the immediate of the hvc", "x0": "x0"}


def _kernel(name: str, version: str) -> str:
    return version if name == "x0-mainline" else ""


def _selector(elf: Elf, cut: Cut) -> tuple[By, list[str]]:
    """Return what names the hcall: what most numbers of their own are told apart by."""
    found: dict[By, list[str]] = {"immediate": [], "x0": []}
    for address, what, number in cut.arms.compared:
        by: By | None = None
        if what.source == "esr" and what.low == 0:
            by = "immediate"
        elif what.source == "x0" and what.low == 0:
            by = "x0"
        if by is not None:
            found[by].append(f"{address:#x}: {_field(what)} against {number:#x}")
    numbers = {by: len(cut.arms.numbers(by)) for by in found}
    if numbers["immediate"] == numbers["x0"]:
        raise InputError(
            elf.path,
            f"{cut.server}: its code compares neither ESR_EL2's ISS nor x0 with numbers"
            if not numbers["x0"]
            else f"{cut.server}: its code compares ESR_EL2's ISS and x0 with as many numbers",
            hint=_HINT,
        )
    best: By = "immediate" if numbers["immediate"] > numbers["x0"] else "x0"
    other: By = "x0" if best == "immediate" else "immediate"
    shown = found[best][:_MOST_COMPARES]
    more = f" and {len(found[best]) - len(shown)} more" if len(found[best]) > len(shown) else ""
    lines = [f"named by {_NAMED[best]}: {', '.join(shown)}{more}"]
    if numbers[other]:
        lines.append(f"{_NAMED[other]} is compared, too: {', '.join(found[other])}")
    return best, lines


def _field(what: Field) -> str:
    if what.source == "esr":
        return "ISS" if what.width == 16 else f"ISS[{what.width - 1}:0]"
    return "x0" if what.width == 64 else f"w0[{what.width - 1}:0]"


def _banner(elf: Elf) -> tuple[str, str]:
    """Return the kernel's own name, and its major and minor version; empty where it has none."""
    symbol = elf.symbols.named("linux_banner")
    section = elf.at(symbol.address) if symbol is not None else None
    if symbol is None or section is None:
        return "", ""
    size = min(_MOST_BANNER, section.end - symbol.address)
    found = _BANNER.match(elf.read(symbol.address, size))
    if found is None:
        return "", ""
    version = f"{int(found[1])}.{int(found[2])}"
    return found[0].decode("ascii", "replace"), version


def _fit(profile: Profile, cut: Cut) -> _Fit:
    by: By = "immediate" if profile.selector == "immediate" else "x0"
    if cut.server not in profile.servers:
        return _Fit(profile, (), (f"it has no server {cut.server}",))
    agree, differ = [], []
    for number in sorted({*cut.arms.numbers(by), *_numbers(profile, cut.server)}):
        contract = profile.contract(number, cut.server)
        ends = cut.arms.of(by, number) or cut.arms.of(by, None)
        wanted, got = _promised(contract), _effect(ends)
        if number in [each.number for each in cut.left_out if each.by == by]:
            got = {"finalise"}
        does = f"{number:#x} {' or '.join(sorted(got))}"
        if wanted & got:
            agree.append(f"{number:#x} {' or '.join(sorted(wanted & got))}")
        else:
            differ.append(f"{does}, {contract.hcall} {' or '.join(sorted(wanted))}")
    refused, got = _refusal(profile.named(UNKNOWN, cut.server)), _answers(cut.arms.of(by, None))
    (agree if refused in got else differ).append(f"others: x0 {' or '.join(sorted(got))}")
    return _Fit(profile, tuple(agree), tuple(differ))


def _numbers(profile: Profile, server: str) -> Iterator[int]:
    for contract in profile.hcalls(server):
        if contract.number is not None:
            yield contract.number


def _promised(contract: Contract) -> set[str]:
    """Return what code may do by a contract, in the words of :func:`_effect`."""
    answer = f"x0 {_refusal(contract)}"
    if contract.effect == "reset-vectors":  # a stub that owns VBAR_EL2 has nothing to reset
        return {answer, "reset-vectors"}
    return {answer if contract.effect == "none" else contract.effect}


def _refusal(contract: Contract) -> str:
    return "unchanged" if contract.result.kind == "unchanged" else str(contract.result)


def _effect(ends: tuple[End, ...]) -> set[str]:
    """Return what code does, in the words of a contract: each thing that a path may do."""
    said: set[str] = set()
    for end in ends:
        if "vbar_el2" in end.did:
            given = any(each.startswith("vbar_el2 ") for each in end.did)
            said.add("set-vectors" if given else "reset-vectors")
        elif "call" in end.did:
            said.add("call")
        elif "hcr_el2" in end.did:
            said.add("finalise")
        elif end.how == "br":
            said.add("restart")
        elif isinstance(end.result, Field) and end.result.source == "vbar":
            said.add("get-vectors")
        else:
            said |= {f"x0 {each}" for each in _answers((end,))}
    return said or {"nothing that ends"}


def _answers(ends: tuple[End, ...]) -> set[str]:
    said = set()
    for end in ends:
        if isinstance(end.result, int):
            said.add(f"{end.result:#x}")
        elif end.result == Field("x0"):
            said.add("unchanged")
        else:
            said.add("something")
    return said


def _shadow(elf: Elf, cut: Cut, *, known: bool) -> tuple[bool, str]:
    """Return whether x18 is not the handlers' to take, and why.

    A whole kernel's symbols say whether it has the shadow call stack, and then x18 is its
    pointer, whatever the handlers do. Without them, the handlers' own use has to say it.
    """
    symbol = next((name for name in _SHADOW if elf.symbols.named(name) is not None), "")
    written = {number for end in cut.arms.ends for number in end.written if not end.leaves}
    used = [f"x{number}" for number in (16, 17, 18) if number in written]
    does = f"the handlers write {', '.join(used) or 'none of x16 to x18'}"
    if symbol:
        return (
            True,
            f"a kernel with the shadow call stack (symbol {symbol}): x18 is its pointer; {does}",
        )
    if known:
        return False, f"a kernel without the shadow call stack (no symbol {_SHADOW[0]}); {does}"
    if (16 in written) == (18 in written):
        raise InputError(
            elf.path,
            f"{cut.server}: {does}, and no symbol says what kernel it is: iss-6.12, or"
            " iss-6.12-scs, where x18 isn't theirs",
            hint=_HINT,
        )
    return 16 in written, does


__all__ = ["Spoken", "recognise_static"]
