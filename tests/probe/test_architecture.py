# SPDX-License-Identifier: Apache-2.0
"""What the payload's own recorder must see, and what accuses the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hilagent import abi, probe
from hilagent.link.wire import Origin, Seen
from hilagent.payload import SweepRequest
from hilagent.probe import architecture
from hilagent.result import Sig, SweepPass

VECTORS = {Origin.EL1H: 8, Origin.EL2H: 4, Origin.EL2T: 0}
RECORDED = Sig(
    seen=Seen.RECORDED, vector=8, catch=0xFF, el=1, gpr_changed=0, v_changed=0, sys_changed=0,
    x0=0, pstate_diff=0, pc_off=0, esr=0x5A000000, flags=0, first=0, args=(0xFF,) * 8,
    landing_state=0, z_changed=0, elr=0,
)  # fmt: skip


def _passes(**changes: Any) -> tuple[list[SweepPass], tuple[SweepRequest, ...]]:
    wanted = probe.requests(abi.load("iss-2015"), "hyp-stub", "recorder", (0, 1))
    passes = []
    for request in wanted:
        sig = replace(RECORDED, vector=VECTORS[Origin(request.origin)])
        passes.append(
            SweepPass(
                cpu=request.cpu,
                origin=request.origin,
                pass_no=request.pass_no,
                first=request.first,
                count=request.count,
                seed=request.seed,
                sigs=(replace(sig, **changes),),
                runs=((0, request.count, 0),),
                left_out=0,
                ticks=1,
            )
        )
    return passes, wanted


def test_a_cpu_that_does_as_the_architecture_says_is_not_accused() -> None:
    passes, wanted = _passes()
    assert architecture.judge(passes, wanted) == ([], ())
    assert architecture.withheld(passes) == {}
    assert architecture.refusal(passes) == ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"vector": 9}, "vector"),
        ({"seen": Seen.LOST, "vector": 8}, "vector"),
        ({"esr": 0x5E000000}, "EC"),
        ({"esr": 0x58000000}, "IL"),
        ({"esr": 0x5A000001}, "ISS"),
        ({"esr": 0x1_5A000000}, "ESR"),
        ({"pc_off": 4}, "ELR"),
        ({"pstate_diff": 1 << 22}, "SPSR.PAN"),
        ({"pstate_diff": 1}, "SPSR.M"),
        ({"gpr_changed": 4}, "x2"),
        ({"v_changed": 4}, "v2"),
        ({"sys_changed": 4}, "TPIDR_EL0"),
        ({"flags": 1 << 31}, "signature"),
    ],
)
def test_a_cpu_that_does_otherwise_is_accused_of_it(changes: dict[str, int], what: str) -> None:
    passes, wanted = _passes(**changes)
    findings, gaps = architecture.judge(passes, wanted)
    assert what in {finding.what for finding in findings}
    assert {finding.rule for finding in findings} == {"architecture"}
    assert findings[0].cpus == (0, 1)
    assert gaps == ()


def test_a_missing_origin_is_a_gap() -> None:
    passes, wanted = _passes()
    _, gaps = architecture.judge([p for p in passes if p.origin != Origin.EL2T], wanted)
    assert {gap.origin for gap in gaps} == {Origin.EL2T}


def test_hvc_that_firmware_disables_accuses_nobody() -> None:
    passes, _ = _passes(seen=Seen.EL1_FAULT, esr=0x02000000)
    assert "SCR_EL3.HCE" in architecture.refusal(passes)
    passes, _ = _passes(seen=Seen.LOST, esr=0x96000000)
    assert "no hvc reaches the recorder" in architecture.refusal(passes)


def test_what_the_recorder_changes_is_withheld_by_cpu_and_origin() -> None:
    passes, _ = _passes(pstate_diff=1 << 22, gpr_changed=1 << 5, flags=0x10)
    withheld = architecture.withheld(passes)
    assert withheld[0, Origin.EL1H] == {"PAN", "x5", "SError"}
    assert len(withheld) == 6
