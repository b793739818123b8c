# SPDX-License-Identifier: Apache-2.0
"""``hilagent --version``: this program, and the payload that it would run."""

from __future__ import annotations

from hilagent import __version__
from hilagent.build import payload
from hilagent.errors import HilagentError
from hilagent.text import scrub_line


def version() -> str:
    """Return what ``--version`` prints; builds nothing.

    The build id is the one that a run would report now. A damaged installation says so, and
    has a version all the same.
    """
    return f"hilagent, version {__version__}\npayload, {_payload()}\n"


def _payload() -> str:
    try:
        build_id = payload.known_build_id()
    except HilagentError as error:
        return scrub_line(f"unknown: {error.message}")
    if build_id is None:
        return "not built yet: 'hilagent build payload' builds it"
    return f"build id {build_id}"
