# SPDX-License-Identifier: Apache-2.0
"""The CI recipes: valid by the CI's own schema, and each command in them does what it says."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tree
from tests.cli.person import environment
from tests.cli.shelf import shelf

RECIPES = tree.TOP / ".ci/recipes"
SCHEMAS = {"gitlab-ci.yml": "vendor.gitlab-ci", "github.yml": "vendor.github-workflows"}
_BIN = Path(sys.executable).parent


def _text(name: str) -> str:
    return (RECIPES / name).read_text()


def _read(name: str) -> Any:
    return yaml.load(_text(name), Loader=yaml.BaseLoader)


def gitlab() -> tuple[str, str]:
    """What the job runs, and what is run after it, however it ended."""
    job = _read("gitlab-ci.yml")["el2"]
    return "\n".join(job["script"]), "\n".join(job["after_script"])


def github() -> tuple[str, str]:
    run, summary, _ = _read("github.yml")["jobs"]["rock"]["steps"]
    return run["run"], summary["run"]


def jenkins() -> tuple[str, str]:
    (script,) = re.findall(
        r"sh\(returnStatus: true, script: '''\n(.*?)'''", _text("Jenkinsfile"), re.S
    )
    return script, "true"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_recipe_is_valid_by_the_schema_of_its_ci(name: str, tmp_path: Path) -> None:
    argv = [str(_BIN / "check-jsonschema"), "--builtin-schema", SCHEMAS[name]]
    assert subprocess.run([*argv, str(RECIPES / name)], capture_output=True).returncode == 0
    wrong = tmp_path / name
    wrong.write_text(re.sub("retry: .*|runs-on: .*", "retry: {max: 77}", _text(name)))
    assert subprocess.run([*argv, str(wrong)], capture_output=True).returncode == 1


def test_the_brackets_of_the_jenkinsfile_are_closed() -> None:
    """Its linter is a running Jenkins: this is what can be seen without one."""
    text = re.sub(
        r"//[^\n]*|'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"", "", _text("Jenkinsfile"), flags=re.S
    )
    opened: list[str] = []
    for found in re.findall(r"[][(){}]", text):
        if found in "([{":
            opened.append(found)
        else:
            assert opened.pop() + found in {"()", "[]", "{}"}
    assert not opened


def _did(script: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it as the CIs do: bash, ended by the first command that fails."""
    argv = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True)


@contextlib.contextmanager
def _lab(folder: Path, kind: str) -> Iterator[str]:
    """Yield a folder of boards with the board "rock", emulated or scripted, as ``kind`` says."""
    if kind != "emulated":
        with shelf(folder, {"rock": kind}) as named:
            yield named[-1]
        return
    folder.mkdir()
    words = ("extends: qemu-virt", "name: rock", "qemu: {smp: 1}", "cpus: 1")
    (folder / "rock.yaml").write_text("\n".join([*words, ""]))
    yield str(folder)


@pytest.mark.hil
@pytest.mark.parametrize(
    ("ci", "kind", "code"),
    [
        (gitlab, "emulated", 0),
        (github, "clobbers", 1),
        (github, "silent", 125),
        (jenkins, "silent", 125),
    ],
)
def test_its_commands_run_and_keep_the_exit_code(
    tmp_path: Path, ci: Callable[[], tuple[str, str]], kind: str, code: int
) -> None:
    run, after = ci()
    (tmp_path / "bin").mkdir()
    ours = tmp_path / "bin/hilagent"
    ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m hilagent "$@"\n')
    ours.chmod(0o755)
    env = {
        **environment(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "BOARD": "rock", "CI": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }  # fmt: skip
    with _lab(tmp_path / "lab", kind) as folder:
        done = _did(run, tmp_path, env | {"HILAGENT_BOARDS": folder})
    assert done.returncode == code, done.stdout + done.stderr
    assert ("title=The lab failed" in done.stdout) == (ci is github and code == 125)
    assert _did(after, tmp_path, env).returncode == 0
    if ci is not jenkins:
        assert "rock" in (tmp_path / "summary.md").read_text()
    assert len(list(tmp_path.glob("runs/2*/junit.xml"))) == 1, "what the recipe keeps"
