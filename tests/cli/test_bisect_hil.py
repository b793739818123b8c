# SPDX-License-Identifier: Apache-2.0
"""``git bisect run``, by the recipe: a history of vectors, one bad commit, one bad lab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hilagent import abi
from hilagent.build import vectors
from tests import tree
from tests.cli.person import environment

pytestmark = pytest.mark.hil
RECIPE = str(tree.TOP / ".ci/recipes/bisect-vectors")
COMMITS, PLANTED, BROKEN = 10, 7, 5
"""Commits of the history; which one is planted, and which one doesn't assemble."""
MAKE = (
    "aarch64-linux-gnu-gcc -c -DVECTORS_START=start -DVECTORS_END=end iss.S -o iss.o &&"
    " aarch64-linux-gnu-objcopy -O binary -j .text iss.o vectors.bin"
)
GOOD, BAD = "\tmrs\tx0, vbar_el2\n", "\tmrs\tx0, vbar_el2\n\tmov\tx19, x0\n"
LAB = """#!/bin/sh
# The lab at the first commit that is judged: the board dies while it boots, each time.
case "$*" in *-machine*) echo boot >>{folder}/boots ;; *) exec {qemu} "$@" ;; esac
if [ "$(wc -l <{folder}/boots)" -le 3 ]; then exec timeout 0.2 {qemu} "$@"; fi
exec {qemu} "$@"
"""


def _git(folder: Path, *argv: str) -> str:
    who = ("-c", "user.name=lab", "-c", "user.email=lab@localhost")
    done = subprocess.run(["git", *who, *argv], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def _history(folder: Path) -> list[str]:
    """Write the history; return its commits."""
    folder.mkdir()
    _git(folder, "init", "-q", "-b", "main")
    shutil.copy(tree.TOP / "firmware/vectors/mutants.h", folder)
    (folder / "hcalls.h").write_text(vectors.header(abi.load("iss-2015"), "hyp-stub"))
    source = (tree.TOP / "firmware/vectors/iss.S").read_text()
    assert source.count(GOOD) == 1
    commits = []
    for number in range(COMMITS):
        text = source.replace(GOOD, BAD) if number >= PLANTED else source
        text += "\tthis is no instruction\n" if number == BROKEN else ""
        (folder / "iss.S").write_text(f"{text}/* {number} */\n")
        _git(folder, "add", ".")
        _git(folder, "commit", "-q", "-m", f"vectors: change {number}")
        commits.append(_git(folder, "rev-parse", "HEAD"))
    return commits


def _environment(folder: Path, *, lab: bool = True) -> dict[str, str]:
    """Return an environment with our ``hilagent``, and a QEMU that dies three times."""
    (folder / "bin").mkdir()
    qemu = shutil.which("qemu-system-aarch64")
    scripts = {"hilagent": f'#!/bin/sh\nexec {sys.executable} -m hilagent "$@"\n'}
    if not lab:
        scripts["qemu-system-aarch64"] = LAB.format(folder=folder, qemu=qemu)
    for name, text in scripts.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    return {**environment(folder), "HILAGENT": f"{folder}/bin/hilagent", "PATH": path}


def _bisected(folder: Path, commits: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Let git find the bad commit; return its exit code and what was said."""
    source = folder / "vectors"
    _git(source, "bisect", "start", commits[-1], commits[0])
    board = ("qemu-virt", "-o", "smp=1", "--suite", "clobber")
    argv = ["git", "bisect", "run", RECIPE, MAKE, "vectors.bin", *board]
    done = subprocess.run(argv, cwd=source, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_planted_commit_is_found_and_a_failing_lab_is_skipped(tmp_path: Path) -> None:
    commits = _history(tmp_path / "vectors")
    code, said = _bisected(tmp_path, commits, _environment(tmp_path, lab=False))
    assert code == 0, said
    assert f"{commits[PLANTED]} is the first bad commit" in said
    told = [line for line in said.splitlines() if line.startswith("git bisect: ")]
    assert told[0].startswith("git bisect: skipped")
    assert {line.split(":")[1] for line in told} == {" skipped", " bad", " good"}


def test_a_wrong_command_ends_the_search_and_blames_nobody(tmp_path: Path) -> None:
    commits = _history(tmp_path / "vectors")
    env = _environment(tmp_path) | {"HILAGENT_BOARDS": str(tmp_path / "nowhere")}
    argv = ["git", "bisect", "run", RECIPE, MAKE, "vectors.bin", "no-such-board"]
    _git(tmp_path / "vectors", "bisect", "start", commits[-1], commits[0])
    done = subprocess.run(argv, cwd=tmp_path / "vectors", env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "first bad commit" not in done.stdout + done.stderr
    assert "git bisect: stopped" in done.stderr
