# SPDX-License-Identifier: Apache-2.0
"""Ten thousand broken ELFs: read or refused, in bounded time and memory."""

import time
from pathlib import Path

import pytest

from tests.audit.test_hostile import KINDS, survive
from tests.long.conftest import Tell

SEEDS = 4


@pytest.mark.parametrize("count", [10_000])
def test_broken_kernels_are_read_or_refused(tmp_path: Path, tell: Tell, count: int) -> None:
    started, refused, longest = time.monotonic(), 0, 0.0
    share = count // (len(KINDS) * SEEDS)
    for kind in KINDS:
        for seed in range(SEEDS):
            more, slowest = survive(tmp_path, kind, share, seed)
            refused, longest = refused + more, max(longest, slowest)
    took = time.monotonic() - started
    total = share * len(KINDS) * SEEDS
    tell(
        f"{total} broken ELFs", "an error or an answer, no traceback",
        f"{refused} refused, {total - refused} read, {took:.0f} s, longest {longest * 1000:.0f} ms",
    )  # fmt: skip
    assert refused > total // 4
