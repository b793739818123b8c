# SPDX-License-Identifier: Apache-2.0
"""Names of system registers."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.link import wire
from hilagent.payload.sysregs import REGISTERS, encoding


def test_known_encodings() -> None:
    assert encoding("ESR_EL2") == 3 << 14 | 4 << 11 | 5 << 7 | 2 << 3
    assert encoding("vbar_el2") == encoding("S3_4_C12_C0_0") == 0xE600
    assert encoding(0xE600) == 0xE600


@pytest.mark.parametrize("bad", ["NOSUCH_EL1", "S4_0_C0_C0_0", "S3_0_C16_C0_0", -1, 0x10000])
def test_unknown_names_and_encodings_are_the_callers_mistake(bad: str | int) -> None:
    with pytest.raises(errors.UsageError):
        encoding(bad)


def test_every_register_of_the_frames_has_a_name_here() -> None:
    special = {"SP_EL2"}  # no encoding at EL2 itself
    assert {name.upper() for name in wire.SYSREGS + wire.ID_REGS} - special <= set(REGISTERS)


def test_no_two_names_share_an_encoding() -> None:
    assert len({encoding(name) for name in REGISTERS}) == len(REGISTERS)


@pytest.mark.hil
def test_the_assembler_agrees_with_every_encoding(tmp_path: Path) -> None:
    tool = shutil.which("aarch64-linux-gnu-as")
    dump = shutil.which("aarch64-linux-gnu-objdump")
    assert tool
    assert dump
    source = "\t.arch armv8.7-a+sve+sme\n" + "".join(
        f"\tmsr {name}, x0\n" if name == "OSLAR_EL1" else f"\tmrs x0, {name}\n"
        for name in REGISTERS
    )
    (tmp_path / "a.S").write_text(source)
    subprocess.run([tool, "-o", tmp_path / "a.o", tmp_path / "a.S"], check=True)
    out = subprocess.run([dump, "-d", tmp_path / "a.o"], check=True, capture_output=True, text=True)
    words = [int(word, 16) for word in re.findall(r":\t([0-9a-f]{8}) ", out.stdout)]
    # Bit 20 of MRS is o0 = op0 - 2 with bit 19; op0 is 2 or 3, so bit 20 is always set.
    assert [word >> 5 & 0xFFFF for word in words] == [encoding(name) for name in REGISTERS]
