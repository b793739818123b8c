# SPDX-License-Identifier: Apache-2.0
"""Packed little-endian structures as data, for both sides of the link."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "s32": "i"}
C_TYPES = {
    "u8": "uint8_t",
    "u16": "uint16_t",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "s32": "int32_t",
}


@dataclass(frozen=True)
class Struct:
    """A packed little-endian structure: ``fields`` are (name, type, count)."""

    name: str
    fields: tuple[tuple[str, str, int], ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return struct.calcsize(self._format)

    @property
    def _format(self) -> str:
        return "<" + "".join(f"{count}{CODES[kind]}" for _, kind, count in self.fields)

    def pack(self, **values: int | tuple[int, ...] | list[int]) -> bytes:
        """Return the bytes; fields not named are zero. Raises KeyError for an unknown name."""
        flat: list[int] = []
        for name, _, count in self.fields:
            value = values.pop(name, 0)
            items = [value] if isinstance(value, int) else list(value)
            flat += items + [0] * (count - len(items))
        if values:
            raise KeyError(f"{self.name} has no field {sorted(values)}")
        return struct.pack(self._format, *flat)

    def unpack(self, raw: bytes, offset: int = 0) -> dict[str, int | tuple[int, ...]]:
        """Return the fields as a dict; arrays are tuples. Raises struct.error if too short."""
        flat = struct.unpack_from(self._format, raw, offset)
        out: dict[str, int | tuple[int, ...]] = {}
        at = 0
        for name, _, count in self.fields:
            out[name] = flat[at] if count == 1 else flat[at : at + count]
            at += count
        return out


def struct_of(name: str, *fields: str) -> Struct:
    """Return the structure whose fields are written as in C: ``u32 name[8]``."""
    parsed = []
    for field in fields:
        kind, rest = field.split()
        base, _, count = rest.partition("[")
        parsed.append((base, kind, int(count.rstrip("]") or 1) if count else 1))
    return Struct(name, tuple(parsed))
