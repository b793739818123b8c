# SPDX-License-Identifier: Apache-2.0
"""The real PDUDaemon, of Debian's package, which is unpacked and never installed."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.board.model import Power as Spec
from hilagent.build import debian
from hilagent.errors import LabError
from hilagent.power.http import HttpPower

pytestmark = pytest.mark.hil  # it fetches the package once


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Its URL, and a descriptor of what its outlets' command wrote."""
    root = debian.unpack(debian.fetch(["pdudaemon"], depends=True, for_host=True))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    os.mkfifo(tmp_path / "did")
    did = os.open(tmp_path / "did", os.O_RDWR)
    outlet = tmp_path / "outlet"
    outlet.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/did\n')
    outlet.chmod(0o755)
    shelf = {
        "driver": "localcmdline", "cmd_on": f"{outlet} on %s", "cmd_off": f"{outlet} off %s",
    }  # fmt: skip
    settings = {"hostname": "127.0.0.1", "port": port, "logging_level": "INFO", "listener": "http"}
    (tmp_path / "conf").write_text(json.dumps({"daemon": settings, "pdus": {"shelf": shelf}}))
    libraries = ":".join(map(str, (root / "usr/lib").glob("*-linux-gnu")))
    own = {"PYTHONPATH": f"{root}/usr/lib/python3/dist-packages", "LD_LIBRARY_PATH": libraries}
    process = subprocess.Popen(
        ["/usr/bin/python3", root / "usr/sbin/pdudaemon", f"--conf={tmp_path}/conf"],
        env={**os.environ, **own, "PYTHONUNBUFFERED": "1"}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        heard = []
        for line in process.stdout:
            heard.append(line)
            if b"Listening on" in line:
                break
        else:
            raise AssertionError(b"".join(heard).decode())
        yield f"http://127.0.0.1:{port}", did
    finally:
        process.kill()
        process.communicate()
        os.close(did)


def heard(did: int) -> str:
    ready, _, _ = select.select([did], [], [], 20)
    assert ready
    return os.read(did, 100).decode().strip()


def test_it_switches_and_tells_no_state(daemon: tuple[str, int]) -> None:
    url, did = daemon
    switch = HttpPower(Spec("http", device="pdudaemon", url=url, pdu="shelf", outlet=7, off_s=0.1))
    switch.on()
    assert heard(did) == "on 7"
    switch.off()
    assert heard(did) == "off 7"
    switch.on()
    assert heard(did) == "on 7"
    assert switch.state() is None


def test_a_pdu_that_it_does_not_know_is_an_error(daemon: tuple[str, int]) -> None:
    spec = Spec("http", device="pdudaemon", url=daemon[0], pdu="other", outlet=7)
    with pytest.raises(LabError, match=r"power on: .* with status 500: Invalid request"):
        HttpPower(spec).on()
