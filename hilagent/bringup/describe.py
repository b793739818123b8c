# SPDX-License-Identifier: Apache-2.0
"""From what a board answered to its YAML file: each fact says where it is from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent.board.load import examine
from hilagent.board.model import Console
from hilagent.bringup.hardware import FIFO, Hardware
from hilagent.bringup.interview import AUTOBOOT, Answers, Spoken
from hilagent.text import scrub, scrub_line

ALIGN, ROOM = 0x20_0000, 0x10_0000


@dataclass(frozen=True)
class Found:
    """All that is known of a board.

    Attributes:
        console: how it was reached, baud rate included.
        on, off: commands of its power switch; empty where nobody named them.
        model: the board file that describes its type, "" for none.
    """

    name: str
    console: Console
    on: tuple[str, ...]
    off: tuple[str, ...]
    emulated: bool
    spoken: Spoken
    answers: Answers
    hardware: Hardware
    model: str = ""


def model_of(compatible: Sequence[str], known: Mapping[str, Path]) -> str:
    """Return the model whose ``compatible`` begins as the board's does, "" for none."""
    for name, path in known.items():
        entry = examine(path, known)
        if entry.model and entry.board and entry.board.compatible[:1] == tuple(compatible[:1]):
            return name
    return ""


def load_addr(answers: Answers) -> tuple[int, str]:
    """Return a free, aligned address to load to, and how it was chosen.

    U-Boot's own choice, else the next that is aligned, else the first in RAM.
    """
    usual = answers.variables.get("kernel_addr_r") or answers.variables.get("loadaddr")
    wanted = []
    if usual and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", usual):
        at = int(usual, 16)
        wanted = [(at, "kernel_addr_r [seen]")] if at % ALIGN == 0 else []
        wanted += [(at - at % ALIGN + ALIGN, f"free RAM [seen]; kernel_addr_r is {at:#x}")]
    wanted += [
        (-(-start // ALIGN) * ALIGN + ALIGN, "free RAM [seen]") for start, _ in answers.banks
    ]
    for at, why in wanted:
        inside = any(first <= at and at + ROOM <= end for first, end in answers.banks)
        kept = any(first < at + ROOM and at < end for first, end in answers.kept)
        if (inside or not answers.banks) and not kept:
            return at, why
    return wanted[0] if wanted else (ALIGN, TODO)


TODO = "TODO: not found"


def text(found: Found) -> str:
    """Return the file."""
    return "\n".join([*_head(found), *_console(found), *_uboot(found), *_payload(found)]) + "\n"


def _head(found: Found) -> Iterator[str]:
    hardware = found.hardware
    yield "# Written by `hilagent onboard`. [seen]: the board itself said so; TODO: nobody did."
    yield f"# U-Boot {found.spoken.version}; CPUs start by {', '.join(hardware.methods) or TODO}."
    if found.model:
        yield f"extends: {found.model}   # its compatible [seen]"
        yield "linux: ~   # no kernels yet: linux: {ssh: {host: ADDRESS}}"
    yield "schema: 1"
    yield f"name: {found.name}"
    yield f"description: {_quoted(hardware.model or 'a board')}"
    last = hardware.compatible[-1] if hardware.compatible else ""
    soc = re.sub(r"[^a-z0-9._-]", "", last.split(",")[-1].lower()).lstrip("._-")[:64]
    yield f"soc: {soc or 'unknown'}"
    yield f"emulated: {'true' if found.emulated else 'false'}"
    if hardware.compatible:
        yield f"compatible: {_listed(hardware.compatible)}   # root node [seen]"
    yield f"cpus: {hardware.cpus or 1}   # {'/cpus [seen]' if hardware.cpus else TODO}"


def _console(found: Found) -> Iterator[str]:
    console, hardware = found.console, found.hardware
    yield "console:"
    yield f"  kind: {console.kind}"
    if console.kind == "serial":
        yield f"  path: {_quoted(console.path or '')}   # better its name in /dev/serial/by-path"
        yield f"  baud: {console.baud}   # [seen]: it is text"
    else:
        yield f"  host: {_quoted(console.host or '')}"
        yield f"  port: {console.port}"
    yield f"  fifo_bytes: {FIFO.get(hardware.uart_kind, 16 if hardware.uart_kind else 8)}"
    if hardware.uart_kind:
        kind = _quoted(hardware.uart_kind)
        yield f"  uart: {{kind: {kind}, base: {hardware.uart_base:#x}}}   # stdout-path [seen]"
    else:
        yield f"  # uart: {TODO}: no stdout-path that is understood; the payload needs one"
    if found.on:
        yield f"power:\n  kind: command\n  'on': {_listed(found.on)}\n  'off': {_listed(found.off)}"
    else:
        yield "power: {kind: manual}   # TODO: a person; better the commands that switch it"


def _uboot(found: Found) -> Iterator[str]:
    spoken, answers = found.spoken, found.answers
    at, why = load_addr(answers)
    yield "uboot:"
    yield f"  prompt: {_quoted(spoken.prompt)}   # [seen]"
    seen = "[seen]" if spoken.autoboot else "TODO: not seen, U-Boot's usual text"
    yield f"  autoboot: {_quoted(spoken.autoboot or AUTOBOOT)}   # {seen}"
    yield f"  load_addr: {at:#x}   # {scrub_line(why)}"
    known = "fdtcontroladdr" in answers.variables
    yield "  fdt: $fdtcontroladdr   # " + ("[seen]" if known else TODO)
    can = ", tftpboot is there: {mode: dhcp, tftp_dir: ...}"
    yield "  network: {mode: none}   # no TFTP" + (can if "tftpboot" in answers.commands else "")
    seen = "loady is there [seen: help]" if "loady" in answers.commands else f"{TODO}: no loady"
    yield f"transfers: [ymodem]   # {seen}"


def _payload(found: Found) -> Iterator[str]:
    psci = found.hardware.psci
    yield "payload:"
    yield f"  entry_el: 2   # TODO: not seen; `hilagent doctor {found.name}` says"
    yield f"  psci: {psci if psci in {'smc', 'hvc'} else 'none'}   # " + (
        "/psci method [seen]" if psci else "no /psci in the device tree [seen]"
    )


def _quoted(value: str) -> str:
    """Return ``value`` as YAML reads it back, whatever a board has put into it."""
    return json.dumps(scrub(value))


def _listed(values: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(value) for value in values) + "]"
