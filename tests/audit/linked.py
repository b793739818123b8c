# SPDX-License-Identifier: Apache-2.0
"""Programs of several units, assembled and linked on the spot."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from hilagent.elf import Elf, open_elf
from tests.elf.objects import MACROS


def program(folder: Path, units: Mapping[str, str]) -> Elf:
    """Return the units linked at 0x10000; those named ``*.c`` count as compiled."""
    objects = [str(made(folder, number, *unit)) for number, unit in enumerate(units.items())]
    out = folder / "program"
    _run(["aarch64-linux-gnu-ld", "-Ttext=0x10000", "-e", "0", "-o", str(out), *objects])
    return open_elf(out)


def made(folder: Path, number: int, unit: str, text: str) -> Path:
    """Return the object that the assembler makes of one unit."""
    path = folder / f"{number}.o"
    named = f'\t.file "{unit}"\n' if unit.endswith(".c") else ""
    source = f"{named}{MACROS}\t.text\n{text}\n\t.data\n\t.align 3\n"
    _run(["aarch64-linux-gnu-as", "-march=armv9-a+lse", "-o", str(path), "-"], source)
    return path


def compiled(folder: Path, text: str) -> Elf:
    """Return what GCC makes of one C unit with -O2, linked."""
    path, out = folder / "unit.o", folder / "program"
    _run(["aarch64-linux-gnu-gcc", "-O2", "-fno-pic", "-ffreestanding", "-c", "-x", "c",
          "-o", str(path), "-"], text)  # fmt: skip
    _run(["aarch64-linux-gnu-ld", "-Ttext=0x10000", "-e", "0", "-o", str(out), str(path)])
    return open_elf(out)


def _run(command: list[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
