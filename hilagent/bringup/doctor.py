# SPDX-License-Identifier: Apache-2.0
"""Which layers a bench has, from the port to KVM, and looking at them on a real one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from hilagent.board import Board
from hilagent.bringup import inside, prompted, systems, wire
from hilagent.bringup.base import Layer, Mark, Row, broken, examined
from hilagent.bringup.patient import Patient
from hilagent.journal import Journal
from hilagent.session import quarantine
from hilagent.session.open import bench
from hilagent.session.settings import Settings
from hilagent.session.switch import surely_off

Layers = Sequence[Layer[Patient]]

_WIRE: Layers = (
    Layer("port", wire.port),
    Layer("power", wire.power, ("port",)),
)
_PAYLOAD: Layers = (
    Layer("entry EL", inside.entry_el, ("payload",)),
    Layer("UART", inside.uart, ("entry EL",)),
    Layer("PSCI", inside.psci, ("entry EL",)),
    Layer("CPUs", inside.cpus, ("entry EL", "PSCI")),
    Layer("link", inside.link, ("entry EL",)),
    Layer("power cycle", wire.cycle, ("payload",)),
)
_LINUX: Layers = (
    Layer("kexec", systems.kexec, ("SSH",)),
    Layer("EL2", systems.el2, ("SSH",)),
)


def layers(board: Board) -> Layers:
    """Return the layers of ``board``, the lowest first."""
    if board.uboot is None and board.os is None:  # an emulator starts the payload itself
        return (*_WIRE, Layer("payload", inside.payload, ("power",)), *_PAYLOAD)
    if board.uboot is None:
        own = Layer("SSH", systems.ssh, ("power",)), *_LINUX
        return (*_WIRE, *own, Layer("payload", inside.payload, ("kexec", "EL2")), *_PAYLOAD)
    by = "tftp" if board.transfers[0] == "tftp" else "ymodem"
    return (
        *_WIRE,
        Layer("baud", wire.baud, ("power",)),
        Layer("U-Boot", prompted.uboot, ("baud",)),
        Layer("commands", prompted.commands, ("U-Boot",)),
        Layer("memory", prompted.memory, ("commands",)),
        Layer("characters", prompted.loss, ("memory",)),
        Layer("device tree", prompted.devicetree, ("commands",)),
        Layer("tftp", prompted.loads("tftp"), ("memory",)),
        Layer("ymodem", prompted.loads("ymodem"), ("memory",)),
        Layer("payload", inside.payload, ("device tree", by)),
        *_PAYLOAD,
        Layer("SSH", systems.ssh, ("power cycle",)),
        *_LINUX,
    )


@contextlib.contextmanager
def admitted(settings: Settings, journal: Journal) -> Iterator[Patient]:
    """Hold the board of ``settings``, also one in quarantine, for the ``with`` block;
    afterwards it is off.

    Raises:
        errors.LabError: it is in use, or can't be switched off at the end.
    """
    with bench(settings, journal, marked=True) as real, contextlib.ExitStack() as stack:
        stack.callback(surely_off, real.board, real.off, real.powered, journal)
        yield Patient(settings, real, journal)


def doctor(
    patient: Patient, begin: Callable[[str], None], show: Callable[[Row], None]
) -> list[Row]:
    """Look at every layer of ``patient``; ``begin`` hears its name before, ``show`` what was
    seen at once. A quarantine of a board that is well ends."""
    rows = []
    for row in examined(patient, layers(patient.board), begin):
        rows.append(row)
        show(row)
    if well(rows):
        for mark in quarantine.lift(patient.board):
            patient.journal.note(f"its quarantine ends: {mark}")
    return rows


def well(rows: Sequence[Row]) -> bool:
    """Return whether nothing is broken, and the payload ran."""
    ran = any(row.name == "payload" and row.seen.mark is Mark.OK for row in rows)
    unreached = any(row.seen.mark is Mark.UNREACHED for row in rows)
    return broken(rows) is None and ran and not unreached
