# SPDX-License-Identifier: Apache-2.0
"""labgrid for the tests, in an environment of its own, which is kept in the cache.

Its package replaces files of pyserial, so it is never in ``.venv``. Set-up runs this file;
a test that comes first makes it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hilagent.build import cache

LOCK = Path(__file__).with_name("labgrid.lock")


def python() -> str:
    """Return the Python that has labgrid, by the lock file; takes seconds the first time."""

    def make(folder: Path) -> None:
        print("labgrid, in an environment of its own, for the tests", flush=True)
        own = folder / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(own), "-I", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
        subprocess.run([*pip, *locked], check=True)

    key = cache.fingerprint([LOCK, sys.version, sys.base_prefix])
    return str(cache.entry("labgrid", key, make) / "bin" / "python")


if __name__ == "__main__":
    python()
