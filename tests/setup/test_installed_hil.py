# SPDX-License-Identifier: Apache-2.0
"""From a wheel to a verdict: outside any checkout, on a host without compiler, make and HOME."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import payload
from tests.setup import packaged

pytestmark = pytest.mark.hil
_QUICK = ("--suite", "clobber", "-k", "GET_VECTORS", "-o", "smp=1", "--json")


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[packaged.Host]:
    """The wheel is installed as root does it: its user can write nothing there."""
    host = packaged.bare(tmp_path_factory.mktemp("host"))
    before = set(host.files())
    host.pip("install", "--no-deps", "--no-index", str(wheel))
    own = [host.site, *host.site.glob("hilagent*"), *host.site.glob("hilagent*/**/*")]
    for path in own:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    installed = host.files()
    yield host
    assert host.files() == installed  # no run, of any test here, wrote beside the package
    assert not (host.work / ".cache").exists()
    for path in own:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    host.pip("uninstall", "--yes", "hilagent")
    assert set(host.files()) == before


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the payload's build id, as the run's results quote it."""
    assert done.stdout, done.stderr
    return str(json.loads(done.stdout)["run"]["payload_build_id"])


def test_reference_vectors_pass_and_version_tells_which_payload(host: packaged.Host) -> None:
    suites = ("--suite", "architecture", "--suite", "clobber")
    done = host.run("run", "qemu-virt", *suites, "-o", "smp=1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    assert host.run("--version").stdout.splitlines()[1] == f"payload, build id {_said(done)}"
    assert _said(done) == payload.build_payload().build_id


def test_a_mutant_is_accused(host: packaged.Host) -> None:
    done = host.run("run", "qemu-virt", "--vectors", "mutant:get_clobbers_x19", *_QUICK)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "x19" in done.stdout


def test_a_payload_that_was_altered_reaches_no_board(
    host: packaged.Host, copy: Path, tmp_path: Path
) -> None:
    (image,) = copy.glob("hilagent/_data/prebuilt/payload/*/payload.bin")
    image.write_bytes(image.read_bytes()[:-1] + b"X")
    runs = {"PATH": host.path, "HILAGENT_RUNS": f"{tmp_path}/runs", "HILAGENT_STATE": str(tmp_path)}
    done = packaged.command(copy, ["run", "qemu-virt", *_QUICK], **runs)
    assert done.returncode == 125
    assert f"{image}: isn't what this hilagent was packaged with" in done.stderr
    assert list(tmp_path.glob("runs/*/journal.jsonl"))
    assert not list(tmp_path.glob("runs/*/console.raw"))
