# SPDX-License-Identifier: Apache-2.0
"""The device tree of an emulated board, and the payload where its emulator starts that."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

from hilagent import data
from hilagent.board.model import Board
from hilagent.errors import InputError, LabError
from hilagent.text import scrub

from . import cache
from .payload import build_payload

_BLOB = "tree.dtb"
_DTC_S = 30.0


def at_hand(board: Board) -> Board:
    """Return ``board`` with its device tree built; without a firmware also the payload.

    Raises:
        InputError: the tree's source isn't there, or is none.
    """
    qemu = board.qemu
    if qemu is None or qemu.tree is None:
        return board
    kernel = str(build_payload().image) if qemu.starts_payload else None
    tree = str(compiled(_find(qemu.tree, board)))
    return dataclasses.replace(
        board, qemu=dataclasses.replace(qemu, tree=None, kernel=kernel, dtb=tree)
    )


def compiled(source: Path) -> Path:
    """Return the flattened tree (Devicetree Specification v0.4, chapter 5) of a source.

    Raises:
        InputError: it can't be read, or is no such source.
        LabError: there is no compiler for it.
    """
    try:
        text = source.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(source, f"can't be read: {error}") from error

    def make(folder: Path) -> None:
        _flatten(source, folder / _BLOB)

    return cache.entry("tree", cache.fingerprint([Path(__file__), text]), make) / _BLOB


def _flatten(source: Path, blob: Path) -> None:
    if shutil.which("dtc") is None:
        raise LabError("dtc isn't installed", hint="apt install device-tree-compiler")
    done = subprocess.run(
        ["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(blob), str(source)],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_DTC_S,
    )  # fmt: skip
    if done.returncode:
        said = scrub(done.stderr.decode("utf-8", "replace")).strip()
        raise InputError(source, f"is no device tree's source: {said}")


def _find(name: str, board: Board) -> Path:
    beside = board.source.parent / name if board.source is not None else Path(name)
    return beside if beside.is_file() else data.data_dir("boards") / name
