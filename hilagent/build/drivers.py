# SPDX-License-Identifier: Apache-2.0
"""Which modules a kernel needs before the network is there, and in which order.

A distribution's kernel has its drivers as modules. Their own ``depends=`` (in
the ELF's .modinfo) says what each needs first; ``modules.dep`` may not be there,
for depmod makes it at installation.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from hilagent.errors import InputError

from . import image

NETWORK = ("virtio_pci", "virtio_mmio", "virtio_net", "virtio_rng", "af_packet")
"""What an emulated board's network and randomness need; what isn't a module is built in."""


def extract(tree: Path, out: Path, wanted: Iterable[str] = NETWORK) -> tuple[Path, ...]:
    """Write the wanted modules under ``tree``, and those that they need, to ``out``.

    Uncompressed; returned in the order in which they are to be loaded.
    """
    files = {_name(path): path for path in sorted(tree.rglob("*.ko*"))}
    order: list[str] = []
    loaded: dict[str, bytes] = {}
    for name in wanted:
        _visit(name, files, order, loaded)
    out.mkdir(parents=True, exist_ok=True)
    for name in order:
        (out / f"{name}.ko").write_bytes(loaded[name])
    return tuple(out / f"{name}.ko" for name in order)


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _visit(
    name: str, files: Mapping[str, Path], order: list[str], loaded: dict[str, bytes]
) -> None:
    """Put ``name`` behind everything that it needs; one that isn't a module is built in."""
    if name in loaded or name not in files:
        return
    loaded[name] = image.unpacked(files[name])
    for other in _depends(files[name], loaded[name]):
        _visit(other, files, order, loaded)
    order.append(name)


def _depends(path: Path, data: bytes) -> list[str]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(io.BytesIO(data)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise InputError(path, f"not a kernel module: {error}") from error
    facts = section.data().split(b"\0") if section else []
    named = [fact.removeprefix(b"depends=") for fact in facts if fact.startswith(b"depends=")]
    return [n.replace("-", "_") for text in named for n in text.decode().split(",") if n]
