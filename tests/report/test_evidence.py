# SPDX-License-Identifier: Apache-2.0
"""What stands behind a cell of the clobber matrix is of that call and of those vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hilagent import journal
from hilagent.journal import Journal
from hilagent.probe import names
from hilagent.report import compare
from hilagent.report.html import html, view
from hilagent.result import Finding, Outcome, Verdict
from tests.report import made

ORIGIN = {name: number for number, name in names.ORIGINS.items()}
X19 = Finding("clobber", "HVC_GET_VECTORS", "x19", "keeps its value", "0x13")


def frame(imm: int, x0: int = 0) -> dict[str, Any]:
    return {"x": [x0, *range(1, 31)], "sp": 1, "pc": 2, "pstate": 0x3C5, "esr": 0, "far": 0,
            "seen": 0, "imm": imm, "sys": {}, "v": []}  # fmt: skip


def run(
    folder: Path, *outcomes: Outcome, cells: str = "X", origin: str = "EL1h", x0: bool = False,
    swept: dict[str, Any] | None = None, direct: bool = False, subject: str = "reference-stub",
) -> journal.Run:  # fmt: skip
    """Write a run with one matrix: of HVC_GET_VECTORS, number 1, and one register, x19."""

    def more(log: Journal) -> None:
        for each in origin.split(", "):
            log.observation("dispatch", subject=subject, server="hyp-stub", origin=each,
                            selector="x0" if x0 else "imm",
                            ranges=[[0, 0, "unknown", "returns", True],
                                    [1, 1, "HVC_GET_VECTORS", "returns", True],
                                    [2, -1, "unknown", "returns", True]])  # fmt: skip
        log.observation(
            "clobber",
            subject=subject,
            server="hyp-stub",
            origin=origin,
            registers=["x19"],
            rows=[{"hcall": "HVC_GET_VECTORS", "cells": [cells]}],
        )
        if swept is not None:
            log.observation("sweep", subject=subject, swept=swept)
        if direct:
            done = {"before": frame(1), "after": frame(1), "sig": {}}
            log.observation("direct", subject=subject, hcall="HVC_GET_VECTORS", done=done)

    return made.run(folder, *outcomes, more=more)


def row(found: journal.Run) -> view.Row:
    ((matrix),) = view.matrices(found)
    return matrix.rows[0]


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("clobber[hyp-stub-HVC_GET_VECTORS-clobber]", True),
        ("direct[hyp-stub-HVC_GET_VECTORS]", True),
        ("clobber[kvm-HVC_GET_VECTORS-clobber]", False),
        ("live[hyp-stub-patched-clobber]", False),
        ("live_hyp-stub[patched]", False),
    ],
)
def test_a_finding_stands_at_the_vectors_that_it_is_of(
    tmp_path: Path, test: str, told: bool
) -> None:
    found = run(tmp_path / "run", Outcome(test, Verdict.FAIL, "", "", (X19,)))
    (proof,) = row(found).proofs
    assert bool(proof.said) is told


def test_a_register_that_was_kept_has_nobody_elses_finding(tmp_path: Path) -> None:
    outcome = Outcome("clobber[hyp-stub-HVC_GET_VECTORS-clobber]", Verdict.FAIL, "", "", (X19,))
    (proof,) = row(run(tmp_path / "run", outcome, cells=".")).proofs
    assert proof.said == []


@pytest.mark.parametrize("x0", [False, True])
@pytest.mark.parametrize(("number", "there"), [(1, True), (2, False), (7, False)])
def test_a_swept_call_is_the_hcall_that_its_number_names(
    tmp_path: Path, x0: bool, number: int, there: bool
) -> None:
    pair = {"before": frame(0, number) if x0 else frame(number), "after": frame(0), "sig": {}}
    swept = {"cpu": 3, "origin": ORIGIN["EL1h"], "frames": {"0": pair}}
    found = row(run(tmp_path / "run", x0=x0, swept=swept))
    wanted = f"hvc #{0 if x0 else number:#x} on CPU 3" if there else ""
    assert found.call == wanted


@pytest.mark.parametrize(("origin", "there"), [("EL2h", True), ("EL2t", False)])
def test_vectors_that_serve_two_origins_show_calls_of_both(
    tmp_path: Path, origin: str, there: bool
) -> None:
    pair = {"before": frame(1), "after": frame(1), "sig": {}}
    swept = {"cpu": 0, "origin": ORIGIN[origin], "frames": {"0": pair}}
    found = row(run(tmp_path / "run", origin="EL1h, EL2h", swept=swept))
    assert bool(found.call) is there


def test_a_cpu_that_nobody_noted_is_not_named(tmp_path: Path) -> None:
    found = row(run(tmp_path / "run", direct=True))
    assert found.call == "hvc #0x1, with VBAR_EL2 the table itself"


def test_tables_of_the_suites_own_mutants_are_not_shown(tmp_path: Path) -> None:
    """They are wrong on purpose, and the run passes because of it."""
    found = run(tmp_path / "run", Outcome("mutants[x]", Verdict.PASS), subject="mutant:x")
    assert (view.maps(found), view.matrices(found)) == ([], [])
    assert "mutant:x" not in html(found)
    other = run(tmp_path / "other", cells=".", subject="mutant:x")
    assert compare.compare(found, other).clobber == []
