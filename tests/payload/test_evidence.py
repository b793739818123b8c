# SPDX-License-Identifier: Apache-2.0
"""How much of a pair of frames is fetched, and what is made of it."""

import dataclasses

from hilagent.link import wire
from hilagent.payload import facts
from hilagent.result import Sig

CLEAN = Sig(
    seen=wire.Seen.RETURNED, vector=8, catch=0xFF, el=1, gpr_changed=0x60000, v_changed=0,
    sys_changed=0, x0=0, pstate_diff=0, pc_off=0, esr=0, flags=0, first=4, args=(0xFF,) * 8,
    landing_state=0, z_changed=0, elr=0,
)  # fmt: skip


def pair(judged: Sig) -> tuple[bytes, bytes]:
    """What the payload would send of two frames that differ in x17, SP_EL0 and v7."""
    sizes = facts.frame_sizes(judged, whole=False)
    before = wire.FRAME.pack(x=[17] * 31, sys=[5] * 32, v=[7] * 64)
    after = wire.FRAME.pack(x=[17] * 17 + [99] + [17] * 13, sys=[6] + [5] * 31, v=[8] * 64)
    return before[: sizes[0]], after[: sizes[1]]


def test_registers_that_did_not_change_are_not_fetched_twice() -> None:
    found = facts.partial_exchange(*pair(CLEAN), CLEAN)
    assert (found.before.x[17], found.after.x[17]) == (17, 99)
    assert found.after.sys == found.before.sys
    assert found.after.v == found.before.v == ()


def test_a_changed_system_register_is_fetched() -> None:
    judged = dataclasses.replace(CLEAN, sys_changed=1)
    found = facts.partial_exchange(*pair(judged), judged)
    assert (found.before.sys["SP_EL0"], found.after.sys["SP_EL0"]) == (5, 6)


def test_a_fault_brings_all_system_registers() -> None:
    judged = dataclasses.replace(CLEAN, seen=wire.Seen.EL1_FAULT)
    assert facts.partial_exchange(*pair(judged), judged).after.sys["SP_EL0"] == 6


def test_a_changed_vector_register_brings_everything() -> None:
    judged = dataclasses.replace(CLEAN, v_changed=0x80)
    found = facts.partial_exchange(*pair(judged), judged)
    assert (found.before.v[7], found.after.v[7]) == (7 | 7 << 64, 8 | 8 << 64)


def test_the_whole_is_the_whole() -> None:
    assert facts.frame_sizes(CLEAN, whole=True) == (wire.FRAME.size, wire.FRAME.size)
