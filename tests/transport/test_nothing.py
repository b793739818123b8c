# SPDX-License-Identifier: Apache-2.0
"""The console of a board that has none: silent for good, and nothing is lost on it unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import transport
from hilagent.board.model import Console as Wiring
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.errors import LinkError
from tests.transport.helper import readable


def test_nothing_is_heard_and_nothing_can_be_written() -> None:
    stream = transport.open(Wiring(kind="none"))
    assert not readable(stream, 0)
    assert stream.read() == b""
    with pytest.raises(LinkError, match="no console to write to"):
        stream.write(b"x")
    stream.close()
    stream.close()


def test_its_log_is_there_and_empty(tmp_path: Path) -> None:
    console = Console(transport.open(Wiring(kind="none")), tmp_path)
    assert console.take("nobody").expect([b"."], Deadline.after(0)) is None
    console.close()
    assert (tmp_path / "console.raw").read_bytes() == b""
