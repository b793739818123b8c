# SPDX-License-Identifier: Apache-2.0
"""The console of a run: what happens on it stands in the journal."""

from __future__ import annotations

import socket
from pathlib import Path

from hilagent import journal
from hilagent.clock import Deadline
from hilagent.journal import Journal
from hilagent.session.reading import reading
from hilagent.transport.base import FdStream
from tests.console.test_incident import CUT, OOPS, PANICKED, WARNED

LAST = b"Kernel panic - not syncing: again"


def test_an_incident_is_an_observation_with_its_extents(tmp_path: Path) -> None:
    text = f"x\n{CUT}{WARNED}{OOPS}{PANICKED}".encode()
    near, far = socket.socketpair()
    log = Journal(tmp_path)
    log.run(board="b")
    with reading(FdStream(near.detach(), "under test"), log) as console:
        far.sendall(text + LAST)
        assert console.wait(len(text) + len(LAST) - 1, Deadline.after(5.0))
        far.close()
    log.close()
    warned, died, again = journal.read(tmp_path).observations("incident")
    assert (warned["type"], warned["fatal"], warned["who"]) == ("WARNING", False, "report")
    assert (died["type"], died["fatal"], died["who"]) == ("oops", True, "kernel")
    raw = (tmp_path / "console.raw").read_bytes()
    assert raw[died["start"] : died["end"]].decode() == OOPS + PANICKED
    assert (again["start"], again["end"]) == (len(text), len(raw))
