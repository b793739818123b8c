# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hilagent.probe import esr


@given(st.integers(0, (1 << 64) - 1))
def test_every_value_decodes_to_one_line(value: int) -> None:
    decoded = esr.decode(value)
    assert str(decoded).startswith(f"{value:#x}: EC ")
    assert "\n" not in str(decoded)
    assert decoded.ec << 26 | decoded.il << 25 | decoded.iss == value & 0xFFFFFFFF


def test_an_hvc_names_its_immediate() -> None:
    decoded = esr.decode(0x5A00BEEF)
    assert (decoded.ec, decoded.il, decoded.name) == (0x16, 1, "HVC")
    assert decoded.fields == {"immediate": "0xbeef"}


def test_a_data_abort_names_status_direction_and_register() -> None:
    decoded = esr.decode(0x96000040)
    assert decoded.name == "data abort at the same EL"
    assert decoded.fields["DFSC"] == "address size fault, level 0"
    assert decoded.fields["access"] == "write"
    full = esr.decode(0x25 << 26 | 1 << 24 | 3 << 22 | 30 << 16 | 1 << 10 | 0x21)
    assert full.fields["DFSC"] == "alignment fault"
    assert (full.fields["bytes"], full.fields["register"], full.fields["FnV"]) == ("8", "x30", "1")


def test_a_trapped_register_is_named_by_its_encoding() -> None:
    iss = 3 << 20 | 0 << 17 | 0 << 14 | 0 << 10 | 31 << 5 | 4 << 1 | 1
    decoded = esr.decode(0x18 << 26 | 1 << 25 | iss)
    assert decoded.fields == {"register": "S3_0_C0_C4_0", "access": "read", "Rt": "x31"}


def test_reserved_classes_and_statuses_say_so() -> None:
    assert esr.decode(0x3F << 26).name == "reserved class 0x3f"
    assert esr.fault_status(0x3F) == "reserved status 0x3f"
    assert esr.fault_status(0x10) == "synchronous external abort"
    assert esr.fault_status(0x16).endswith("walk, level 2")
