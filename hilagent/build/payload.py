# SPDX-License-Identifier: Apache-2.0
"""Builds the EL2 payload: ``firmware/payload/`` with ``wire.h`` made from the protocol.

The image is an arm64 ``Image`` (text_offset 0, anywhere in memory), the same
bytes from the same sources and compiler in whatever folder they were built.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hilagent import abi, document
from hilagent.errors import AgentBug
from hilagent.link import wire

from . import cache, compile, sources, vectors

IMAGE_MAX_BYTES = 40 * 1024
_KIND = "payload"
_FILES = _IMAGE, _ELF, _BUILD_ID = "payload.bin", "payload.elf", "build-id"
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
    """Build the payload, or take it as it was packaged or is kept; copy it to ``out_dir`` if given.

    Args:
        out_dir: folder for ``payload.bin`` and ``payload.elf``; None: they stay in the cache.
        early_uart: address of a transmit register that gets one character per boot stage,
            for a board whose device tree names no UART that works.

    Raises UsageError if there is no compiler, LabError if it fails, HostError for an
    installation that is damaged.
    """
    defines = {} if early_uart is None else {"HIL_EARLY_UART": f"{early_uart:#x}"}
    home = compile.built(
        _KIND, "the payload", _recipe(defines), lambda work: _make(defines, work), _FILES
    )
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


def known_build_id() -> str | None:
    """Return the build id of what :func:`build_payload` returns, if it compiled nothing.

    None: it had to. Raises HostError for an installation that is damaged.
    """
    home = compile.known(_KIND, _recipe({}))
    return None if home is None else (home / _BUILD_ID).read_text()


def _recipe(defines: dict[str, str]) -> str:
    """Return the fingerprint of all that the payload is made from, but the compiler.

    Of the ABI, which the vectors within it come from, that is the code that reads it and its
    files: the answer is quick, and whatever changes them changes it.
    """
    firmware, contracts = sources.firmware_dir(), Path(abi.__file__).parent
    return cache.fingerprint([
        *(Path(module.__file__ or "") for module in (compile, vectors, document)), Path(__file__),
        *sources.files(contracts, ".py"), *sources.files(contracts / "profiles", ".yaml"),
        *compile.FLAGS, *_LTO, *_FORCED, str(defines), wire.c_header(),
        *sources.files(firmware / "payload", ".c", ".h", ".S", ".ld"),
        *sources.files(firmware / "vectors", ".S", ".h"),
    ])  # fmt: skip


def _make(defines: dict[str, str], work: Path) -> None:
    folder = sources.firmware_dir() / "payload"
    (work / "wire.h").write_text(wire.c_header())
    listed = sources.files(folder, ".c", ".S")
    lto = [s for s in listed if s.suffix == ".c" and s.name not in _NO_LTO]
    plain = [s for s in listed if s not in lto]
    objects = compile.compile_objects(plain, defines, [folder], work, _FORCED)
    objects += compile.compile_objects(lto, defines, [folder], work, (*_FORCED, *_LTO))
    objects += [_assemble(each, work) for each in vectors.builtin()]
    compile.link(sorted(objects), folder / "link.ld", _ELF, work, *_LTO)
    compile.objcopy_binary(_ELF, _IMAGE, work)
    (work / _BUILD_ID).write_text(_build_id(work / _ELF))


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
