# SPDX-License-Identifier: Apache-2.0
"""The fuzzers of tests/fuzz for as long as ``$HILAGENT_FUZZ`` says; an hour by default."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

from tests import tree
from tests.long.conftest import Tell

HOUR = 60.0
"""Times what CI does: it spends a minute on them."""


def test_an_hour_of_fuzzing_finds_nothing(tell: Tell) -> None:
    times = float(os.environ.get("HILAGENT_FUZZ") or HOUR)
    options = ("-p", "no:cacheprovider", "-o", "faulthandler_timeout=0")
    argv = [sys.executable, "-m", "pytest", "-q", *options, "tests/fuzz"]
    env = {**os.environ, "HILAGENT_FUZZ": str(times)}
    env.pop("CI", None)  # which would try the same examples again
    began_s = time.monotonic()
    done = subprocess.run(argv, cwd=tree.TOP, env=env, capture_output=True, text=True)
    took_s = time.monotonic() - began_s
    (said,) = re.findall(r"^.*(?:passed|failed).*$", done.stdout, re.MULTILINE)[-1:] or ["nothing"]
    tell(f"fuzzers, {times:g} times CI's examples", "nothing found", f"{said}, {took_s:.0f} s")
    assert done.returncode == 0, done.stdout[-8000:]
