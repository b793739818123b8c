# SPDX-License-Identifier: Apache-2.0
"""Names for what a signature's bits mean: registers, PSTATE, vectors, ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hilagent.link import wire

Span = tuple[int, int]
"""First and last immediate, both included."""

ORIGINS: Mapping[int, str] = {
    wire.Origin.EL1H: "EL1h", wire.Origin.EL2H: "EL2h", wire.Origin.EL2T: "EL2t",
}  # fmt: skip
MODES: Mapping[int, str] = {
    0: "EL0t",
    4: "EL1t",
    5: "EL1h",
    8: "EL2t",
    9: "EL2h",
    12: "EL3t",
    13: "EL3h",
}

PSTATE_BITS: Mapping[str, tuple[int, ...]] = {
    "NZCV": (31, 30, 29, 28), "TCO": (25,), "DIT": (24,), "UAO": (23,), "PAN": (22,),
    "SS": (21,), "IL": (20,), "ALLINT": (13,), "SSBS": (12,), "BTYPE": (11, 10),
    "DAIF": (9, 8, 7, 6),
}  # fmt: skip
"""SPSR_EL2's fields for AArch64 (ARM DDI 0487, SPSR_EL2), without M."""

EL2_STATE = frozenset(wire.SYSREGS[wire.SYSREGS.index("VBAR_EL2") :]) - {"SP_EL2"}
"""The payload's own EL2 registers: a change there is no clobber of the caller."""

_VECTORS = ("synchronous", "IRQ", "FIQ", "SError")
_FROM = ("EL2t", "EL2h", "AArch64 lower EL", "AArch32 lower EL")


def origin(value: int) -> str:
    """Return an origin's name."""
    return ORIGINS.get(value, f"mode {value:#x}")


def mode(value: int) -> str:
    """Return the name of M[4:0]."""
    return MODES.get(value & 0x1F, f"mode {value & 0x1F:#x}")


def vector(number: int) -> str:
    """Return the name of a vector, by its offset / 0x80."""
    if not 0 <= number < 16:
        return f"vector {number}"
    return f"{_VECTORS[number & 3]} from {_FROM[number >> 2]} (+{number * 0x80:#05x})"


def pstate_changes(diff: int) -> dict[str, str]:
    """Return field -> bits that flipped, for everything but M; unknown bits too."""
    out: dict[str, str] = {}
    for name, places in PSTATE_BITS.items():
        letters = name if len(name) == len(places) else ""
        flipped = [i for i, place in enumerate(places) if diff >> place & 1]
        if flipped:
            which = "".join(letters[i] for i in flipped) if letters else ""
            out[name] = f"{which} flipped" if which else "flipped"
        for place in places:
            diff &= ~(1 << place)
    rest = diff & ~0x1F
    if rest:
        out["PSTATE"] = f"bits {rest:#x} flipped"
    return out


def gpr(mask: int) -> list[str]:
    """Return the names of changed general registers."""
    return [f"x{n}" for n in range(31) if mask >> n & 1]


def vectors(v_mask: int, z_mask: int) -> list[str]:
    """Return the names of changed vector registers, or of SVE state above them alone."""
    z_mask &= ~v_mask  # whoever writes v7 also clears the rest of z7
    named = [f"v{n}" for n in range(32) if v_mask >> n & 1]
    named += [f"z{n}" for n in range(31) if z_mask >> n & 1]
    return named + (["z31, P or FFR"] if z_mask >> 31 & 1 else [])


def sysregs(mask: int) -> list[str]:
    """Return the names of changed system registers."""
    return [name for bit, name in enumerate(wire.SYSREGS) if mask >> bit & 1]


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return ``spans`` sorted, neighbours and overlaps joined."""
    out: list[Span] = []
    for first, last in sorted(spans):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)


def without(spans: Iterable[Span], holes: Iterable[Span]) -> tuple[Span, ...]:
    """Return what of ``spans`` is in none of ``holes``."""
    left = list(merge_spans(spans))
    for low, high in merge_spans(holes):
        rest: list[Span] = []
        for first, last in left:
            if last < low or first > high:
                rest.append((first, last))
                continue
            if first < low:
                rest.append((first, low - 1))
            if last > high:
                rest.append((high + 1, last))
        left = rest
    return tuple(left)


def show_spans(spans: Sequence[Span], *, limit: int = 6) -> str:
    """Return ranges as text, e.g. ``0x4-0xffff, 0x10``; what is left out is counted."""
    said = [f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in spans[:limit]]
    more = f" and {len(spans) - limit} more ranges" if len(spans) > limit else ""
    return ", ".join(said) + more
