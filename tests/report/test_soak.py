# SPDX-License-Identifier: Apache-2.0
"""What a soak comes to, by its journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hilagent import cli, journal
from hilagent.journal import Journal
from hilagent.report import soak
from hilagent.result import Verdict

LINK = {"rx_bytes": 1 << 20, "tx_bytes": 0, "damaged": 0, "naks": 0, "repeats": 0}


def soaked(folder: Path, *rounds: str, end: dict[str, Any] | None = None, **link: int) -> Any:
    codes = {"pass": 0, "fail": 1, "infra": 125, "bug": 3, "unfinished": 125}
    log = Journal(folder)
    log.run(soak="rock")
    for number, found in enumerate(rounds, 1):
        log.write(
            "round", name=f"{number:04}", verdict=found, exit_code=codes[found], took_s=1.0,
            why="" if found == "pass" else "it was \x1b[2Jseen", tests={found: 2}, boots=1,
            link={**LINK, **link},
        )  # fmt: skip
    if end is not None:
        log.write("end", **end)
    log.close()
    return journal.read(folder)


@pytest.mark.parametrize(
    ("rounds", "end", "code", "found"),
    [
        (("pass", "pass"), {"why": "time is up"}, 0, Verdict.PASS),
        (("pass", "fail"), {"why": "x"}, 1, Verdict.FAIL),
        (("infra", "pass"), {"why": "x"}, 125, Verdict.INFRA),
        (("pass", "bug"), {"why": "x"}, 3, Verdict.BUG),
        ((), {"why": "x"}, 125, Verdict.UNFINISHED),
        (("pass", "unfinished"), {"signal": "SIGINT"}, 130, Verdict.UNFINISHED),
        (("pass", "unfinished"), {"signal": "SIGTERM"}, 143, Verdict.UNFINISHED),
        (("fail",), {"signal": "SIGINT"}, 1, Verdict.FAIL),
        (("pass",), None, 125, Verdict.UNFINISHED),
        (("fail",), None, 1, Verdict.FAIL),
    ],
)
def test_the_worst_round_decides(
    tmp_path: Path, rounds: tuple[str, ...], end: Any, code: int, found: Verdict
) -> None:
    run = soaked(tmp_path, *rounds, end=end)
    assert (soak.exit_code(run), soak.verdict(run)) == (code, found)
    assert soak.results(run)["exit_code"] == code
    said = soak.summary(run)
    assert said.startswith(found.name)
    assert ("was killed" in said) is (end is None)
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith("Evidence"))


def test_the_links_errors_are_counted_and_given_a_mebibyte(tmp_path: Path) -> None:
    run = soaked(tmp_path, "pass", "pass", end={"why": "time is up"}, damaged=3, naks=1)
    assert soak.results(run)["link"]["damaged"] == 6
    assert "2.00 MiB, 6 damaged frames, 3 a MiB, 2 NAKs" in soak.summary(run)


def test_what_went_wrong_is_shown_and_nothing_drives_the_terminal(tmp_path: Path) -> None:
    said = soak.summary(soaked(tmp_path, *["infra"] * 10, end={"why": "x"}))
    assert "\x1b" not in said
    assert said.count("INFRA  round ") == 8
    assert "and 2 more before them" in said


def test_it_is_told_again_from_its_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = soaked(tmp_path, "pass", "fail", end={"why": "x"})
    assert cli.main(["report", str(tmp_path), "--format", "text"]) == 0
    assert capsys.readouterr().out == soak.summary(run)
    assert cli.main(["report", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == soak.results(run)
    assert cli.main(["report", str(tmp_path), "--format", "junit"]) == 2
    assert "is a soak" in capsys.readouterr().err
