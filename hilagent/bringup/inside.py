# SPDX-License-Identifier: Apache-2.0
"""The layers of the payload: it starts, where, with which UART, firmware, CPUs, link."""

from __future__ import annotations

import os

from hilagent.bringup.base import Seen, absent, bad, ok
from hilagent.bringup.patient import Patient
from hilagent.payload import NoEl2
from hilagent.result import CpuFacts
from hilagent.session.session import cpu_name

UARTS = ("none", "pl011", "16550", "mini", "cadence", "imx", "meson", "omap")
"""By ``UART_*`` of firmware/payload/facts.h."""
CONDUITS = ("none", "smc", "hvc")
"""By ``CONDUIT_*`` of the same."""
_ECHOES, _ECHO_BYTES = 16, 1024


def payload(patient: Patient) -> Seen:
    """Does it start, and say hello?"""
    try:
        base = patient.uboot if patient.board.uboot else patient.system
        patient.payload = patient.bench.payload(base)
    except NoEl2 as exc:
        patient.refused_el = exc.entry_el
        return ok("it started, and said hello")
    hello = patient.payload.hello
    return ok(f"it said hello, from {hello.image:#x}, {patient.payload.encoding}")


def entry_el(patient: Patient) -> Seen:
    """Was it entered at the exception level that is declared?"""
    declared = patient.board.payload.entry_el
    found = patient.refused_el
    if found is None:
        found = patient.payload.hello.entry_el
    where = patient.line_of("payload.entry_el")
    if found < 2:
        hint = "firmware or boot loader gave EL2 away: QEMU's virt needs virtualization=on"
        return bad(f"entered at EL{found}, and it has no EL2; declared is EL{declared}", hint)
    if found != declared:
        return bad(f"entered at EL{found}, declared is EL{declared}", f"correct {where}")
    return ok(f"EL{found}, as declared")


def uart(patient: Patient) -> Seen:
    """Which UART did it find by the device tree?"""
    if patient.board.console.kind == "none":
        return absent("none is touched: the board has no console")
    hello, declared = patient.payload.hello, patient.board.console.uart
    kind = UARTS[hello.uart_kind] if hello.uart_kind < len(UARTS) else f"{hello.uart_kind}"
    found = f"{kind} at {hello.uart_base:#x}"
    if declared is not None and (declared.kind, declared.base) != (kind, hello.uart_base):
        said = f"declared is {declared.kind} at {declared.base:#x}"
        return bad(f"{found}; {said}", f"correct {patient.line_of('console.uart')}")
    return ok(f"{found}, " + ("as declared" if declared else "by the device tree"))


def psci(patient: Patient) -> Seen:
    """By what is firmware called?"""
    number, declared = patient.payload.hello.psci_conduit, patient.board.payload.psci
    found = CONDUITS[number] if number < len(CONDUITS) else str(number)
    if found != declared:
        said = f"the device tree says {found}, declared is {declared}"
        return bad(said, f"correct {patient.line_of('payload.psci')}")
    return ok("none, as declared" if found == "none" else f"by {found}, as declared")


def cpus(patient: Patient) -> Seen:
    """Do all start, and are they as many as declared?"""
    declared, known = patient.board.cpus, patient.payload.hello.cpus
    if known != declared:
        hint = f"correct {patient.line_of('cpus')}"
        return bad(f"the device tree has {known}, declared are {declared}", hint)
    started = patient.payload.start_cpus()
    kinds = ", ".join(sorted({cpu_name(cpu.midr) for cpu in started}))
    if len(started) != declared:
        hint = "do the DTB's enable-method and the firmware's PSCI fit this board?"
        return bad(f"{len(started)} of {declared} started", hint)
    return ok(f"{len(started)} of {declared} started: {kinds}{_vhe(started)}")


def _vhe(started: tuple[CpuFacts, ...]) -> str:
    with_it = [cpu for cpu in started if cpu.ids["ID_AA64MMFR1_EL1"] >> 8 & 0xF]
    return ", with VHE" if len(with_it) == len(started) else ", no VHE" if not with_it else ""


def link(patient: Patient) -> Seen:
    """Does what is sent to the payload come back whole?"""
    if patient.board.console.kind == "none":
        return absent("there is none: the board has no console")
    payload = patient.payload
    before = (payload.counters.damaged, payload.counters.naks)
    for _ in range(_ECHOES):
        sent = os.urandom(_ECHO_BYTES)
        if payload.echo(sent) != sent:
            return bad("an echo differs although its CRC is right", "please report this")
    damaged = payload.counters.damaged - before[0] + payload.counters.naks - before[1]
    size = f"{_ECHOES * _ECHO_BYTES >> 10} KiB echoed"
    if damaged:
        hint = "another cable or port, a lower baud, no hub; results stay right, but it is slow"
        return bad(f"{size}, {damaged} packets damaged and sent again", hint)
    return ok(f"{size}, no packet damaged")
