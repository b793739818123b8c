# SPDX-License-Identifier: Apache-2.0
"""Tools of the tests that don't live in ``.venv``: an environment each, kept in the cache.

Each has a lock file of its own. Set-up runs this file, which makes them all;
a test that comes first makes the one that it wants.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from hilagent.build import cache
from tests import tree

LOCKS = {
    "labgrid": tree.TOP / "ansible/roles/labhost/files/labgrid.lock",  # what its hosts get, too
    "ansible": tree.TOP / "tests/ansible.lock",
}
# The cache moves what it made: a script finds its Python beside itself.
_MOVABLE = """\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
'''
"""


def folder(name: str) -> Path:
    """Return the environment by its lock; takes seconds the first time."""
    lock = LOCKS[name]

    def make(made: Path) -> None:
        print(f"{name}, in an environment of its own, for the tests", flush=True)
        own = made / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        pip = [str(own), "-I", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
        subprocess.run([*pip, *locked], check=True)
        _loosen(made / "bin")

    return cache.entry(name, cache.fingerprint([lock, sys.version, sys.base_prefix]), make)


def _loosen(scripts: Path) -> None:
    """Make pip's scripts find their Python wherever the environment is moved to."""
    for script in scripts.iterdir():
        text = b"" if script.is_symlink() else script.read_bytes()
        if text.startswith(b"#!") and (code := re.search(rb"^import .*", text, re.M | re.S)):
            script.write_bytes(_MOVABLE.encode() + code[0])


if __name__ == "__main__":
    for each in LOCKS:
        folder(each)
