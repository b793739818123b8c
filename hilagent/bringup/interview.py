# SPDX-License-Identifier: Apache-2.0
"""Asking a board that nobody has described yet: its prompt, its U-Boot, its device tree."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hilagent.board.model import Network, UBootSpec
from hilagent.bringup import hearing
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.prompt import INTERRUPT
from hilagent.console.uboot import UBoot
from hilagent.deploy import devicetree
from hilagent.deploy.devicetree import Tree
from hilagent.errors import LabError
from hilagent.text import scrub

AUTOBOOT = "Hit any key to stop autoboot"
"""U-Boot's own text (common/autoboot.c), where the board's wasn't seen."""
_SIGNS = (rb"autoboot", rb"any key", rb"to abort", rb"\x08\x08\x08[ \d]\d")
_COUNTED = re.compile(
    r"^([^\n\\]{0,60}(?:autoboot|any key|to abort)[^\n\\]{0,60}?):? +\d+",
    re.MULTILINE | re.IGNORECASE,
)
"""A countdown's text, in what was said, scrubbed."""
_LISTED = re.compile(r"^(\S+)\s+- ", re.MULTILINE)
_BANK = re.compile(r"^-> start\s+= 0x([0-9a-f]+)\n-> size\s+= 0x([0-9a-f]+)$", re.MULTILINE)
_KEPT = re.compile(r"^ ?reserved\[\d+\]\s+\[0x([0-9a-f]+)-0x([0-9a-f]+)\]", re.MULTILINE)
_WORDS = re.compile(r"^([0-9a-f]{8,16}):((?: [0-9a-f]{8}){1,4})  ", re.MULTILINE)
_PIECE, _TRIES = 0x1000, 5
_TREE_S, _PROMPT_S, _BANNER_BYTES = 180.0, 10.0, 1 << 14
VARIABLES = ("kernel_addr_r", "fdtcontroladdr", "loadaddr", "ramdisk_addr_r", "board")


@dataclass(frozen=True)
class Spoken:
    """How U-Boot is spoken to.

    Attributes:
        autoboot: what it printed when a key would stop the boot, "" if that wasn't seen.
    """

    uboot: UBoot
    version: str
    prompt: str
    autoboot: str


@dataclass(frozen=True)
class Answers:
    """What U-Boot knows of its board.

    Attributes:
        banks, kept: RAM, and what of it U-Boot keeps, as (first byte, byte behind).
        tree: its device tree, None where there is none.
    """

    commands: frozenset[str]
    variables: dict[str, str]
    banks: tuple[tuple[int, int], ...]
    kept: tuple[tuple[int, int], ...]
    tree: Tree | None


def reach(console: Console, deadline: Deadline, fifo_bytes: int = 8) -> Spoken:
    """Get to U-Boot's prompt, whatever it looks like; stops the countdown.

    Raises:
        errors.LabError: nothing that looks like a prompt, or no U-Boot behind it.
    """
    line = console.take("onboard")
    prompt = ""
    while not prompt:
        if deadline.expired():
            tail = console.tail()
            raise LabError(
                "no prompt of a U-Boot was found",
                hint=f"switch the board off and on; its last lines:\n{tail}"
                if tail
                else "the console is silent: is the board on, and TX on RX?",
            )
        sign = line.expect(_SIGNS, deadline.sooner(1.0))
        line.write(b" " if sign else INTERRUPT, deadline)
        prompt = hearing.prompt(console, deadline.sooner(_PROMPT_S))
    said = scrub(console.cut(max(0, console.position() - _BANNER_BYTES), _BANNER_BYTES)[1])
    found = _COUNTED.search(said)
    autoboot = found[1].strip() if found else ""
    spec = UBootSpec(
        prompt=prompt, autoboot=autoboot or AUTOBOOT, load_addr=0, network=Network("none")
    )
    uboot = UBoot(console, spec, fifo_bytes)
    return Spoken(uboot, uboot.attach(), prompt, autoboot)


def ask(uboot: UBoot, tell: Callable[[str], None]) -> Answers:
    """Ask all that a description needs; changes nothing."""
    tell("asking for commands, variables and memory")
    commands = frozenset(_LISTED.findall(uboot.ask("help").text))
    found = {name: uboot.env_get(name) for name in VARIABLES}
    info = uboot.ask("bdinfo").text
    banks = [(int(at, 16), int(at, 16) + int(size, 16)) for at, size in _BANK.findall(info)]
    kept = [(int(first, 16), int(last, 16) + 1) for first, last in _KEPT.findall(info)]
    blob = re.search(r"^fdt_blob +(?:= )?(0x[0-9a-f]+)", info, re.MULTILINE)
    at = found["fdtcontroladdr"] or (blob[1] if blob else None)
    tree = _tree(uboot, int(at, 16), tell) if at else None
    variables = {name: value for name, value in found.items() if value is not None}
    return Answers(commands, variables, tuple(banks), tuple(kept), tree)


def _tree(uboot: UBoot, addr: int, tell: Callable[[str], None]) -> Tree | None:
    deadline = Deadline.after(_TREE_S)
    try:
        size = devicetree.used_bytes(read(uboot, addr, devicetree.HEAD_BYTES, deadline))
        tell(f"reading its device tree: {size} bytes at {addr:#x}")
        return devicetree.parse(read(uboot, addr, size, deadline))
    except LabError as exc:
        tell(f"no device tree: {exc.message}")
        return None


def read(uboot: UBoot, addr: int, size: int, deadline: Deadline) -> bytes:
    """Return memory as U-Boot prints it; each piece has the CRC-32 that U-Boot computes.

    Raises:
        errors.LabError: the line spoils each attempt.
    """
    out = b""
    while len(out) < size:
        at, count = addr + len(out), min(_PIECE, size - len(out))
        wanted = uboot.crc32(at, count, deadline)
        for _ in range(_TRIES):
            said = uboot.run("md.l", at, -(-count // 4), deadline=deadline)
            piece = _bytes(_WORDS.findall(said.text))[:count]
            if zlib.crc32(piece) == wanted:
                break
        else:
            raise LabError(f"{count} bytes at {at:#x} never came whole", hint="see the cable")
        out += piece
    return out


def _bytes(rows: Sequence[tuple[str, str]]) -> bytes:
    words = [word for _, row in rows for word in row.split()]
    return b"".join(int(word, 16).to_bytes(4, "little") for word in words)
