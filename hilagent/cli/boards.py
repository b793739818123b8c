# SPDX-License-Identifier: Apache-2.0
"""``hilagent boards`` and ``run --list-vectors``: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilagent import board as boards_room
from hilagent import errors
from hilagent.cli.ending import say
from hilagent.result import EXIT_OK, EXIT_USAGE
from hilagent.session import lock, quarantine
from hilagent.text import scrub_line


def boards(folders: Sequence[Path], *, as_json: bool) -> int:
    """Print the boards; those with a mistake in their file go to stderr."""
    known = boards_room.names(folders)
    entries = [boards_room.examine(path, known) for path in known.values()]
    rows = [_row(entry, entry.board) for entry in entries if entry.board is not None]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['name']:<16} {row['kind']:<9} {row['description']}")
            print(f"{'':<16} {row['facts']}")
            print(f"{'':<16} {row['file']}")
            if row["quarantine"]:
                print(f"{'':<16} in quarantine {row['quarantine']}")
            if row["left_on"]:
                print(f"{'':<16} {row['left_on']}")
            if row["needs"]:
                print(f"{'':<16} needs {', '.join(row['needs'])}")
    wrong = [problem.message for entry in entries for problem in entry.problems]
    say(*wrong)
    return EXIT_USAGE if wrong else EXIT_OK


def _row(entry: boards_room.Entry, board: boards_room.Board) -> dict[str, Any]:
    kind = "emulated" if board.emulated else "real"
    return {
        "name": board.name,
        "kind": "model" if entry.model else kind,
        "soc": board.soc,
        "cpus": None if "cpus" in entry.needs else board.cpus,
        "description": scrub_line(board.description),
        "facts": _facts(board, entry.needs),
        "options": {
            key: [str(choice) for choice in option.choices] for key, option in board.options.items()
        },
        "needs": list(entry.needs),
        "quarantine": "" if entry.model else _quarantine(board),
        "left_on": "" if entry.model else _left_on(board),
        "file": str(entry.path),
    }


def _left_on(board: boards_room.Board) -> str:
    try:
        run = lock.killed(lock.things(board))
    except errors.LabError:
        return ""  # of the same folder as a quarantine, which says why
    off = f"hilagent power {board.name} off"
    return f"may be on, for a run was killed: {run}; switch it off: {off}" if run else ""


def _quarantine(board: boards_room.Board) -> str:
    try:
        return str(quarantine.found(board) or "")
    except errors.LabError as exc:
        return f"or not: {exc.message}"


def _facts(board: boards_room.Board, needs: Sequence[str]) -> str:
    """Return in a line what decides which suites can ask this board something."""
    payload, uart = board.payload, board.console.uart
    words = [] if "cpus" in needs else [f"{board.cpus} CPUs"]
    words.append(f"entered at EL{payload.entry_el}")
    if payload.vhe is not None:
        words.append("VHE" if payload.vhe else "no VHE")
    words.append("no PSCI" if payload.psci == "none" else f"PSCI by {payload.psci}")
    if uart is not None:
        words.append(f"UART {uart.kind} at {uart.base:#x}")
    return ", ".join(words)


def release(
    names: Sequence[str], folders: Sequence[Path], place: boards_room.Place | None = None
) -> int:
    """End the quarantine of each board, and print what had been seen."""
    found = [boards_room.load(name, dirs=folders, place=place) for name in names]
    for board in found:
        with lock.hold(lock.things(board), board=board.name, run_dir=None):
            marks = quarantine.lift(board)
        for mark in marks:
            print(f"{board.name} is released; it was in quarantine {mark}")
        if not marks:
            print(f"{board.name} is not in quarantine")
    return EXIT_OK


def check(paths: Sequence[Path], folders: Sequence[Path]) -> int:
    """Print everything that is wrong with board files, with file, line and field."""
    count, problems = boards_room.check(paths, dirs=folders)
    say(*(problem.message for problem in problems))
    files = f"{count} file{'s' if count != 1 else ''}"
    print(
        f"{files}, {len(problems)} mistake{'s' if len(problems) > 1 else ''}"
        if problems
        else f"{files}, nothing wrong"
    )
    return EXIT_USAGE if problems else EXIT_OK


def schema() -> int:
    """Print the JSON schema of a board file."""
    print(json.dumps(boards_room.schema(), indent=1))
    return EXIT_OK


def vectors() -> None:
    """Print every name that ``--vectors`` takes."""
    from hilagent.build.mutants import MUTANTS

    print("reference-stub              the reference table, hyp-stub flavour")
    print("reference-kvm               the reference table, KVM flavour")
    print("file:PATH[@OFFSET]          a table of your own, 2 KiB aligned at OFFSET")
    print("vmlinux:PATH[,SERVER]       a kernel's own, cut out of its vmlinux; SERVER: hyp-stub,")
    print("                            trans-pgd; PATH: VMLINUX, or IMAGE+SYSTEM.MAP")
    for mutant in MUTANTS:
        abi = f" (--abi {mutant.profile})" if mutant.profile != "iss-2015" else ""
        print(f"{'mutant:' + mutant.name:<27} {mutant.about}{abi}")
