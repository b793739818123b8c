# SPDX-License-Identifier: Apache-2.0
"""A wheel with no more than the packages that it asks for, by pip, with the lock's hashes."""

import json
import re
import subprocess
import sys
import tarfile
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hilagent.build import payload
from tests import tree
from tests.setup import packaged

pytestmark = [pytest.mark.long, pytest.mark.hil]


def _asked_for(name: str, found: set[str]) -> set[str]:
    """All that a run of ``name`` needs, as the metadata of what is installed here says."""
    for line in requires(name) or ():
        wanted = Requirement(line)
        below = canonicalize_name(wanted.name)
        if below not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(below)
            _asked_for(below, found)
    return found


def _locked(names: set[str]) -> str:
    blocks = re.split(r"\n(?=\S)", (tree.TOP / "requirements.lock").read_text())
    wanted = [block for block in blocks if block.partition("==")[0] in names]
    assert {block.partition("==")[0] for block in wanted} == names
    return "\n".join(wanted)


def _pip(host: packaged.Host, *words: str) -> str:
    argv = [str(host.home / "bin/python"), "-I", "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*argv, *words], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> packaged.Host:
    """The wheel is what pip, with build tools of its own, makes of the sdist."""
    folder = tmp_path_factory.mktemp("fresh")
    sdist = packaged.built("sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (top,) = (folder / "unpacked").iterdir()
    host = packaged.Host(folder / "venv", folder / "work", packaged.tools(folder / "bin"))
    host.work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", host.home], check=True)
    _pip(host, "wheel", "--no-deps", "-w", str(folder), str(top))
    (wheel,) = folder.glob("*.whl")
    (folder / "wanted.txt").write_text(_locked(_asked_for("hilagent", set())))
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(folder / "wanted.txt")]
    _pip(host, "install", *locked)
    _pip(host, "install", "--no-deps", "--no-index", str(wheel))
    assert wheel.read_bytes() == packaged.built("wheel", folder / "here").read_bytes()
    return host


def test_its_packages_are_enough_and_none_is_of_the_tests(host: packaged.Host) -> None:
    assert "No broken requirements" in _pip(host, "check")
    listed = {each["name"].lower() for each in json.loads(_pip(host, "list", "--format", "json"))}
    assert {"hilagent", "paramiko", "pydantic"} <= listed
    assert not listed & {"hatchling", "mypy", "hypothesis", "ruff", "unicorn"}


@pytest.mark.parametrize("profile", ["iss-2015", "iss-6.12", "iss-6.12-scs"])
def test_all_suites_pass_there(host: packaged.Host, profile: str) -> None:
    done = host.run("run", "qemu-virt", "--abi", profile, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)["run"]
    assert said["vectors"] == ["reference-stub", "reference-kvm"]
    assert said["payload_build_id"] == payload.build_payload().build_id


def test_all_mutants_are_caught_there(host: packaged.Host) -> None:
    done = host.run("run", "qemu-virt", "--suite", "mutants")
    assert done.returncode == 0, done.stdout + done.stderr
