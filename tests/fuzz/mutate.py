# SPDX-License-Identifier: Apache-2.0
"""What spoils good input, and how much of it is tried.

``$HILAGENT_FUZZ`` multiplies the number of examples: 1 is ten seconds a fuzzer at most,
which is what CI does; 60 is for an hour on them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = float(os.environ.get("HILAGENT_FUZZ") or 1)
_ODD = (0, 1, 2, 4, 8, 0x7F, 0x80, 0xFF, ord("\n"), ord(":"), ord("{"), ord("&"), ord("*"))
_BYTE = st.sampled_from(_ODD) | st.integers(0, 255)


def fuzz(examples: int) -> settings:
    """Return the settings of a fuzzer that tries ``examples`` in CI."""
    return settings(
        max_examples=max(1, round(examples * TIMES)), deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


class Spoilt(bytes):
    """Shown in a few words: a failed example may be as long as a file."""

    def __repr__(self) -> str:
        return f"Spoilt({bytes(self)!r})" if len(self) < 2000 else f"Spoilt of {len(self)} bytes"


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 6) -> Spoilt:
    """Draw one of ``seeds`` with up to ``most`` things done to it: bytes changed, left out,
    put in, repeated or taken from elsewhere, or the end cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 8) | st.integers(1, 300))
        match draw(st.sampled_from("xxxx<>=~|")):
            case "x":
                data[at : at + 1] = bytes([draw(_BYTE)])
            case "<":
                del data[at : at + size]
            case ">":
                data[at:at] = draw(st.binary(max_size=8))
            case "=":
                data[at:at] = data[at : at + size]
            case "~":
                other = draw(st.integers(0, len(data)))
                data[at : at + size] = data[other : other + size]
            case "|":
                del data[at:]
    return Spoilt(data)
