# SPDX-License-Identifier: Apache-2.0
"""The boards of the inventory become files of a lab host, or none does.

The role's own tasks run, on folders of this test; tests/long/test_labhost.py has whole hosts.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hilagent import board
from hilagent.transport import known
from tests import ansible_env
from tests.ansible.played import Played

EXAMPLE = (ansible_env.FOLDER / "inventory.example/group_vars/labhosts/main.yml").read_text()
SECRETS = EXAMPLE[EXAMPLE.index("labhost_secrets") : EXAMPLE.index("labhost_keep_days")]
KEY = EXAMPLE[EXAMPLE.index("ssh-ed25519 AAAA") : EXAMPLE.index("]\nlabhost_secrets")]
TAKEN = ("rfc2217, host: 127.0.0.1, port: 4001,", "serial, path: /dev/hilagent/rock,")
PLAY = """\
- name: Boards alone
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Describe the boards
      ansible.builtin.include_role:
        name: labhost
        tasks_from: boards.yml
"""


class Lab:
    """The folders of a lab host, in a temporary one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.etc = folder, folder / "etc"
        for name in ("boards", "known_hosts", "secrets"):
            (self.etc / name).mkdir(parents=True)
        (folder / "opt").mkdir()
        (folder / "opt/venv").symlink_to(Path(sys.executable).parent.parent)
        (folder / "play.yml").write_text(PLAY)

    def play(self, inventory: str, *more: str) -> Played:
        """Run the tasks with these variables."""
        (self.folder / "vars.yml").write_text(inventory)
        own: dict[str, Any] = {
            "labhost_etc": str(self.etc),
            "labhost_opt": str(self.folder / "opt"),
        }
        own |= {"labhost_user": "root", "ansible_python_interpreter": sys.executable}
        argv = ["ansible-playbook", "-i", "localhost,", str(self.folder / "play.yml")]
        argv += ["-e", f"@{self.folder}/vars.yml", "-e", json.dumps(own), *more]
        env = {"ANSIBLE_ROLES_PATH": str(ansible_env.FOLDER / "roles")}
        return Played.of(ansible_env.run(argv, self.folder / "home", env=env, root=True))

    def files(self) -> dict[str, str]:
        """Return every file under etc and what is in it."""
        return {
            str(path.relative_to(self.etc)): path.read_text()
            for path in self.etc.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_an_inventory_becomes_boards_once_and_whole_or_not(lab: Lab) -> None:
    """Also where it says on and off without quotes, which YAML 1.1 takes for truths."""
    bare = re.sub(r'"(on|off)": ', r"\1: ", EXAMPLE)
    inventory = f"{bare}vault_bmc7: sesame\n"
    played = lab.play(inventory)
    assert played.status == 0, played.said
    rock, pi = (board.load(name, dirs=[lab.etc / "boards"]) for name in ("rock", "pi"))
    assert rock.power.outlet == 1
    assert pi.power.on is not None
    assert pi.power.on[-2:] == ("power", "on")
    assert pi.linux is None
    pinned = known.read(lab.etc / "known_hosts/rock")
    assert {name: [str(key) for key in keys] for name, keys in pinned.items()} == {
        "rock/os": [KEY],
    }
    assert lab.files()["secrets/bmc7"] == "sesame\n"
    assert "sesame" not in played.said
    modes = {path.name: path.stat().st_mode & 0o777 for path in lab.etc.rglob("*.yaml")}
    assert modes == {"rock.yaml": 0o640, "pi.yaml": 0o640}

    again = lab.play(inventory)
    assert again.changed == [], again.said
    assert again.status == 0

    less = lab.play(re.sub(r"^  pi:\n(    .*\n)*", "", inventory, flags=re.M).replace(SECRETS, ""))
    assert sorted(os.path.basename(each) for each in less.changed) == ["bmc7", "pi.yaml"]
    assert set(lab.files()) == {"boards/rock.yaml", "known_hosts/rock"}

    wrong = inventory.replace(*TAKEN).replace("baud: 1500000", "baud: fast")
    refused = lab.play(wrong)
    assert refused.status == 2, refused.said
    assert 'console.baud: expected a valid integer, found "fast"' in refused.words
    assert "expected a serial port of its own" in refused.words
    assert "of which none was changed" in refused.words
    assert set(lab.files()) == {"boards/rock.yaml", "known_hosts/rock"}
    assert "1500000" in lab.files()["boards/rock.yaml"]
