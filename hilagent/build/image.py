# SPDX-License-Identifier: Apache-2.0
"""The arm64 Image in whatever wrapping it came, and what it says of itself.

Documentation/arch/arm64/booting.rst has the header; drivers/firmware/efi/libstub/
zboot-header.S the one of an EFI zboot image.
"""

from __future__ import annotations

import lzma
import re
import subprocess
import zlib
from pathlib import Path

from hilagent.errors import InputError
from hilagent.text import scrub_line

_MAGIC, _MAGIC_AT = b"ARM\x64", 56
_ZBOOT, _ZBOOT_AT = b"zimg", 4
_CONFIG, _MOST_CONFIG = b"IKCFG_ST", 4 << 20
_BANNER = re.compile(rb"Linux version (\S{1,64}) \(")
_OTHERS = {
    (0x1FE, b"\x55\xaa"): "an x86 boot image",
    (0, b"\x7fELF"): "an ELF file (a vmlinux?), not an Image",
    (0, b"\x27\x05\x19\x56"): "a U-Boot legacy image",
    (0, b"\xd0\x0d\xfe\xed"): "a FIT image or a device tree",
    (0x24, b"\x18\x28\x6f\x01"): "a 32-bit ARM zImage",
    (0x38, b"RSC\x05"): "a RISC-V Image",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xzkern", b"\x28\xb5\x2f\xfd": "zstd", b"\x5d\0\0": "lzma",
}  # fmt: skip


def plain(path: Path) -> bytes:
    """Return the uncompressed arm64 Image that ``path`` holds.

    Raises InputError that says what else it is.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"can't be read: {error.strerror}") from error
    for _ in range(3):  # gzip around zboot around zstd is the most that was ever seen
        if data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC:
            return data
        kind, inner = _wrapped(data)
        if not kind:
            break
        data = _unwrap(path, kind, inner)
    for (at, magic), what in _OTHERS.items():
        if data[at : at + len(magic)] == magic:
            raise InputError(path, f"{what}: this is not a kernel for arm64")
    raise InputError(path, "not an arm64 Image: its header has no magic number")


def release(data: bytes) -> str:
    """Return what the kernel in an Image calls itself, as ``uname -r`` would; or nothing."""
    found = _BANNER.search(data)
    return scrub_line(found[1]) if found else ""


def config(data: bytes) -> str:
    """Return the configuration that an Image carries along (CONFIG_IKCONFIG); or nothing."""
    at = data.find(_CONFIG)
    if at < 0:
        return ""
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        return unpack.decompress(data[at + len(_CONFIG) :], _MOST_CONFIG).decode("ascii", "replace")
    except zlib.error:
        return ""


def version(release: str) -> str:
    """Return the upstream version in a release, e.g. ``6.12.117``."""
    found = re.match(r"\d+\.\d+(?:\.\d+)?", release)
    return found[0] if found else ""


def unpacked(path: Path) -> bytes:
    """Return the contents of a module that may be compressed (``.ko``, ``.ko.xz``...)."""
    data = path.read_bytes()
    kind, inner = _wrapped(data)
    return _unwrap(path, kind, inner) if kind else data


def _wrapped(data: bytes) -> tuple[str, bytes]:
    if data[:2] == b"MZ" and data[_ZBOOT_AT : _ZBOOT_AT + 4] == _ZBOOT:
        start, size = (int.from_bytes(data[n : n + 4], "little") for n in (8, 12))
        kind = data[24:56].split(b"\0")[0].decode("ascii", "replace")
        return kind, data[start : start + size + 4]  # size leaves the length at its end out
    for magic, kind in _COMPRESSED.items():
        if data.startswith(magic):
            return kind, data
    return "", data


def _unwrap(path: Path, kind: str, data: bytes) -> bytes:
    try:
        if kind in ("gzip", "xzkern", "xz", "lzma"):
            reader = zlib.decompressobj(wbits=31) if kind == "gzip" else lzma.LZMADecompressor()
            whole = reader.decompress(data)
            if not reader.eof:
                raise EOFError("it ends too early")
            return whole
        if kind.startswith("zstd"):
            done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=False)
            if done.stdout:
                return done.stdout
            raise InputError(path, f"zstd can't read it: {scrub_line(done.stderr)}")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(path, f"{kind} data that can't be read: {error}") from error
    raise InputError(path, f"compressed in a way that isn't known here: {scrub_line(kind)}")
