# SPDX-License-Identifier: Apache-2.0
"""ELFs that somebody broke, and all that reads one."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from hilagent import abi
from hilagent.audit.kernel import audit
from hilagent.audit.patches import read_patches
from hilagent.audit.sites import Site, find_sites
from hilagent.elf import open_elf, source_of
from hilagent.errors import InputError
from hilagent.report import code

_WORDS = (0, 1, 3, 4, 8, 0x7F, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1)


def read_all(path: Path, profile: abi.Profile) -> tuple[Site, ...]:
    """Return the sites; everything that can be read of the file was read. Raises InputError."""
    elf = open_elf(path)
    patches = read_patches(elf)
    for place, target in elf.relocations[:8]:
        elf.at(place), elf.external(target)
    for first, end in elf.symbols.data[:8]:
        elf.read(first, min(end - first, 64))
    for function in elf.symbols.functions[:8]:
        source_of(elf, function.address)
        patches.either(function.address)
    return find_sites(elf, patches, profile)


def outcome(path: Path, data: bytes, profile: abi.Profile) -> str:
    """Return what comes of a file with these bytes: ``read``, or the first words of the error."""
    path.write_bytes(data)
    try:
        read_all(path, profile)
    except InputError as error:
        return str(error)
    return "read"


def audited(path: Path, data: bytes, profile: str) -> str:
    """Return what an audit of a file with these bytes says: its verdict, or the error."""
    path.write_bytes(data)
    try:
        done = audit(path, profile=profile)
    except InputError as error:
        return str(error)
    assert code.text(done, "broken")
    return str(code.document(done)["verdict"])


def broken_code(data: bytes, text: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` copies of a kernel with some instructions of ``text``, its code, changed.

    They become branches, near or far, become others of it, or lose a bit.
    """
    rng = random.Random(seed)
    first = data.index(text)
    places = [first + at for at in range(0, len(text), 4) if any(text[at : at + 4])]
    for _ in range(count):
        out = bytearray(data)
        for _ in range(rng.choice((1, 2, 4, 8, 30))):
            at = rng.choice(places)
            out[at : at + 4] = _instruction(rng, out, at, places).to_bytes(4, "little")
        yield bytes(out)


def _instruction(rng: random.Random, data: bytearray, at: int, places: list[int]) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return int.from_bytes(data[at : at + 4], "little") ^ 1 << rng.randrange(32)
    if kind == 1:
        other = rng.choice(places)
        return int.from_bytes(data[other : other + 4], "little")
    if kind == 2:
        away = (rng.choice(places) - at) // 4
        return rng.choice((0x1400_0000, 0x9400_0000)) | away & 0x3FF_FFFF
    near = rng.choice((-40, -9, -3, -1, 1, 2, 3, 9, 40)) & 0x7_FFFF
    return rng.choice((0x5400_0000, 0xB400_0000, 0x3500_0000)) | near << 5 | rng.randrange(14)


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` copies of an ELF with a few changes; half of them where headers are."""
    rng = random.Random(seed)
    headers = struct.unpack_from("<Q", data, 0x28)[0]
    for _ in range(count):
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4, 8))):
            low = headers if rng.random() < 0.4 else 0
            at = rng.randrange(low, len(out)) if rng.random() < 0.8 else rng.randrange(64)
            if rng.random() < 0.5:
                out[at] = rng.randrange(256)
            else:
                size = rng.choice((1, 2, 4, 8))
                word = rng.choice(_WORDS) + rng.choice((0, 0, 0, -1, len(data)))
                value = (word & (1 << 8 * size) - 1).to_bytes(size, "little")
                out[at : at + size] = value
                del out[len(data) :]
        if rng.random() < 0.05:
            del out[rng.randrange(len(out)) :]
        yield bytes(out)
