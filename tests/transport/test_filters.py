# SPDX-License-Identifier: Apache-2.0
"""Every kind of stream behind a line that isn't 8-bit clean: armour, and the right bytes."""

from __future__ import annotations

import os

import pytest

from hilagent.console import Console
from hilagent.payload import connect
from hilagent.testing import Faults, PayloadTwin, Proxy, PtyBoard, filters
from hilagent.transport.base import FdStream
from tests.transport.helper import KINDS, soon

NAMES = ("tilde-after-newline", "telnet", "xon-xoff", "cr-to-lf", "lf-to-crlf")


def talk(kind: str, bad: Faults, data: bytes) -> tuple[str, bytes]:
    """Return the encoding of a payload behind such a line, and what comes back of ``data``."""
    with KINDS[kind]() as ends, PtyBoard(PayloadTwin()) as board:
        near = FdStream(os.open(board.path, os.O_RDWR | os.O_NOCTTY), "a board")
        line = Proxy(FdStream(os.dup(ends.far), "a line"), near, to_board=bad, to_host=bad)
        try:
            with Console(ends.stream) as console:
                payload = connect(console.take("payload"), run_id=1, deadline=soon())
                payload.write(payload.hello.scratch, data)
                return payload.encoding, payload.read(payload.hello.scratch, len(data))
        finally:
            line.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_line_that_is_not_8_bit_clean_gets_armour_over_every_kind(kind: str, name: str) -> None:
    data = bytes(range(256)) * 3
    assert talk(kind, Faults(filter=filters.ALL[name]), data) == ("armoured", data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_8_bit_clean_itself(kind: str) -> None:
    data = bytes(range(256)) * 3
    assert talk(kind, Faults(), data) == ("raw", data)
