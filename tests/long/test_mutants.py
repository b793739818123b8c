# SPDX-License-Identifier: Apache-2.0
"""Every mutant is caught for the right reason: by the suite, and by a run of its own."""

from pathlib import Path

import pytest

from hilagent.build.mutants import ANY, MUTANTS, Mutant
from tests.fault.harness import Ran, ran
from tests.long.conftest import Tell

SUITE_S = 180.0


def test_the_suite_catches_all_of_them_in_time(tmp_path: Path, tell: Tell) -> None:
    done = ran(["run", "qemu-virt", "--suite", "mutants"], tmp_path)
    found = f"exit {done.code}, {done.took_s:.0f} s"
    tell(f"suite mutants ({len(MUTANTS)})", f"exit 0 in {SUITE_S:.0f} s", found)
    assert done.code == 0, done.story()
    assert done.run is not None
    names = {test.partition("[")[2].rstrip("]") for test in done.run.outcomes}
    assert {mutant.name for mutant in MUTANTS} <= names
    assert done.took_s < SUITE_S


@pytest.mark.parametrize("name", ["qemu-raspi3b", "qemu-raspi4b", "qemu-zcu102", "qemu-imx8mp"])
def test_the_suite_catches_all_of_them_on_other_boards(
    tmp_path: Path, tell: Tell, name: str
) -> None:
    done = ran(["run", name, "--suite", "mutants"], tmp_path, limit_s=1800)
    found = f"exit {done.code}, {done.took_s:.0f} s"
    tell(f"suite mutants ({len(MUTANTS)}) on {name}", "exit 0", found)
    assert done.code == 0, done.story()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_run_of_its_own_accuses_it_and_says_why(tmp_path: Path, mutant: Mutant) -> None:
    board = ["run", "qemu-virt", "-o", "smp=2", "--suite", "dispatch", "--suite", "clobber"]
    vectors = ["--vectors", f"mutant:{mutant.name}", "--abi", mutant.profile]
    done = ran([*board, *vectors], tmp_path)
    assert done.code == 1, done.story()
    assert _says(done, mutant), done.story()
    if mutant.rule == "hang":
        assert "HANG" in done.verdicts, done.story()


def _says(done: Ran, mutant: Mutant) -> bool:
    """Whether what a person reads names rule, hcall and what of it in one place."""
    said = " ".join(done.out.split())
    if mutant.rule == "hang":
        where = f"hvc #{mutant.immediate:#x}" if mutant.immediate is not None else mutant.hcall
        return where in said and "does not come home" in said
    hcall = "" if mutant.hcall == ANY else f" {mutant.hcall} {mutant.what}"
    return f"{mutant.rule}:{hcall}" in said and mutant.what in said
