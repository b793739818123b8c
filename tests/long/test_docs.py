# SPDX-License-Identifier: Apache-2.0
"""The commands and outputs of the pages that take minutes."""

from __future__ import annotations

import pytest

from tests import kernels, tree
from tests.docs import pages, picture
from tests.docs.lab import LONG, Lab
from tests.long.conftest import Tell

pytestmark = pytest.mark.hil
_RUN = ".venv/bin/hilagent run rock --suite dispatch --suite clobber"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with a run of its own, and a kernel that is built."""
    kernel, broken = kernels.built("patched"), kernels.built("broken:kvm-get-clobbers-x19")
    names = {
        "path/to/vmlinux": str(kernel.vmlinux),
        "path/to/broken/vmlinux": str(broken.vmlinux),
        "arch/arm64/boot/Image": str(kernel.image),
    }
    lab = Lab(tmp_path_factory.mktemp("lab"), names)
    assert lab.does(_RUN).returncode == 0
    return lab


@pytest.mark.parametrize("command", LONG)
def test_a_command_does_what_the_page_says(lab: Lab, tell: Tell, command: str) -> None:
    wrong = lab.wrong(command, LONG[command])
    tell(command.removeprefix(".venv/bin/"), "as the page says", wrong[:60] or "yes")
    assert wrong == ""


@pytest.mark.parametrize("shown", list(pages.shown()), ids=lambda each: each.command)
def test_what_a_page_shows_is_shown(lab: Lab, tell: Tell, shown: pages.Shown) -> None:
    missing = shown.missing_in(lab.does(shown.command).stdout)
    tell(
        f"shown: {shown.command.removeprefix('.venv/bin/')}", "as the page shows", missing or "yes"
    )
    assert missing == ""


def test_the_picture_is_of_such_a_run(lab: Lab, tell: Tell) -> None:
    lab.does(f".venv/bin/hilagent {picture.SHOWS}")
    now = picture.words(picture.drawn((lab.folder / "runs/latest/report.html").resolve()))
    then = picture.words((tree.TOP / "tests/docs/report.svg").read_text())
    tell("the README's picture", "what a run draws now", "yes" if now == then else "stale")
    assert now == then
