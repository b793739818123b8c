# SPDX-License-Identifier: Apache-2.0
"""Builds the EL2 payload: ``firmware/payload/`` with ``wire.h`` made from the protocol.

The image is an arm64 ``Image`` (text_offset 0, anywhere in memory), the same
bytes from the same sources and compiler in whatever folder they were built.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.errors import AgentBug
from hilagent.link import wire

from . import cache, compile, sources, vectors

IMAGE_MAX_BYTES = 40 * 1024
_IMAGE, _ELF, _BUILD_ID = "payload.bin", "payload.elf", "build-id"
_LTO = ("-flto", "-flto-partition=one", "-frandom-seed=hilagent")
_NO_LTO = {"mem.c"}  # memcpy and its kin: calls to them appear after LTO has looked
_FORCED = ("-include", "hidden.h")


@dataclass(frozen=True)
class PayloadBuild:
    """A built payload; ``build_id`` is what its HELLO reports, ``size`` is in bytes."""

    image: Path
    elf: Path
    build_id: str
    size: int


def build_payload(out_dir: Path | None = None, *, early_uart: int | None = None) -> PayloadBuild:
    """Build the payload, or take it from the cache; copy it to ``out_dir`` if given.

    Args:
        out_dir: folder for ``payload.bin`` and ``payload.elf``; None: they stay in the cache.
        early_uart: address of a transmit register that gets one character per boot stage,
            for a board whose device tree names no UART that works.

    Raises UsageError if there is no compiler, LabError if it fails.
    """
    folder = sources.firmware_dir() / "payload"
    defines = {} if early_uart is None else {"HIL_EARLY_UART": f"{early_uart:#x}"}
    all_files = sources.files(folder, ".c", ".h", ".S", ".ld")
    builtin = vectors.builtin()
    tools: list[str | bytes | Path] = [
        Path(__file__),
        Path(compile.__file__),
        compile.toolchain().version,
    ]
    flags = [*compile.FLAGS, *_LTO, *_FORCED, str(defines)]
    tables = sources.files(folder.parent / "vectors", ".S", ".h")
    made = [part for each in builtin for part in (each.name, each.header, repr(each.defines))]
    key = cache.fingerprint([*tools, *flags, wire.c_header(), *all_files, *tables, *made])
    home = cache.entry("payload", key, lambda work: _make(folder, defines, builtin, work))
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        for name in (_IMAGE, _ELF):
            shutil.copyfile(home / name, out_dir / name)
    where = out_dir or home
    return PayloadBuild(
        image=where / _IMAGE,
        elf=where / _ELF,
        build_id=(home / _BUILD_ID).read_text(),
        size=(home / _IMAGE).stat().st_size,
    )


def _make(
    folder: Path, defines: dict[str, str], builtin: Sequence[vectors.Builtin], work: Path
) -> None:
    (work / "wire.h").write_text(wire.c_header())
    listed = sources.files(folder, ".c", ".S")
    lto = [s for s in listed if s.suffix == ".c" and s.name not in _NO_LTO]
    plain = [s for s in listed if s not in lto]
    objects = compile.compile_objects(plain, defines, [folder], work, _FORCED)
    objects += compile.compile_objects(lto, defines, [folder], work, (*_FORCED, *_LTO))
    objects += [_assemble(each, work) for each in builtin]
    compile.link(sorted(objects), folder / "link.ld", _ELF, work, *_LTO)
    compile.objcopy_binary(_ELF, _IMAGE, work)
    (work / _BUILD_ID).write_text(_build_id(work / _ELF))
    keep = {_IMAGE, _ELF, _BUILD_ID}
    for item in work.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name not in keep:
            item.unlink()


def _assemble(builtin: vectors.Builtin, work: Path) -> str:
    """Assemble reference vectors into a folder of their own; return the object's name."""
    folder = work / builtin.name
    folder.mkdir()
    (folder / "hcalls.h").write_text(builtin.header)
    source = builtin.source
    made = compile.compile_objects([source], builtin.defines, [source.parent], folder)
    return f"{builtin.name}/{made[0]}"


def _build_id(elf: Path) -> str:
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".note.gnu.build-id")
        if section is None:
            raise AgentBug("the payload was linked without a build id")
        return str(section.data()[16:36].hex())
