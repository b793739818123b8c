# SPDX-License-Identifier: Apache-2.0
"""The console of a board that has none: nothing is ever heard, and nobody to write to.

::

    console: {kind: none}

Such a board is reached by SSH alone. The log of its console is there, and empty.
"""

from __future__ import annotations

import os

from hilagent.errors import LinkError
from hilagent.transport.base import FdStream


class Nothing(FdStream):
    """A pipe that nobody writes to."""

    def __init__(self) -> None:
        near, self._far = os.pipe()
        super().__init__(near, "of a board without one")

    def write(self, data: bytes) -> int:
        raise LinkError("this board has no console to write to", hint="its file says 'kind: none'")

    def close(self) -> None:
        super().close()
        far, self._far = self._far, -1
        if far >= 0:
            os.close(far)


def connect() -> Nothing:
    """Return the console of a board that has none."""
    return Nothing()
