# SPDX-License-Identifier: Apache-2.0
"""``hilagent boards`` and ``run --list-vectors``: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hilagent import board as boards_room
from hilagent import errors
from hilagent.cli.ending import say
from hilagent.result import EXIT_OK, EXIT_USAGE
from hilagent.text import scrub_line


def boards(folders: Sequence[Path], *, as_json: bool) -> int:
    """Print the boards; those with a mistake in their file go to stderr."""
    rows, wrong = [], []
    for name, path in boards_room.names(folders).items():
        try:
            found = boards_room.load(name, dirs=folders)
        except errors.UsageError as exc:
            wrong.append(exc.message)
            continue
        kind = "emulated" if found.emulated else "real"
        rows.append(
            {
                "name": name,
                "kind": kind,
                "soc": found.soc,
                "cpus": found.cpus,
                "description": scrub_line(found.description),
                "options": {
                    key: [str(choice) for choice in option.choices]
                    for key, option in found.options.items()
                },
                "file": str(path),
            }
        )
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['name']:<16} {row['kind']:<9} {row['description']}")
            print(f"{'':<16} {row['file']}")
    say(*wrong)
    return EXIT_USAGE if wrong else EXIT_OK


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
