# SPDX-License-Identifier: Apache-2.0
"""A GiB of console, of each bad kind."""

from __future__ import annotations

import pytest

from tests.fault.flood import KINDS
from tests.fault.test_limits import MOST_KIB, check, flood
from tests.long.conftest import Tell

GIB = 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_gibibyte_costs_no_more_memory_than_a_little(tell: Tell, kind: str) -> None:
    found = flood(kind, GIB)
    tell(f"1 GiB of console: {kind}", f"{MOST_KIB >> 10} MiB more",
         f"{found['grown_kib'] >> 10} MiB more, {found['took_s']:.0f} s")  # fmt: skip
    check(found, len(KINDS[kind]) * GIB)
