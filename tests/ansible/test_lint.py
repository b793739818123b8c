# SPDX-License-Identifier: Apache-2.0
"""The playbooks are clean by the strictest profile there is, and parse with each example."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ansible_env, tree

FILES = [path for path in tree.files() if path.is_relative_to(ansible_env.FOLDER)]
PLAYBOOKS = sorted(path.name for path in FILES if path.parent == ansible_env.FOLDER)
PLAYBOOKS = [name for name in PLAYBOOKS if name.endswith(".yml")]
LINT = ("ansible-lint", "--offline", "--profile", "production", "--strict", "--format=pep8")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The folder as it would be committed; the linter may write beside it."""
    for path in FILES:
        to = tmp_path / "ansible" / path.relative_to(ansible_env.FOLDER)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return tmp_path / "ansible"


def test_the_production_profile_finds_nothing(copied: Path, tmp_path: Path) -> None:
    done = ansible_env.run(LINT, tmp_path / "home", copied)
    assert done.returncode == 0, done.stdout
    assert "Passed: 0 failure(s), 0 warning(s)" in done.stdout
    assert "Profile 'production' was required, and it passed" in done.stdout


@pytest.mark.parametrize(
    ("file", "added", "rule"),
    [
        ("site.yml", "\n- hosts: all\n  tasks: []\n", "name[play]"),
        (
            "roles/labhost/tasks/main.yml",
            "\n- name: Short module name\n  command: /bin/true\n",
            "fqcn[action-core]",
        ),
    ],
)
def test_the_linter_sees_what_is_wrong(
    copied: Path, tmp_path: Path, file: str, added: str, rule: str
) -> None:
    with (copied / file).open("a") as out:
        out.write(added)
    done = ansible_env.run([*LINT, file], tmp_path / "home", copied)
    assert done.returncode == 2, done.stdout
    assert rule in done.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_parses_with_the_example(copied: Path, tmp_path: Path, playbook: str) -> None:
    subprocess.run(["bash", "-c", "cp -r inventory.example inventory"], cwd=copied, check=True)
    argv = ["ansible-playbook", "--syntax-check", playbook]
    done = ansible_env.run(argv, tmp_path / "home", copied, {"ANSIBLE_CONFIG": "ansible.cfg"})
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


def test_a_playbook_that_does_not_parse_is_seen(copied: Path, tmp_path: Path) -> None:
    with (copied / "site.yml").open("a") as out:
        out.write("\n- name: No such role\n  hosts: all\n  roles: [nowhere]\n")
    argv = ["ansible-playbook", "--syntax-check", "-i", "inventory.example", "site.yml"]
    done = ansible_env.run(argv, tmp_path / "home", copied, {"ANSIBLE_CONFIG": "ansible.cfg"})
    assert done.returncode != 0
    assert "the role 'nowhere' was not found" in done.stdout


def test_only_what_ansible_brings_along_is_used() -> None:
    """Galaxy is one more source to trust, so there is no collection."""
    assert [tree.name(p) for p in FILES if p.name in ("requirements.yml", "galaxy.yml")] == []


def test_nothing_in_the_tree_is_a_secret() -> None:
    assert [tree.name(path) for path in FILES if b"$ANSIBLE_VAULT" in path.read_bytes()] == []
