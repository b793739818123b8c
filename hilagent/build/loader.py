# SPDX-License-Identifier: Apache-2.0
"""Builds the loader: code that a running payload is lent, to receive whole kernels.

``firmware/uploaded/loader`` with what it shares with the payload (UART, frames, CRC, cache
maintenance), linked at 0, for any page.
"""

from __future__ import annotations

from pathlib import Path

from hilagent.link import wire

from . import cache, compile, sources

ENTRY = "loader_entry"
_SHARED = ("base64.c", "cache.S", "cobs.c", "crc32.c", "frame.c", "mem.c", "uart.c")
_LTO = ("-flto", "-flto-partition=one", "-frandom-seed=hilagent")
_NO_LTO = ("mem.c", "cache.S")  # memcpy and its kin: calls to them appear after LTO has looked
_FORCED = ("-include", "hidden.h")


def build_loader() -> compile.Blob:
    """Build it, or take it from the cache; `ENTRY` is among its symbols.

    Raises UsageError if there is no compiler, LabError if it fails.
    """
    own, payload = (
        sources.firmware_dir() / "uploaded" / "loader",
        sources.firmware_dir() / "payload",
    )
    listed = [*sources.files(own, ".c"), *(payload / name for name in _SHARED)]
    script, header = own / "loader.ld", wire.c_header()
    beside = [*sources.files(own, ".h"), *sources.files(payload, ".h"), script, Path(__file__)]
    flags = [*compile.FLAGS, *_LTO, *_FORCED]
    key = cache.fingerprint([compile.toolchain().version, *flags, header, *listed, *beside])

    def make(folder: Path) -> None:
        (folder / "wire.h").write_text(header)
        plain = [source for source in listed if source.name in _NO_LTO]
        rest = [source for source in listed if source not in plain]
        objects = compile.compile_objects(plain, {}, [own, payload], folder, _FORCED)
        objects += compile.compile_objects(rest, {}, [own, payload], folder, (*_FORCED, *_LTO))
        compile.link(sorted(objects), script, "loader.elf", folder, *_LTO)
        compile.objcopy_binary("loader.elf", "loader.bin", folder)
        symbols = compile.run([compile.toolchain().tool("nm"), "loader.elf"], folder)
        (folder / "loader.sym").write_text(symbols)

    folder = cache.entry("loader", key, make)
    lines = (line.split() for line in (folder / "loader.sym").read_text().splitlines())
    symbols = {fields[2]: int(fields[0], 16) for fields in lines if len(fields) == 3}
    data = (folder / "loader.bin").read_bytes()
    return compile.Blob(data, {ENTRY: symbols[ENTRY]}, folder / "loader.elf")
