# SPDX-License-Identifier: Apache-2.0
"""Who is to blame for what dies on the way to what is under test: nobody there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hilagent import errors


@contextlib.contextmanager
def before_the_test() -> Iterator[None]:
    """Make a crash or a hang the lab's, where nothing that is under test has run yet.

    A kernel may speak that nobody here started: that of an autoboot that wasn't stopped.
    """
    try:
        yield
    except errors.TargetError as exc:
        said = f"before anything under test was started: {exc.message}"
        raise errors.LabError(said, hint=exc.hint) from exc
