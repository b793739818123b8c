# SPDX-License-Identifier: Apache-2.0
"""nightly.yml: what came of each lab host, and whose fault it was."""

import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import ansible_env

HILAGENT = """\
#!/bin/sh
case $1 in
run)
    mkdir -p "$3"
    echo "exit $4" >"$3/journal.jsonl"
    [ "$4" != killed ] || kill -9 $$
    exit "$4"
    ;;
report) echo "what $(cat "$2/journal.jsonl") meant" ;;
esac
"""
UNREACHABLE = "{ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 9}"


class Night:
    """A night's folder, and what ended it."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.folder, self.status, self.said = folder, done.returncode, done.stdout
        self.code = (folder / "exit-code").read_text().strip()
        self.summary = (folder / "summary.md").read_text()


def night(folder: Path, codes: Sequence[object], more: str = "") -> Night:
    """Run one in which hilagent ends on lab hosts lab0, lab1 and so on with ``codes``."""
    (folder / "hilagent").write_text(HILAGENT)
    (folder / "hilagent").chmod(0o755)
    hosts = "".join(f"    lab{n}: {{nightly_arguments: ['{c}']}}\n" for n, c in enumerate(codes))
    (folder / "inventory.yml").write_text(
        f"all:\n  vars:\n    ansible_connection: local\n    ansible_become: false\n"
        f"    ansible_python_interpreter: {sys.executable}\n"
        f"    ansible_async_dir: {folder}/async\n    ansible_remote_tmp: {folder}/tmp\n"
        f"labhosts:\n  hosts:\n{hosts}{more}"
    )
    done = ansible_env.run(
        ["ansible-playbook", "-i", folder / "inventory.yml", "nightly.yml",
         "-e", f"nightly_dir={folder}/nights nightly_hilagent={folder}/hilagent",
         "-e", f"nightly_remote={folder} nightly_poll_s=1"],
        folder / "home",
    )  # fmt: skip
    assert (folder / "nights/exit-code").exists(), done.stdout
    return Night(folder / "nights", done)


def test_a_night_in_which_all_passes_passes_and_brings_the_evidence(tmp_path: Path) -> None:
    found = night(tmp_path, [0, 0])
    assert (found.status, found.code) == (0, "0"), found.said
    assert "# Night: passed (exit code 0)" in found.summary
    assert found.summary.count("what exit 0 meant") == 2
    (packed,) = found.folder.glob("*/lab1.tar.gz")
    with tarfile.open(packed) as archive:
        assert any(name.endswith("-lab1/journal.jsonl") for name in archive.getnames())
    assert list(tmp_path.glob("nightly-*.tar.gz")) == []


@pytest.mark.parametrize(
    ("codes", "worst", "words"),
    [
        pytest.param([0, 125], "125", "the lab failed, and accuses nobody", marks=pytest.mark.long),
        ([125, 1], "1", "something under test is accused"),
        ([125, 3], "3", "hilagent itself is wrong"),
        pytest.param([0, "killed"], "125", "the lab failed", marks=pytest.mark.long),
    ],
)
def test_an_accusation_is_told_from_a_failure_of_the_lab(
    tmp_path: Path, codes: list[object], worst: str, words: str
) -> None:
    found = night(tmp_path, codes)
    assert (found.status, found.code) == (2, worst), found.said
    assert words in found.said
    assert f"(exit code {worst})" in found.summary


def test_a_host_that_nobody_reaches_is_the_labs_fault(tmp_path: Path) -> None:
    found = night(
        tmp_path, [0], f"    gone: {UNREACHABLE}\nboards:\n  hosts:\n    b: {UNREACHABLE}\n"
    )
    assert found.code == "125"
    assert "| lab0 | passed | 0 |" in found.summary
    assert "| gone | not reached | 125 | none |" in found.summary
    assert "| b | not reached | 0 |" in found.summary


@pytest.mark.long
def test_a_host_without_hilagent_is_the_labs_fault(tmp_path: Path) -> None:
    """A shell's 127 isn't hilagent's."""
    found = night(tmp_path, [127])
    assert found.code == "125"
