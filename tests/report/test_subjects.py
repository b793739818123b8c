# SPDX-License-Identifier: Apache-2.0
"""A kernel's own vectors in the summary: what they speak, why, and what was asked of them."""

from __future__ import annotations

from pathlib import Path

from hilagent import journal
from hilagent.report import subjects
from hilagent.report.results import results
from hilagent.report.summary import WIDTH, summary
from hilagent.result import Finding, Outcome, Verdict

NAME = "vmlinux:/a/long/way/to/a/kernel/that/somebody/built/vmlinux"
REASON = "__finalise_el2 at 0x8 branches to 0x9 (enter_vhe)"
FINDING = Finding(
    "result", "unknown", "x0", "0xbadca11", "x0 = 0x0", (0,), ((0, 0),), "EL1h",
    x0=((4, 7), (9, 9)),
)  # fmt: skip


def _run(folder: Path) -> journal.Run:
    log = journal.Journal(folder)
    said = {
        "name": NAME, "server": "hyp-stub", "abi": "x0-mainline@6.12", "place": "4096 bytes",
        "evidence": ["named by x0"], "left_out": [f"HVC_FINALISE_EL2 (0x3): {REASON}"],
        "notes": ["1 boot-time alternatives"],
    }  # fmt: skip
    log.run(board="qemu-virt", abi="x0-mainline", vectors=[NAME], kernels_vectors=[said])
    log.plan(["a"])
    ranges = [[0, 0, "HVC_SET_VECTORS", "sets", True], [0x1000, -1, "unknown", "returns", False]]
    log.observation(
        "dispatch", subject=NAME, origin="EL2h", ranges=ranges, selector="x0",
        asked=["x0's values one by one: 4 hvcs"], immediate="nothing: returns",
    )  # fmt: skip
    log.outcome(Outcome("a", Verdict.FAIL, "wrong", findings=(FINDING,)))
    log.write("end")
    log.close()
    return journal.read(folder)


def test_the_summary_says_what_they_speak_and_what_was_asked(tmp_path: Path) -> None:
    text = summary(_run(tmp_path))
    lines = text.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    for said in (
        "  speaks: x0-mainline@6.12, hyp-stub: 4096 bytes",
        "  evidence: named by x0",
        "  note: 1 boot-time alternatives",
        "Dispatch  ...way/to/a/kernel/that/somebody/built/vmlinux by x0, from EL2h",
        "    0x0000         HVC_SET_VECTORS      sets",
        "  X 0x1000-...     unknown              returns",
        "  asked: x0's values one by one: 4 hvcs",
        "  the immediate does: nothing: returns",
    ):
        assert said in lines
    assert f"left out: HVC_FINALISE_EL2 (0x3): {REASON}" in " ".join(text.split())
    assert "hvc #0x0, x0 0x4-0x7, 0x9)" in " ".join(text.split())


def test_a_finding_keeps_its_values_of_x0(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert run.outcomes["a"].findings == (FINDING,)
    assert results(run)["tests"][0]["findings"][0]["x0"] == [[4, 7], [9, 9]]


def test_many_values_are_counted() -> None:
    assert subjects.x0(()) == ""
    assert subjects.x0(tuple((n, n) for n in range(9))).endswith("0x3, 5 more ranges")


def test_a_run_without_a_kernel_says_nothing_of_one(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    log.run(board="qemu-virt", abi="iss-2015", vectors=["reference-stub"])
    log.close()
    assert list(subjects.sections(journal.read(tmp_path))) == []
