# SPDX-License-Identifier: Apache-2.0
"""The layers of U-Boot: its prompt, its commands, memory, characters, device tree, loading."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from time import monotonic

from hilagent.bringup import hearing
from hilagent.bringup.base import Seen, absent, bad, ok
from hilagent.bringup.patient import Patient
from hilagent.clock import Deadline
from hilagent.console.uboot import Var
from hilagent.errors import LabError
from hilagent.text import scrub_line

_NEEDED = ("booti", "crc32", "printenv", "setenv", "version")
_LOOKS = ("fdt", "md", "mw")
"""Without these a run works, and less can be looked at here."""
_BY = {"tftp": ("tftpboot",), "ymodem": ("loady",), "loader": ("loady",)}
_LISTED = re.compile(r"^(\S+)\s+- ", re.MULTILINE)
_BANK = re.compile(r"^-> start\s+= 0x([0-9a-f]+)\n-> size\s+= 0x([0-9a-f]+)$", re.MULTILINE)
_KEPT = re.compile(r"^ ?reserved\[\d+\]\s+\[0x([0-9a-f]+)-0x([0-9a-f]+)\]", re.MULTILINE)
_ROW = re.compile(r"[0-9a-f]{8,16}(: .*)")
_TESTED, _PATTERNS = 0x1_0000, (0x5AA5_0FF0, 0xA55A_F00F)
_ROOM = 0x10_0000
"""The payload's image and what it uses behind it."""
_ROW_CHARS, _ROW_BYTES, _LOSS_S, _MOST_ROWS = 64, 16, 5.0, 1024
_LOST_S = 60.0
_MIB = 1 << 20
_PROMPT_S = 10.0


def uboot(patient: Patient) -> Seen:
    """Is its prompt reached, as the board's file spells it?"""
    try:
        patient.uboot = patient.bench.uboot()
    except LabError as exc:
        return bad(exc.message, _why_not(patient) or exc.hint)
    version = patient.uboot.version
    return ok(f"{version}, at its prompt {patient.spec.prompt!r}")


def _why_not(patient: Patient) -> str:
    """Return what to change where something else than the declared prompt answers."""
    console = patient.bench.console()
    found = hearing.prompt(console, Deadline.after(_PROMPT_S))
    if "login:" in found:
        return (
            "autoboot wasn't stopped, and the board's own system runs: what does it print "
            f"when a key would stop it? {patient.line_of('uboot.autoboot')}"
        )
    if found and found != patient.spec.prompt:
        return f"its prompt looks like {found!r}: {patient.line_of('uboot.prompt')}"
    return ""


def commands(patient: Patient) -> Seen:
    """Does this U-Boot have what a run sends?"""
    said = patient.uboot.ask("help")
    known = set(_LISTED.findall(said.text))
    if not said.ok or not known:
        return absent("this U-Boot has no help: what it lacks shows further below")
    wanted = [*_NEEDED, *(each for by in patient.board.transfers for each in _BY[by])]
    missing = [name for name in wanted if name not in known]
    if missing:
        words = ", ".join(missing)
        hint = f"build U-Boot with them, or correct {patient.line_of('transfers')}"
        return bad(f"no {words} among its {len(known)} commands", hint)
    lacks = [name for name in _LOOKS if name not in known]
    return ok(f"{len(known)}, all that are needed" + (f"; no {', '.join(lacks)}" if lacks else ""))


