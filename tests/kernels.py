# SPDX-License-Identifier: Apache-2.0
"""Kernels for tests: from the build cache, or built there by the first test that asks.

The cache is the user's own: a kernel takes minutes, and the next run finds it.
"""

from __future__ import annotations

import faulthandler

from hilagent.build.kernel import Kernel, build_kernel, cached


def built(name: str = "patched") -> Kernel:
    """Return the kernel ``name``. A build that hangs ends by its own limit, not by a test's."""
    found = cached(name)
    if found is None:
        faulthandler.cancel_dump_traceback_later()
        found = build_kernel(name)
    return found
