# SPDX-License-Identifier: Apache-2.0
"""``hilagent build``: what runs on a board."""

from __future__ import annotations

from pathlib import Path

from hilagent.build.payload import build_payload
from hilagent.result import EXIT_OK


def payload(out: Path | None) -> int:
    """Build the payload and say where it is."""
    built = build_payload(out)
    print(f"{built.image}  {built.size} bytes  build id {built.build_id}")
    return EXIT_OK
