# SPDX-License-Identifier: Apache-2.0
"""A profile as a C header, and the check of a kernel's header against it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hilagent.abi.contract import Profile

_DEFINE = re.compile(
    r"^[ \t]*#[ \t]*define[ \t]+(HVC_\w{1,60})[ \t]+\(?(0x[0-9a-fA-F]{1,16}|[0-9]{1,10})\b"
)


@dataclass(frozen=True)
class Mismatch:
    """A name whose number differs; None: not there."""

    name: str
    expected: int | None
    found: int | None


def defines(profile: Profile) -> dict[str, int]:
    """Return every name and number that a header of this ABI defines."""
    out = dict(profile.numbers)
    if profile.bound_name:
        out[profile.bound_name] = max(profile.numbers.values(), default=-1) + 1
    if profile.error is not None:
        out[profile.error_name] = profile.error
    return out


def c_header(profile: Profile) -> str:
    """Return the header: for C and assembler, nothing but numbers."""
    guard = "HIL_ABI_H"
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        f"/* Generated from the hcall profile {profile.name} ({profile.digest}); do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        *(f"#define {name} {value:#x}" for name, value in defines(profile).items()),
        "#endif",
        "",
    ]
    return "\n".join(lines)


def parse(header: str) -> dict[str, int]:
    """Return the numbers of all ``HVC_*`` that ``header`` defines; comments don't count."""
    code = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    found: dict[str, int] = {}
    for line in code.splitlines():
        match = _DEFINE.match(line)
        if match:
            found.setdefault(match[1], int(match[2], 0))
    return found


def check(profile: Profile, header: str) -> tuple[Mismatch, ...]:
    """Return where ``header`` (e.g. a kernel's asm/virt.h) and the profile disagree."""
    expected, found = defines(profile), parse(header)
    names = sorted({*expected, *found}, key=lambda name: (expected.get(name, 1 << 64), name))
    return tuple(
        Mismatch(name, expected.get(name), found.get(name))
        for name in names
        if expected.get(name) != found.get(name)
    )
