# SPDX-License-Identifier: Apache-2.0
"""The two commands of the README, from nothing, on each Debian that we name."""

import os
from collections.abc import Iterator

import pytest

from tests.long import bare
from tests.long.conftest import Tell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a chroot")


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest) -> Iterator[bare.Bare]:
    if not bare.mirror():
        pytest.skip("this host's apt names no Debian mirror")
    with bare.debian(request.param) as made:
        yield made


def _passes(debian: bare.Bare, command: str, tell: Tell, goal: str) -> bare.Done:
    name = debian.root.name.split("-")[1]
    before = debian.size_mib()
    done = debian.run(command)
    found = f"exit {done.status}, {done.took_s:.0f} s, {debian.size_mib() - before:+d} MiB"
    tell(f"{name}: {command}", f"exit 0{goal}", found)
    assert done.status == 0, "\n".join(done.output.splitlines()[-80:])
    return done


def test_check_names_what_a_bare_debian_lacks(debian: bare.Bare) -> None:
    done = debian.run("python3 -m hilagent.setup --check")
    assert done.status == 1
    assert "apt-get install --no-install-recommends python3-venv" in done.output


def test_the_main_job_runs_from_nothing(debian: bare.Bare, tell: Tell) -> None:
    _passes(debian, "python3 -m hilagent.setup run --yes", tell, "")


def test_the_second_time_nothing_is_set_up(debian: bare.Bare, tell: Tell) -> None:
    done = _passes(debian, "python3 -m hilagent.setup", tell, " in 5 s")
    assert done.took_s < 5
    assert "packages" not in done.output


def test_the_tests_pass(debian: bare.Bare, tell: Tell) -> None:
    done = _passes(debian, "python3 -m hilagent.setup test --yes", tell, " in 40 min")
    assert " passed" in done.output.splitlines()[-1]
    assert done.took_s < 40 * 60
