# SPDX-License-Identifier: Apache-2.0
"""A kernel's own vectors as a subject: what is named, left out, and wrong by code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import abi
from hilagent.errors import UsageError
from hilagent.session.kernel_vectors import read
from hilagent.session.subject import resolve
from tests.elf.kernels import ISS, X0, kernel

DEFAULT = abi.load("iss-2015")


@pytest.mark.parametrize(
    ("source", "profile"), [(ISS, "iss-6.12"), (X0, "x0-mainline")], ids=["iss", "x0"]
)
def test_the_abi_is_the_one_that_the_code_speaks(tmp_path: Path, source: str, profile: str) -> None:
    subject = resolve(f"vmlinux:{kernel(tmp_path, source)}", DEFAULT, forced=False)
    assert subject.profile is not None
    assert subject.profile.name == profile
    assert (subject.server, subject.offset % 0x800) == ("hyp-stub", 0)
    assert subject.origin is not None
    assert subject.origin.findings == ()
    (left,) = subject.origin.left_out
    assert left.startswith("HVC_FINALISE_EL2 ")
    assert not subject.profile.named("HVC_FINALISE_EL2", "hyp-stub").sweep


def test_the_copied_table_is_another_server(tmp_path: Path) -> None:
    found = read(f"{kernel(tmp_path, ISS)},trans-pgd", None)
    assert (found.server, found.left_out) == ("trans-pgd", ())


def test_an_abi_that_is_forced_is_taken_and_the_code_is_told(tmp_path: Path) -> None:
    path = kernel(tmp_path, ISS)
    found = read(str(path), abi.load("x0-mainline"))
    assert found.profile.name == "x0-mainline"
    assert "against its code, which speaks iss-6.12" in found.evidence[0]


@pytest.mark.parametrize("source", [ISS, X0], ids=["iss", "x0"])
def test_a_kernel_that_does_not_finalise_is_accused_by_its_code(
    tmp_path: Path, source: str
) -> None:
    (found,) = read(str(kernel(tmp_path, source, "FINALISE_IGNORED")), None).findings
    assert (found.rule, found.hcall) == ("dispatch", "HVC_FINALISE_EL2")


def test_a_number_that_finalises_unasked_is_not_issued_and_accused(tmp_path: Path) -> None:
    found = read(str(kernel(tmp_path, ISS, "FINALISE=9")), None)
    assert found.skip == (9,)
    assert {each.hcall for each in found.findings} == {"unknown", "HVC_FINALISE_EL2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("/nowhere/vmlinux", "/nowhere/vmlinux"), ("{path},kvm", "{path},kvm")],
)
def test_what_can_not_be_read_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = str(kernel(tmp_path, ISS))
    with pytest.raises(UsageError) as seen:
        read(text.format(path=path), None)
    assert said.format(path=path) in seen.value.message
