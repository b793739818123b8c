# SPDX-License-Identifier: Apache-2.0
"""How long a person waits before anything happens."""

import subprocess
import sys
import time

import pytest

from tests import tree


@pytest.mark.parametrize(
    ("words", "bound_s"),
    [
        (["hilagent", "--help"], 1.0),
        (["hilagent", "--version"], 1.0),
        (["hilagent.setup", "--check"], 1.0),
    ],
    ids=["help", "version", "setup-check"],
)
def test_it_answers_at_once(words: list[str], bound_s: float) -> None:
    module, *rest = words
    start = "from hilagent.cli import main; main()"
    how = ["-c", start] if module == "hilagent" else ["-m", module]
    best = min(_seconds([sys.executable, *how, *rest]) for _ in range(3))
    assert best < bound_s


def _seconds(argv: list[str]) -> float:
    began = time.monotonic()
    done = subprocess.run(argv, cwd=tree.TOP, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return time.monotonic() - began
