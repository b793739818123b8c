# SPDX-License-Identifier: Apache-2.0
"""Kernels for tests: from the build cache, or built there by the first test that asks.

The cache is the user's own: a kernel takes minutes, and the next run finds it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import subprocess
import sys
from collections.abc import Iterator

from hilagent.build.kernel import Kernel, build_kernel, cached


def built(name: str = "patched") -> Kernel:
    """Return the kernel ``name``. A build that hangs ends by its own limit, not by a test's."""
    found = cached(name)
    if found is None:
        faulthandler.cancel_dump_traceback_later()
        found = build_kernel(name)
    return found


@contextlib.contextmanager
def ahead(name: str = "patched") -> Iterator[None]:
    """Build the kernel ``name`` meanwhile, where it isn't cached, on what the host has to spare.

    Whoever needs it waits for it; what goes wrong in it goes wrong there, and is told.
    """
    if cached(name) is not None:
        yield
        return
    argv = ["nice", "-n", "10", sys.executable, "-m", "hilagent", "build", "kernel", name]
    quiet = subprocess.DEVNULL
    building = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        building.terminate()
        building.wait()
