# SPDX-License-Identifier: Apache-2.0
"""labgrid for the tests: its package replaces files of pyserial, so it is never in ``.venv``."""

from __future__ import annotations

from tests import locked_env


def python() -> str:
    """Return the Python that has labgrid; takes seconds the first time."""
    return str(locked_env.folder("labgrid") / "bin" / "python")