def memory(patient: Patient) -> Seen:
    """Is there RAM at the load address, and does it keep what is written?"""
    addr, where = patient.spec.load_addr, patient.line_of("uboot.load_addr")
    info = patient.uboot.ask("bdinfo").text
    banks = [(int(start, 16), int(size, 16)) for start, size in _BANK.findall(info)]
    if banks and not any(start <= addr and addr + _ROOM <= start + size for start, size in banks):
        usual = patient.uboot.env_get("kernel_addr_r")
        known = ", ".join(f"{start:#x} + {size:#x}" for start, size in banks)
        hint = f"U-Boot itself would load to {usual}" if usual else "choose an address in that"
        return bad(f"no RAM at {addr:#x}; U-Boot has {known}", f"{hint}: {where}")
    for first, last in _KEPT.findall(info):
        if int(first, 16) < addr + _ROOM and addr <= int(last, 16):
            said = f"U-Boot keeps 0x{first} to 0x{last} for itself"
            return bad(f"{addr:#x} isn't free: {said}", f"choose another: {where}")
    for pattern in _PATTERNS:
        if not patient.uboot.run("mw.l", addr, pattern, _TESTED // 4).ok:
            return absent("this U-Boot has no mw: loading shows whether it is")
        if not patient.uboot.matches(addr, pattern.to_bytes(4, "little") * (_TESTED // 4)):
            return bad(f"{addr:#x} doesn't keep what is written there", f"is it RAM? {where}")
    return ok(f"RAM at {addr:#x}, {_TESTED >> 10} KiB written and read back twice")


def loss(patient: Patient) -> Seen:
    """How many characters does the line lose? What is printed is known beforehand."""
    uboot, addr = patient.uboot, patient.spec.load_addr
    wiring = patient.board.console
    in_time = int(wiring.baud / 10 * _LOSS_S / _ROW_CHARS)
    rows = min(_MOST_ROWS, max(32, in_time)) if wiring.kind == "serial" else _MOST_ROWS
    before = uboot.garbled
    said = uboot.run("md.l", addr, rows * _ROW_BYTES // 4, deadline=Deadline.after(_LOST_S))
    if not said.ok:
        return absent("this U-Boot has no md")
    got, damaged, lost = losses(said.text, addr, rows)
    lost, again = max(lost, damaged), uboot.garbled - before
    if not damaged and not again:
        return ok(f"none of {got} characters")
    rate = lost * _MIB // max(1, got)
    text = f"{lost} of {got} characters ({damaged} of {rows} lines), about {rate} a MiB"
    hint = "another cable or port, a lower baud, no hub; ground the adapter to the board"
    return bad(f"{text}; {again} commands were spoilt" if again else text, hint)


def losses(text: str, addr: int, rows: int) -> tuple[int, int, int]:
    """Return characters expected, lines that are damaged, and characters that lack, of a dump
    of memory that is the same in every row."""
    lines = text.split("\n")
    tails = Counter(row[1] for line in lines if (row := _ROW.fullmatch(line)))
    if not tails:
        return len(text), rows, len(text)
    usual = tails.most_common(1)[0][0]
    wanted = [f"{addr + n * _ROW_BYTES:08x}{usual}" for n in range(rows)]
    damaged = len(set(wanted) - set(lines))
    size = sum(map(len, wanted)) + rows
    return size, damaged, max(0, size - len(text) - 1)


def devicetree(patient: Patient) -> Seen:
    """Is it where the board's file says, and does it name this board?"""
    fdt, declared = patient.spec.fdt, patient.board.compatible
    at = Var(fdt.removeprefix("$")) if isinstance(fdt, str) else fdt
    uboot = patient.uboot
    found = uboot.run("fdt", "addr", at)
    if not found.ok and "nknown command" in found.text:
        return absent("this U-Boot has no fdt")
    shown = fdt if isinstance(fdt, str) else f"{fdt:#x}"
    said = uboot.ask("fdt", "print", "/", "compatible")
    names = re.findall(r'"([^"]+)"', said.text)
    if not found.ok or not said.ok or not names:
        hint = f"where is it? {patient.line_of('uboot.fdt')}"
        return bad(f"no device tree at {shown}: {scrub_line(said.text, limit=80)}", hint)
    if declared and not set(declared) & set(names):
        hint = f"is it this board? Else correct {patient.line_of('compatible')}"
        return bad(f"it is a {names[0]}, declared is {declared[0]}", hint)
    return ok(f"{names[0]}, at {shown}")


def loads(by: str) -> Callable[[Patient], Seen]:
    """Return the layer that loads the payload by ``by``, and has U-Boot check it."""

    def look(patient: Patient) -> Seen:
        from hilagent.deploy.boot import load_verified

        begun_by = {"loader": "ymodem"}
        if by not in {begun_by.get(each, each) for each in patient.board.transfers}:
            return absent(f"the board's file doesn't have it among its transfers: {by}")
        image, deadline = patient.bench.image(), Deadline.after(patient.spec.transfer_timeout_s)
        began_s = monotonic()
        try:
            count = load_verified(
                patient.uboot, patient.spec.load_addr, image, patient.bench.transfer(by),
                deadline=deadline,
            )  # fmt: skip
        except LabError as exc:
            field = "uboot.network" if by == "tftp" else "transfers"
            return bad(exc.message, f"{exc.hint}; {patient.line_of(field)}")
        took_s = monotonic() - began_s
        tries = f", in {count} tries" if count > 1 else ""
        return ok(f"{len(image) / 1024:.0f} KiB in {took_s:.1f} s, CRC-32 right{tries}")

    return look
