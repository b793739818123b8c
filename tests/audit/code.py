# SPDX-License-Identifier: Apache-2.0
"""Code to analyse, assembled on the spot."""

from __future__ import annotations

from pathlib import Path

from hilagent.audit.patches import Patches
from hilagent.build import compile
from hilagent.elf import Elf, open_elf

NOTHING_PATCHED = Patches()


def assembled(text: str, folder: Path) -> Elf:
    """Return what the assembler makes of ``text``, linked at 0."""
    source = folder / "code.S"
    source.write_text(f"\t.text\n{text}\n")
    return open_elf(compile.compile_blob(source).elf)
