# SPDX-License-Identifier: Apache-2.0
"""What ``git bisect run`` is told: bad for an accusation, and for nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hilagent import cli

GOOD, BAD, SKIPPED, STOPPED = 0, 1, 125, 128
NOT_BUILT = "raise errors.NotBuilt(errors.NotBuilt.SAYS + ' (make Image)')"


def _tests(tmp_path: Path, *bodies: str) -> str:
    path = tmp_path / "test_mine.py"
    tests = [f"def test_{n}():\n    {body}\n" for n, body in enumerate(bodies)]
    path.write_text("from hilagent import errors\n" + "".join(tests))
    return str(path)


@pytest.mark.parametrize(
    ("bodies", "code"),
    [
        (["pass"], GOOD),
        (["pass", "raise errors.TargetError('x19 is changed')"], BAD),
        (["pass", "raise errors.TargetHang('no answer')"], BAD),
        (["pass", "raise errors.LabError('the cable')"], SKIPPED),
        (["pass", "raise errors.PreconditionError('EL1')"], SKIPPED),
        (["raise errors.Unsupported('no SVE')"], SKIPPED),
        (["pass", NOT_BUILT], SKIPPED),
        ([NOT_BUILT, "raise errors.TargetError('x19 is changed')"], BAD),
        (["raise ValueError('ours')"], STOPPED),
    ],
)
@pytest.mark.usefixtures("bench")
def test_only_an_accusation_is_bad(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], bodies: list[str], code: int
) -> None:
    assert cli.main(["run", "--bisect", "--tests", _tests(tmp_path, *bodies)]) == code
    word = {GOOD: "good", BAD: "bad", SKIPPED: "skipped", STOPPED: "stopped"}[code]
    assert f"git bisect: {word}: " in capfd.readouterr().err


@pytest.mark.usefixtures("bench")
def test_without_it_a_kernel_that_does_not_build_is_1(tmp_path: Path) -> None:
    assert cli.main(["run", "--tests", _tests(tmp_path, NOT_BUILT)]) == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "nonesuch", "--bisect"],
        ["run", "--bisect", "--nonesuch"],
        ["run", "--bisect", "rock", "rock2"],
        ["run", "--bisect", "--all"],
        ["nonesuch", "--bisect"],
    ],
    ids=" ".join,
)
def test_a_mistake_of_the_caller_ends_the_search(argv: list[str]) -> None:
    assert cli.main(argv) == STOPPED


def test_the_command_line_of_the_process_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hilagent", "run", "nonesuch", "--bisect"])
    assert cli.main() == STOPPED


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.usefixtures("bench")
def test_a_signal_ends_the_search(tmp_path: Path, name: str, code: int) -> None:
    body = f"from hilagent.session import signals; raise signals.Interrupted('{name}')"
    assert cli.main(["run", "--bisect", "--tests", _tests(tmp_path, body)]) == code
