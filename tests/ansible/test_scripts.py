# SPDX-License-Identifier: Apache-2.0
"""What the role writes for machines to read, rendered as it is for a host with everything."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tty
from pathlib import Path

import pytest

from hilagent.transport import rfc2217
from tests import ansible_env
from tests.ansible.played import Played
from tests.transport import servers

PLAY = """\
- name: Templates alone
  hosts: localhost
  connection: local
  gather_facts: false
  vars_files:
    - {role}/defaults/main.yml
    - {role}/vars/main.yml
  tasks:
    - name: Render all
      ansible.builtin.template:
        src: "{{{{ item }}}}"
        dest: "{out}/{{{{ item | basename | replace('.j2', '') }}}}"
        mode: preserve
      with_fileglob: "{role}/templates/*.j2"
      when: "item | basename not in ['board.yaml.j2', 'known_hosts.j2']"
"""
EVERYTHING = {
    "ansible_python_interpreter": sys.executable,
    "inventory_hostname_short": "lab1",
    "labhost_serial": [
        {"name": "rock", "path": "platform-usb-0:1.4:1.0", "port": 4001, "baud": 1500000},
        {"name": "pi", "path": "platform-usb-0:1.5:1.0"},
    ],
    "labhost_tftp": {"interface": "lab0", "dir": "/srv/tftp"},
    "labhost_labgrid_coordinator": "192.0.2.1:20408",
    "labhost_labgrid_exporter": {"rock": {"USBSerialPort": {"match": {"ID_PATH": "a:1.0"}}}},
}
OUTLET = """\
#!/bin/sh
# hilagent, as far as a hook asks it
case "$1 $2" in
"boards --json") cat "$(dirname "$0")/boards.json" ;;
"power pi") echo "pi: can't be switched" >&2; exit 125 ;;
power\\ *) echo "$2 $3" >> "$(dirname "$0")/told" ;;
esac
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what was rendered, with a command hilagent that writes down what it is told."""
    folder = tmp_path_factory.mktemp("rendered")
    play = PLAY.format(role=ansible_env.FOLDER / "roles/labhost", out=folder)
    (folder / "play.yml").write_text(play)
    (folder / "hilagent").write_text(OUTLET)
    (folder / "hilagent").chmod(0o755)
    (folder / "runs").mkdir()
    own = {"labhost_home": str(folder), "labhost_lib": str(folder)}
    said = EVERYTHING | own | {"labhost_command": str(folder / "hilagent"), "labhost_free_gib": 0}
    argv = [
        "ansible-playbook",
        "-i",
        "localhost,",
        str(folder / "play.yml"),
        "-e",
        json.dumps(said),
    ]
    played = Played.of(ansible_env.run(argv, folder / "home"))
    assert played.status == 0, played.said
    for script in folder.glob("*.sh"):
        script.chmod(0o755)
    return folder


def test_no_script_has_a_fault_that_shellcheck_knows(out: Path) -> None:
    scripts = sorted(out.glob("*.sh"))
    assert len(scripts) == 5
    check = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([check, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ser2net_serves_by_its_file_what_our_transport_asks_for(out: Path, tmp_path: Path) -> None:
    far, near = os.openpty()
    tty.setraw(near)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (out / "ser2net.yaml").read_text()
    assert "&pi" not in text  # it has no port
    text = text.replace("/dev/hilagent/rock", os.ttyname(near)).replace("4001", str(port))
    (tmp_path / "ser2net.yaml").write_text(text)
    argv = ["/usr/sbin/ser2net", "-n", "-u", "-c", str(tmp_path / "ser2net.yaml")]
    child = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        servers.until_open(port)
        stream = rfc2217.connect("127.0.0.1", port, 1500000)
        stream.write(b"to the board")
        assert os.read(far, 100) == b"to the board"
        stream.close()
    finally:
        child.kill()
        child.wait()
        os.close(near)
        os.close(far)


def test_an_adapter_has_its_name_by_its_socket(out: Path) -> None:
    rules = [line for line in (out / "serial.rules").read_text().splitlines() if line[0] != "#"]
    assert rules[0] == (
        'SUBSYSTEM=="tty", ENV{ID_PATH}=="platform-usb-0:1.4:1.0", GROUP="dialout", '
        'MODE="0660", SYMLINK+="hilagent/rock"'
    )
    assert len(rules) == 2


def test_tftp_is_served_to_the_lab_alone(out: Path) -> None:
    words = [line for line in (out / "tftp.conf").read_text().splitlines() if line[0] != "#"]
    assert {"port=0", "interface=lab0", "except-interface=lo", "enable-tftp=lab0"} <= {*words}


def test_labgrid_gets_no_comment(out: Path) -> None:
    """It would run one."""
    text = (out / "exporter.yaml").read_text()
    assert "ID_PATH: a:1.0" in text
    assert "#" not in text


@pytest.mark.parametrize("path", ["hilagent-tftp", "labgrid-coordinator", "labgrid-exporter"])
def test_a_service_can_gain_nothing(out: Path, path: str) -> None:
    unit = (out / f"{path}.service").read_text()
    for word in ("NoNewPrivileges=true", "ProtectSystem=strict", "PrivateTmp=true"):
        assert f"\n{word}\n" in unit
    assert re.search(r"^(User=hilagent|DynamicUser=true)$", unit, re.M)


def _hook(out: Path, name: str, *boards: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (out / "told").write_text("")
    (out / "boards.json").write_text(json.dumps(boards))
    return subprocess.run(["bash", "-e", out / name], cwd=out, capture_output=True, text=True)


LEFT = {"name": "rock", "left_on": "may be on", "quarantine": ""}
STUCK = {"name": "pi", "left_on": "may be on", "quarantine": "since Monday"}
WELL = {"name": "virt", "left_on": "", "quarantine": ""}


def test_what_a_killed_job_left_on_is_switched_off(out: Path) -> None:
    done = _hook(out, "job-completed.sh", WELL, LEFT)
    assert done.returncode == 0
    assert (out / "told").read_text() == "rock off\n"


def test_a_board_that_stays_on_is_told_and_costs_no_other_its_job(out: Path) -> None:
    assert _hook(out, "job-completed.sh", STUCK, LEFT).returncode == 125
    assert (out / "told").read_text() == "rock off\n"
    done = _hook(out, "job-started.sh", STUCK, LEFT)
    assert done.returncode == 0
    assert "pi is in quarantine: hilagent doctor pi" in done.stderr
    assert "can't be switched" in done.stderr


def test_no_job_begins_on_a_full_disk(out: Path) -> None:
    script = out / "disk-space.sh"
    text = script.read_text()
    try:
        script.write_text(text.replace("(0 * 1024)", "(100000000 * 1024)"))
        done = _hook(out, "job-started.sh", LEFT)
    finally:
        script.write_text(text)
    assert done.returncode == 125
    assert f"{out}/runs has " in done.stderr
    assert (out / "told").read_text() == ""
    assert os.access(script, os.X_OK)
