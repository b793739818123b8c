# SPDX-License-Identifier: Apache-2.0
"""Dispatch map and clobber matrix as records of the journal, for every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hilagent.abi import UNKNOWN, Contract, Profile
from hilagent.journal import Journal
from hilagent.link import wire
from hilagent.probe import Judgement, State, by_x0
from hilagent.probe.code import Row
from hilagent.probe.judgement import Segment
from hilagent.session.subject import Subject
from hilagent.session.sweeps import Hung, Sweep

GENERAL = tuple(f"x{number}" for number in range(31))
OTHERS = ("v", "SP", "NZCV", "DAIF", "SP0", "EL1", "EL2")
"""Further columns; ``SP0`` is SP_EL0, ``EL1`` and ``EL2`` each stand for many registers."""
REGISTERS = (*GENERAL, *OTHERS)
_EL2 = frozenset(wire.SYSREGS[wire.SYSREGS.index("VBAR_EL2") :]) | {"SP_EL2"}
_ORDER = "XLc"


ABOVE = -1
"""Last of a range of x0's values that stands for every one above."""


def write(
    journal: Journal,
    subject: Subject,
    profile: Profile,
    judgement: Judgement,
    done: Sweep,
    told: Mapping[str, object] | None = None,
) -> None:
    """Write both tables of one subject; ``told``: what was asked where, for the dispatch map."""
    about = {
        "subject": subject.name,
        "server": subject.server,
        "abi": profile.name,
        "cpus": [cpu.cpu for cpu in done.cpus],
    }
    in_x0 = profile.selector == "x0"
    lost = {each.x0 if in_x0 else each.immediate for each in done.hung}
    more = {"selector": "x0"} if in_x0 else {}
    last = [*judgement.segments][-1:]
    for origin, segments in judgement.segments.items():
        ranges = [
            [*_range(s, in_x0), s.hcall, "hangs" if s.first in lost else s.effect,
             s.ok and s.first not in lost]
            for s in segments
            if not (in_x0 and s.first >= by_x0.IMMEDIATES)
        ]  # fmt: skip
        journal.observation(
            "dispatch",
            **about,
            **more,
            **((told or {}) if origin in last else {}),
            origin=origin,
            ranges=_once(ranges),
        )
    rows = []
    hung = {hcall_of(each, profile, subject.server) for each in done.hung}
    for contract in profile.hcalls(subject.server):
        known = contract.hcall not in hung
        rows.append({"hcall": contract.hcall, "cells": cells(contract, judgement, known=known)})
    origins = ", ".join(judgement.segments)
    journal.observation("clobber", **about, origin=origins, registers=list(REGISTERS), rows=rows)


def write_code(journal: Journal, subject: Subject, profile: Profile, rows: Sequence[Row]) -> None:
    """Write what each hcall may change by contract, can by its code, and did on the board."""
    journal.observation(
        "code", subject=subject.name, server=subject.server, abi=profile.name,
        rows=[
            {
                "hcall": row.hcall, "contract": row.contract, "code": row.code,
                "board": row.board, "beyond": row.beyond, "untaken": row.untaken,
                "reason": row.reason,
            }
            for row in rows
        ],
    )  # fmt: skip


def hcall_of(hung: Hung, profile: Profile, server: str) -> str:
    """Return which hcall an hvc that hung was."""
    if profile.selector == "immediate":
        return profile.name_of(hung.immediate, server)
    return UNKNOWN if hung.x0 is None else profile.name_of(hung.x0, server)


def _range(segment: Segment, in_x0: bool) -> list[int]:
    """Return first and last; samples of x0's other values stand for all of them."""
    if in_x0 and segment.first >= by_x0.OTHERS:
        return [by_x0.LISTED, ABOVE]
    return [segment.first, segment.last]


def _once(rows: list[list[object]]) -> list[list[object]]:
    return [row for index, row in enumerate(rows) if row not in rows[:index]]


def cells(contract: Contract, judgement: Judgement, *, known: bool = True) -> list[str]:
    """Return a row of the clobber matrix; the legend is in report/summary.py."""
    state = judgement.cell(contract.hcall, "clobber").state
    if state is State.NOT_APPLICABLE:
        return ["-"] * len(REGISTERS)
    measured = known and state in {State.HELD, State.BROKEN}
    changes = judgement.changes.get(contract.hcall, {})
    row = _changed(changes)
    return [_cell(contract, name, row.get(name, ""), measured) for name in REGISTERS]


def column(register: str) -> str:
    """Return the column that ``register`` is shown in."""
    if register in GENERAL or register in {"SP", "NZCV", "DAIF"}:
        return register
    if register == "SP_EL0":
        return "SP0"
    if register[0] in "vzP" and register not in {"PAN", "PAR_EL1", "PSTATE"}:
        return "v"
    if register in _EL2:
        return "EL2"
    return "EL1" if register.endswith(("_EL1", "_EL0")) or register[0] == "F" else "NZCV"


def _changed(changes: Mapping[str, str]) -> dict[str, str]:
    marks = {"breach": "X", "leak": "L", "allowed": "c"}
    out: dict[str, str] = {}
    for register, said in changes.items():
        mark, name = marks.get(said, "X"), column(register)
        if name not in out or _ORDER.index(mark) < _ORDER.index(out[name]):
            out[name] = mark
    return out


def _cell(contract: Contract, register: str, mark: str, measured: bool) -> str:
    if mark in {"X", "L"}:
        return mark
    if not measured:
        return "?"
    prescribed = register in contract.after or (
        register == "x0" and contract.result.kind not in {"unchanged", "any"}
    )
    return "=" if prescribed else mark or "."
