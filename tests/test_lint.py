# SPDX-License-Identifier: Apache-2.0
"""Each linter, with the version of the lock file, finds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tree

_BIN = Path(sys.executable).parent


def _clean(tool: str, *args: str | Path) -> None:
    env = {**os.environ, "NO_COLOR": "1"}
    argv = [_BIN / tool, *args]
    done = subprocess.run(argv, cwd=tree.TOP, env=env, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).splitlines()
        pytest.fail("\n".join([f"{tool}:", *said[:60], f"({len(said)} lines)"]), pytrace=False)


def test_ruff_finds_nothing() -> None:
    _clean("ruff", "check", "--no-cache", "--output-format=concise", ".")


def test_python_is_formatted_as_ruff_does() -> None:
    _clean("ruff", "format", "--no-cache", "--check", ".")


def test_mypy_strict_finds_nothing() -> None:
    _clean("mypy", "--no-error-summary")


def test_shellcheck_finds_nothing() -> None:
    scripts = [path for path in tree.files() if path.read_bytes()[:20].startswith(b"#!/")]
    shell = [path for path in scripts if b"sh" in path.read_bytes().split(b"\n", 1)[0]]
    shell = [path for path in shell if path.suffix != ".j2"]  # tests/ansible renders those
    assert tree.TOP / ".ci/run" in shell
    _clean("shellcheck", *shell)


def test_yamllint_finds_nothing() -> None:
    _clean("yamllint", "--strict", *tree.files(".yaml", ".yml"))


def test_c_is_formatted_as_clang_format_does() -> None:
    _clean("clang-format", "--dry-run", "--Werror", *tree.files(".c", ".h"))
