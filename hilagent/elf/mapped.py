# SPDX-License-Identifier: Apache-2.0
"""A kernel whose symbols are in its System.map: a flat Image, or a stripped vmlinux.

An arm64 Image is what objcopy makes of a vmlinux: the byte at ``offset`` was linked at
``_text + offset`` (Documentation/arch/arm64/booting.rst; ``_text`` is its first symbol).
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

from hilagent.errors import InputError

from .file import Elf, Section, open_elf, packed_by
from .symbols import Symbol, Symbols

_MAGIC_AT, _MAGIC, _SIZE_AT = 56, b"ARM\x64", 16
_LINE = re.compile(rb"([0-9a-f]{16}) ([A-Za-z]) ([\x21-\x7e]{1,512})")
_MOST_MAP = 1 << 28
_HEADER = 64
_INIT = (
    ("__inittext_begin", "__exittext_end"), ("_sinittext", "_einittext"),
    ("__inittext_begin", "__inittext_end"),
)  # fmt: skip
"""By kernel; behind the code the last has data too."""


@dataclass(frozen=True)
class Mapped(Elf):
    """Sections of one file, symbols of another."""

    given: tuple[Symbol, ...] = ()

    @cached_property
    def symbols(self) -> Symbols:
        """The symbols of the System.map."""
        return Symbols(self.given, [(section.address, section.end) for section in self.code])


def named(text: str) -> tuple[Path, Path | None]:
    """Return the kernel and the System.map that ``KERNEL`` or ``KERNEL+SYSTEM.MAP`` names.

    A file of that whole name is the kernel: Debian has a plus in its kernels' names.
    """
    whole = Path(text)
    image, plus, system_map = text.rpartition("+")
    if plus and system_map and not whole.exists():
        return Path(image), Path(system_map)
    return whole, None


def open_kernel(path: Path, system_map: Path | None = None) -> Elf:
    """Return the kernel in ``path``: a vmlinux, or an Image with its System.map.

    Raises InputError for anything else, and says what is needed.
    """
    if system_map is None:
        if _start(path)[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
            raise InputError(
                path, "an Image, which has no symbols",
                hint=f"give its System.map too: {path}+SYSTEM.MAP",
            )  # fmt: skip
        return open_elf(path)
    symbols = tuple(_symbols(system_map))
    if _start(path)[:4] == b"\x7fELF":
        found = open_elf(path)
        return Mapped(found.path, found.kind, found.sections, symbols)
    return Mapped(path, "vmlinux", tuple(_flat(path, system_map, symbols)), symbols)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEADER)
    except OSError as error:
        raise InputError(path, f"can't be read: {error.strerror or error}") from error


def _symbols(path: Path) -> Iterator[Symbol]:
    """Yield what a System.map says, in the form of nm: address, type, name."""
    try:
        if path.stat().st_size > _MOST_MAP:
            raise InputError(path, f"{path.stat().st_size} bytes: no System.map is that big")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"can't be read: {error.strerror or error}") from error
    for number, line in enumerate(data.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            said = "not a line of a System.map (address, type, name)"
            raise InputError(path, said, line=number)
        kind, name = found[2].decode(), found[3].decode()
        code = kind in "tTwW" and not name.startswith("$")
        yield Symbol(
            name, int(found[1], 16), 0, "func" if code else "object", kind.isupper(),
            section=0 if kind in "aAuU" else 1,
        )  # fmt: skip


def _flat(path: Path, system_map: Path, symbols: Sequence[Symbol]) -> Iterator[Section]:
    """Yield the parts of an Image, with instructions and without."""
    start = _start(path)
    if start[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        tool = packed_by(start)
        packed = f": it is compressed; unpack it ({tool})" if tool else ""
        raise InputError(path, f"neither an ELF file nor an arm64 Image{packed}")
    named = {each.name: each.address for each in symbols}
    if not {"_text", "_end"} <= named.keys():
        raise InputError(system_map, "no _text and _end in it: not the System.map of a kernel")
    (size,) = struct.unpack_from("<Q", start, _SIZE_AT)
    extent = named["_end"] - named["_text"]
    if size != extent:
        raise InputError(
            system_map,
            f"from _text to _end are {extent:#x} bytes; the header of {path} says {size:#x}:"
            " they are not of one build",
        )
    with path.open("rb") as stream:
        data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    ranges = _code(named) or [(named["_text"], named["_text"] + len(data))]
    ends = sorted({named["_text"], named["_text"] + len(data), *chain.from_iterable(ranges)})
    for index, (first, end) in enumerate(pairwise(ends), 1):
        part = data[first - named["_text"] : end - named["_text"]]
        code = any(low <= first < high for low, high in ranges)
        yield Section(
            index, path.name, "SHT_PROGBITS", first, len(part), part, executable=code, loaded=True
        )


def _code(named: Mapping[str, int]) -> list[tuple[int, int]]:
    """Return where an Image has instructions, by the names of arch/arm64/kernel/vmlinux.lds.S.

    Besides .text and the code of the boot there are pieces among the read-only data, each
    between two names. Empty where the names say nothing.
    """
    init = next((pair for pair in _INIT if named.keys() >= set(pair)), _INIT[0])
    pairs = [("_text", "_etext"), init]
    pairs += [(name, f"{name[:-6]}_end") for name in named if name.endswith("_text_start")]
    pairs.append(("__relocate_new_kernel_start", "__relocate_new_kernel_end"))
    known = [(named[a], named[b]) for a, b in pairs if a in named and b in named]
    inside = [pair for pair in known if named["_text"] <= pair[0] < pair[1] <= named["_end"]]
    if "_etext" not in named:
        return []
    return [
        (first, end)
        for first, end in inside
        if not any(low <= first and end <= high and (low, high) != (first, end)
                   for low, high in inside)
    ]  # fmt: skip
