# SPDX-License-Identifier: Apache-2.0
"""The recipes for power by commands, run as they stand but for where the device is."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from hilagent.board.model import Power as Spec
from hilagent.build import debian
from hilagent.errors import LabError
from hilagent.power import command
from hilagent.power.command import CommandPower
from tests.power.bmc import bmc

RECIPES = {
    block.split("by ")[1].split()[0].rstrip(",;"): f"power:{block}"
    for block in (command.__doc__ or "").split("    power:")[2:]
}


def recipe(name: str, changes: Mapping[str, str]) -> CommandPower:
    """Return the switch of a recipe, with the device that it names replaced."""
    text = re.sub(r"^    ", "", RECIPES[name], flags=re.M)
    text = re.sub(r"^  (on|off):", r'  "\1":', text, flags=re.M)  # YAML 1.1 reads a boolean
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    fields = yaml.safe_load(text)["power"]
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return CommandPower(Spec(**{**fields, **lists, "off_s": 0.1}))


def test_these_are_the_recipes() -> None:
    assert set(RECIPES) == {"ipmitool", "Redfish", "uhubctl", "libgpiod"}
    for name in RECIPES:
        recipe(name, {})


@pytest.mark.hil
def test_ipmitool_switches_a_bmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bmc(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        short = f"127.0.0.1 -p {found.port} -N 1 -R 1"  # it asks a wrong password's BMC once
        changes = {
            "-H bmc7": f"-H {short}",
            "-H, bmc7,": f"-H, {', '.join(repr(word) for word in short.split())},",
            "/etc/lab/bmc7": str(tmp_path / "password"),
        }
        switch = recipe("ipmitool", changes)
        assert switch.state() is False
        switch.on()
        assert (switch.state(), found.on) == (True, True)
        switch.cycle()
        assert switch.state() is True
        switch.off()
        assert (switch.state(), found.on) == (False, False)
        (tmp_path / "password").write_text("wrong\n")
        assert switch.state() is None  # which is neither
        with pytest.raises(LabError, match=r"power on: ipmitool ended with 1: .*session"):
            switch.on()
        assert not found.on


class Redfish(http.server.BaseHTTPRequestHandler):
    """One system, as DSP0266 describes it."""

    on = False
    allowed = f"Basic {base64.b64encode(b'lab:s3cret').decode()}"

    def do_GET(self) -> None:
        power = "On" if Redfish.on else "Off"
        self._answer({"@odata.id": "/redfish/v1/Systems/1", "PowerState": power})

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
        if self.headers["Authorization"] == self.allowed:
            Redfish.on = {"On": True, "ForceOff": False}[said["ResetType"]]
        self._answer({})

    def _answer(self, body: object) -> None:
        self.send_response(200 if self.headers["Authorization"] == self.allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def redfish() -> Iterator[str]:
    Redfish.on = False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redfish) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_curl_switches_a_system_by_redfish(redfish: str, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login lab password s3cret\n")
    switch = recipe("Redfish", {"https://bmc7": redfish, "/etc/lab/netrc": str(netrc)})
    assert switch.state() is False
    switch.cycle()
    assert (switch.state(), Redfish.on) == (True, True)
    switch.off()
    assert (switch.state(), Redfish.on) == (False, False)
    netrc.write_text("machine 127.0.0.1 login lab password wrong\n")
    assert switch.state() is None
    with pytest.raises(LabError, match=r"power on: curl ended with 22: .*401"):
        switch.on()
    assert not Redfish.on


@pytest.mark.hil
def test_uhubctl_takes_its_arguments_and_says_that_no_hub_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = debian.unpack(debian.fetch(["uhubctl"], depends=True, for_host=True))
    libraries = ":".join(map(str, (root / "usr/lib").glob("*-linux-gnu")))
    monkeypatch.setenv("LD_LIBRARY_PATH", libraries)
    monkeypatch.setenv("PATH", f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}")
    with pytest.raises(LabError, match=r"power on: uhubctl ended with 1: .*(hub|devices)"):
        recipe("uhubctl", {}).on()
