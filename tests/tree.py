# SPDX-License-Identifier: Apache-2.0
"""The files of this tree, for the tests that look at all of them."""

import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def files(*suffixes: str) -> list[Path]:
    """Files that are in the tree or would be with the next commit; all if no suffix is given."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout
    paths = sorted({TOP / name for name in listed.split("\0") if name})
    return [p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes)]


def name(path: Path) -> str:
    return path.relative_to(TOP).as_posix()
