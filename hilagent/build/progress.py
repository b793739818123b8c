# SPDX-License-Identifier: Apache-2.0
"""How a build that takes minutes says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with what is done, of how much (0: nobody knows), and of what, in a few words."""


def silent(done: int, total: int, what: str) -> None:
    """For a caller that shows nothing."""
