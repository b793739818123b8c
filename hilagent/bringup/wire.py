# SPDX-License-Identifier: Apache-2.0
"""The lowest layers: port, power, and whether what comes is text."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence

from hilagent.board.model import Board, Console
from hilagent.bringup.base import Seen, absent, bad, ok
from hilagent.bringup.hearing import heard, is_text
from hilagent.bringup.patient import Patient
from hilagent.clock import Deadline
from hilagent.errors import LabError

RATES = (115200, 1500000, 921600, 57600, 38400, 9600, 460800, 230400, 3000000, 19200)
"""Those that consoles are set to, the likeliest first."""
RATED = frozenset({"serial", "rfc2217"})
"""Kinds of console whose baud rate is this host's to set."""
_TRY_S = 3.0
_OS_S = 60.0


def port(patient: Patient) -> Seen:
    """Can it be opened? An emulator's is there only once it runs."""
    from hilagent import transport

    wiring = patient.board.console
    if wiring.kind == "qemu":
        return absent("QEMU's own socket, there once it runs")
    if wiring.kind == "none":
        return absent("its file says that it has no console")
    field = {"serial": "console.path", "command": "console.argv"}.get(wiring.kind, "console.host")
    try:
        transport.open(wiring, None, patient.bench.place).close()
    except LabError as exc:
        hint = f"{exc.hint or 'is the console server up?'}; {patient.line_of(field)}"
        return bad(exc.message, hint)
    return ok(f"{named(wiring)} opens, for this program alone")


def named(wiring: Console) -> str:
    """Return what a console is called."""
    if wiring.argv is not None:
        return shlex.join(wiring.argv)
    return wiring.path or f"{wiring.host}:{wiring.port}"


def power(patient: Patient) -> Seen:
    """Does it go on, as far as its switch knows?"""
    try:
        patient.bench.on()
        state = patient.bench.powered()
    except LabError as exc:
        return bad(exc.message, exc.hint or f"try its commands by hand: {_where(patient)}")
    patient.began = 0
    if state is False:
        hint = f"look at the outlet, and at {_where(patient)}"
        return bad("it was switched on, and its switch says that it is off", hint)
    if patient.board.power.kind == "qemu":
        return ok("QEMU runs")
    said = "its switch says so" if state else "its switch can't tell (no 'power.state')"
    return ok(f"switched on; {said}")


def cycle(patient: Patient) -> Seen:
    """Does it start anew when it is switched off and on? What ran before must be gone."""
    patient.bench.off()
    patient.bench.on()
    if patient.board.uboot is not None:
        patient.uboot = patient.bench.uboot()
    elif patient.board.os is not None:
        patient.system = patient.bench.own_system()
    else:
        patient.payload = patient.bench.payload(None)
    return ok("off and on: what ran before is gone, and it started anew")


def _where(patient: Patient) -> str:
    return patient.line_of("power")


def baud(patient: Patient) -> Seen:
    """Is it text that comes? On a serial line, the other rates are tried if it isn't."""
    wiring, console = patient.board.console, patient.bench.console()
    limit_s = patient.board.uboot.prompt_timeout_s if patient.board.uboot else _OS_S
    data = heard(console, patient.began, Deadline.after(limit_s))
    at = f" at {wiring.baud} baud" if wiring.kind in RATED else ""
    if is_text(data):
        return ok(f"{len(data)} bytes of text{at}")
    what = f"{len(data)} bytes that are no text" if data else "silence"
    if wiring.kind in RATED and (rate := _found(patient, RATES if data else RATES[:2])):
        hint = f"write {rate} into {patient.line_of('console.baud')}"
        return bad(f"{what}{at}; text at {rate} baud", hint)
    if data:
        if wiring.kind in {"tcp", "command"}:
            return bad(what, "the baud rate is its console server's to set: is it the board's?")
        return bad(f"{what}{at}", "is it the board's console, 8N1, and 3.3 V or 1.8 V as it wants?")
    hint = "does the board have power, and is its TX on the adapter's RX, RX on TX, and GND on GND?"
    if patient.board.emulated:
        hint = "is this serial line its console? Another may be"
    return bad(f"nothing came{at} within {limit_s:g} s of power on", hint)


def _found(patient: Patient, rates: Sequence[int]) -> int:
    """Return which of ``rates``, but for the declared one, the board speaks text at; or 0."""
    board: Board = patient.board
    for rate in rates:
        if rate == board.console.baud:
            continue
        try:
            patient.bench.reopen(dataclasses.replace(board.console, baud=rate))
        except LabError:  # an adapter that can't do this rate
            continue
        console = patient.bench.console()
        if is_text(heard(console, console.position(), Deadline.after(_TRY_S), poke=True)):
            return rate
    return 0
