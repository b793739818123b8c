# SPDX-License-Identifier: Apache-2.0
"""The lock file holds what pyproject.toml asks for, with hashes and no address."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import locked_env, tree

LOCK = (tree.TOP / "requirements.lock").read_text()
LOCKS = {"ours": LOCK, **{name: path.read_text() for name, path in locked_env.LOCKS.items()}}
PROJECT = tomllib.loads((tree.TOP / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)((?: [^\\\n]*)?) ?((?:\\\n +--hash=\S+ ?)*)", re.M)
PINS = _PIN.findall(LOCK)


@pytest.mark.parametrize("line", ASKED)
def test_what_is_asked_for_is_locked(line: str) -> None:
    asked = Requirement(line)
    versions = [pin[1] for pin in PINS if pin[0] == canonicalize_name(asked.name)]
    assert versions
    assert all(asked.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())
def test_each_pin_has_hashes_of_wheel_and_source(lock: str) -> None:
    pins = _PIN.findall(lock)
    assert len(pins) == len(re.findall(r"^[a-z]", lock, re.M)) > 20
    assert [name for name, _, _, hashes in pins if hashes.count("--hash=sha256:") < 1] == []


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())
def test_no_address_and_no_path_is_in_it(lock: str) -> None:
    said = "\n".join(line for line in lock.splitlines() if not line.startswith("#"))
    assert not re.search(r"://|file:|^-|/", said, re.M)


def test_every_dependency_says_why_it_is_there() -> None:
    lines = (tree.TOP / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    block = lines[start + 1 : lines.index("]", start)]
    assert len(block) == len(PROJECT["dependencies"])
    assert all("# " in line for line in block)
