# SPDX-License-Identifier: Apache-2.0
"""Two boards, the same results: what of two ``results.json`` has to be the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

_PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)
_PARTS = ("schema", "version", "verdict", "exit_code", "finished", "end", "counts", "tests",
          "dispatch", "clobber", "code", "restarts", "legs")  # fmt: skip
_RAM = re.compile(r"0x0*[4-7][0-9a-f]{7}\b")
_WAITED = re.compile(r"no progress for [0-9.]+ s")
_LOG = re.compile(r"^raw log +.*$", re.MULTILINE)


def run(folder: Path, board: str, *argv: str) -> tuple[int, Path]:
    """Run suites on ``board``; return the exit code, and the run's folder."""
    own = {"HILAGENT_RUNS": str(folder / board), "PYTHONPATH": _PATH}
    done = subprocess.run(
        [sys.executable, "-m", "hilagent", "run", board, "--json", *argv],
        cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    data = json.loads(done.stdout)
    return done.returncode, folder / board / data["run"]["id"]


def results(run_dir: Path) -> dict[str, Any]:
    """Return all that was found; without times, and where in memory things stood."""
    data = json.loads((run_dir / "results.json").read_text())
    found = {name: _plain(data[name]) for name in _PARTS}
    assert isinstance(found["tests"], list)
    for test in found["tests"]:
        del test["duration_s"]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, str):
        return value
    return _LOG.sub("", _WAITED.sub("no progress", _RAM.sub("ADDRESS", value)))
