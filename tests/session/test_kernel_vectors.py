# SPDX-License-Identifier: Apache-2.0
"""A kernel's own vectors as a subject: what is named, left out, and wrong by code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import abi
from hilagent.errors import UsageError
from hilagent.session.kernel_vectors import BEYOND, read
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


def test_what_may_leave_is_not_issued_and_nobody_is_accused(tmp_path: Path) -> None:
    may = "EVERY=cmp x17, #9; b.ne 7f; cbnz x5, 7f; msr hcr_el2, x1; 7:"
    found = read(str(kernel(tmp_path, ISS, may)), None)
    assert (found.skip, found.undecided, found.findings) == ((), (9,), ())
    assert any(line.startswith("unknown (0x9): it may be that ") for line in found.left_out)


def test_a_number_of_which_some_bits_are_looked_at_is_accused_at_the_next(tmp_path: Path) -> None:
    found = read(str(kernel(tmp_path, ISS, "EVERY=and x17, x17, #0xff")), None)
    assert found.aliases == ((6, 0xFF),)
    (finding,) = found.findings
    assert (finding.hcall, finding.immediates) == ("unknown", ((0x106, 0x106),))
    half = read(str(kernel(tmp_path, X0, "SELECTOR=w0")), None)
    (finding,) = half.findings
    assert (finding.hcall, finding.immediates) == ("unknown", ((BEYOND, BEYOND),))


def test_values_of_x0_that_an_immediate_looks_at_are_known(tmp_path: Path) -> None:
    both = "EVERY=cbnz x17, 7f; cmp x0, #3; b.eq __finalise_el2; 7:"
    found = read(str(kernel(tmp_path, ISS, both)), None)
    assert (found.skip, found.undecided, found.unnamed) == ((), (), (3,))


@pytest.mark.parametrize(
    ("text", "said"),
    [("/nowhere/vmlinux", "/nowhere/vmlinux"), ("{path},kvm", "{path},kvm")],
)
def test_what_can_not_be_read_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = str(kernel(tmp_path, ISS))
    with pytest.raises(UsageError) as seen:
        read(text.format(path=path), None)
    assert said.format(path=path) in seen.value.message
