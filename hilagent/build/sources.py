# SPDX-License-Identifier: Apache-2.0
"""The firmware's source files, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from hilagent import data


def firmware_dir() -> Path:
    """Return the folder that holds ``payload/`` and ``vectors/``."""
    return data.data_dir("firmware")


def files(folder: Path, *suffixes: str) -> tuple[Path, ...]:
    """Return the files of ``folder`` with these suffixes, in an order that no host changes."""
    return tuple(sorted(p for p in folder.iterdir() if p.suffix in suffixes and p.is_file()))
