# SPDX-License-Identifier: Apache-2.0
"""The bundle: what a kexec into the payload carries along as its initrd.

``head + entries + members``. The head says how many bytes the whole has and holds a
CRC-32 of itself and its entries; an entry is a member's name, place, size and CRC-32.
Members stand in the order of `MEMBERS`, each at the next multiple of `ALIGN`, zeros
between them, so that there is one bundle for the same members. All integers are
little-endian. A kernel that is given one by mistake says "invalid magic".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hilagent import errors
from hilagent.link import memory

MAGIC, VERSION = memory.MAGIC_BUNDLE, memory.VERSION_BUNDLE
MEMBERS = ("kernel", "dtb", "cmdline", "jobs", "vectors", "rootfs")
"""Names of members, all optional here; whoever unpacks says what is needed.

``kernel``: an arm64 Image. ``rootfs``: its initrd. ``dtb``: a device tree to be used
instead of the one that the payload was entered with. ``cmdline``: UTF-8 text.
``jobs``: a batch, see :mod:`hilagent.payload.batch`: the payload does it, without a line.
``vectors``: a table for the slot.
In this order: a kernel that retained its initrd has the end of the bundle already.
"""
ALIGN = 4096
HEAD_BYTES = memory.BUNDLE_HEAD_BYTES
"""The head and every entry stand within these first bytes."""

_HEAD, _ENTRY = memory.BUNDLE, memory.BUNDLE_ENTRY
assert _HEAD.size + len(MEMBERS) * _ENTRY.size <= HEAD_BYTES


@dataclass(frozen=True)
class Entry:
    """Where a member is, in bytes from the bundle's start, and its CRC-32."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Index:
    """What a bundle holds; ``size`` is the whole bundle's, in bytes."""

    entries: Mapping[str, Entry]
    size: int


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the bundle. Raises `errors.UsageError` for a name that isn't in `MEMBERS`."""
    if unknown := sorted(set(members) - set(MEMBERS)):
        raise errors.UsageError(f"no member of a bundle: {', '.join(unknown)}")
    out, entries = bytearray(HEAD_BYTES), []
    for name in MEMBERS:
        if name in members:
            out += bytes(-len(out) % ALIGN)
            entries.append(Entry(name, len(out), len(members[name]), zlib.crc32(members[name])))
            out += members[name]
    out[:HEAD_BYTES] = _head(entries, len(out))
    return bytes(out)


def parse_index(head: bytes, size: int) -> Index:
    """Return what the bundle of ``size`` bytes that begins with ``head`` holds.

    Args:
        head: its first `HEAD_BYTES`; more does no harm.

    Raises:
        errors.LabError: it is no bundle, or a broken one; nothing is taken on trust.
    """
    if len(head) < HEAD_BYTES or size < HEAD_BYTES:
        raise _bad(f"{min(len(head), size)} bytes are no head")
    fields = _numbers(_HEAD.unpack(head))
    if fields["magic"] != MAGIC:
        raise _bad(f"it begins with {head[:8].hex()}")
    if fields["version"] != VERSION:
        raise _bad(f"version {fields['version']}, this host reads {VERSION}")
    if fields["count"] > len(MEMBERS):
        raise _bad(f"{fields['count']} members")
    entries = list(_entries(head, fields["count"]))
    if fields["size"] != size:
        raise _bad(f"it has {size} bytes and says {fields['size']}")
    if _head(entries, size) != head[:HEAD_BYTES]:
        raise _bad("its head does not keep its CRC")
    _check_places(entries, size)
    return Index({entry.name: entry for entry in entries}, size)


def unpack(bundle: bytes) -> dict[str, bytes]:
    """Return the members, each verified. Raises `errors.LabError`."""
    out = {}
    for name, entry in parse_index(bundle, len(bundle)).entries.items():
        member = bundle[entry.offset : entry.offset + entry.size]
        if zlib.crc32(member) != entry.crc:
            raise _bad(f"{name} does not keep its CRC")
        out[name] = member
    if pack(out) != bundle:
        raise _bad("there is something between its members")
    return out


def _head(entries: list[Entry], size: int) -> bytes:
    def packed(crc: int) -> bytes:
        fields = {"magic": MAGIC, "version": VERSION, "count": len(entries), "size": size}
        out = _HEAD.pack(crc=crc, **fields)
        for entry in entries:
            name = tuple(entry.name.encode())
            out += _ENTRY.pack(name=name, offset=entry.offset, size=entry.size, crc=entry.crc)
        return out.ljust(HEAD_BYTES, b"\0")

    return packed(zlib.crc32(packed(0)))


def _entries(head: bytes, count: int) -> Iterator[Entry]:
    for number in range(count):
        fields = _ENTRY.unpack(head, _HEAD.size + number * _ENTRY.size)
        letters = fields["name"]
        assert isinstance(letters, tuple)
        name = bytes(letters).rstrip(b"\0").decode("latin-1")
        if name not in MEMBERS:
            raise _bad(f"a member without a known name: {name!r}")
        plain = _numbers(fields)
        yield Entry(name, plain["offset"], plain["size"], plain["crc"])


def _check_places(entries: list[Entry], size: int) -> None:
    """The head kept its CRC, but who made it may have been wrong."""
    names = [entry.name for entry in entries]
    if names != [name for name in MEMBERS if name in names]:
        raise _bad(f"members in the order {', '.join(names)}")
    end = HEAD_BYTES
    for entry in entries:
        if entry.offset != end + -end % ALIGN:
            raise _bad(f"{entry.name} stands at {entry.offset:#x}")
        end = entry.offset + entry.size
    if end != size:
        raise _bad(f"its members end at {end:#x} of {size:#x}")


def _bad(what: str) -> errors.LabError:
    return errors.LabError(
        f"no bundle of this program: {what}", hint="was it the initrd of this kexec?"
    )


def _numbers(fields: Mapping[str, int | tuple[int, ...]]) -> dict[str, int]:
    return {name: value for name, value in fields.items() if isinstance(value, int)}
