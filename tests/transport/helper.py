# SPDX-License-Identifier: Apache-2.0
"""What the tests of SSH share."""

from hilagent.clock import Deadline


def soon(seconds: float = 20) -> Deadline:
    """Return a deadline that is far enough for what works."""
    return Deadline.after(seconds)
