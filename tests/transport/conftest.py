# SPDX-License-Identifier: Apache-2.0
"""An SSH server, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hilagent.testing.ssh import SshServer
from hilagent.transport import ssh
from tests.transport.helper import soon


@pytest.fixture
def board() -> Iterator[SshServer]:
    """A server that runs commands on this host."""
    with SshServer() as server:
        yield server


@pytest.fixture
def to(board: SshServer) -> Iterator[ssh.Connection]:
    """A connection to it."""
    with ssh.connect(board.target(), soon()) as connection:
        yield connection
