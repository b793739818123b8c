# SPDX-License-Identifier: Apache-2.0
"""Doctor on a board that boots a system of its own: SSH, what loads kernels, and EL2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hilagent import cli
from hilagent.testing import PtyBoard, ScriptedBoard
from hilagent.testing.ssh import SshServer
from hilagent.transport import known
from tests.fault import boards
from tests.linux import fake_board

BOARD = """\
schema: 1
name: own
description: a board with a system of its own
soc: scripted
emulated: false
cpus: 4
console: {{kind: serial, path: {pty}}}
power: {{kind: command, on: ["true"], off: ["true"], off_s: 0.1}}
os:
  ssh: {{host: {host}, port: {port}, key: {key}}}
  boot_timeout_s: 2
payload: {{psci: smc, timeout_s: 1}}
"""
Break = Callable[[SshServer, Path], object]


def _entered_at_el1(server: SshServer, root: Path) -> None:
    log = (root / "log").read_text().replace("started at EL2", "started at EL1")
    (root / "log").write_text(log)


def _no_loader(server: SshServer, root: Path) -> None:
    (root / "sbin/hilkexec").unlink()


@pytest.mark.parametrize(
    ("what", "layer", "says"),
    [
        (lambda server, root: server.change_key(), "SSH", "key"),
        (lambda server, root: known.path_of("own").unlink(), "SSH", "own/os"),
        (_no_loader, "kexec", "kexec-tools"),
        (_entered_at_el1, "EL2", "entered at EL1"),
        (lambda server, root: fake_board.refuses(root, "Operation not permitted"), "payload",
         "kernel"),
    ],
    ids=["another key", "no key pinned", "no loader", "at EL1", "kexec refused"],
)  # fmt: skip
def test_the_layer_that_is_broken_is_named(
    what: Break,
    layer: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HILAGENT_RUNS", "HILAGENT_STATE", known.ENVIRONMENT):
        monkeypatch.setenv(name, str(tmp_path / name))
    root = fake_board.make(tmp_path / "root")
    with SshServer(root=root) as server, PtyBoard(ScriptedBoard()) as pty:
        target = server.target("own/os")
        (key,) = known.read(target.known_hosts)["own/os"]
        known.pin(known.path_of("own"), "own/os", key)
        what(server, root)
        text = BOARD.format(pty=pty.path, host=server.host, port=server.port, key=server.key_file)
        code = cli.main(["doctor", *boards.write(tmp_path / "boards", "own", text), "--json"])
    data = json.loads(capsys.readouterr().out)
    assert code == 125
    assert data["broken"] == layer, data
    layers = {each["name"]: each for each in data["layers"]}
    assert says in layers[layer]["seen"] + layers[layer]["hint"]
    assert layers["link"]["mark"] == "not reached"
