# SPDX-License-Identifier: Apache-2.0
"""The audit of real kernels: sound ones pass, and each broken handler is seen in its code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import kernels
from tests.fault.harness import Ran, ran
from tests.long.conftest import Tell
from tests.suites.broken import Broken, listed

CALLERS = "caller"
"""A kernel's own side of a restart: no handler is broken."""


def _audit(tmp_path: Path, kernel: str, *more: str) -> Ran:
    built = kernels.built(kernel)
    assert built.vmlinux is not None
    return ran(["audit", str(built.vmlinux), "--json", *more], tmp_path)


@pytest.mark.parametrize("kernel", ["patched", "unpatched", "scs"])
def test_sound_kernels_pass(tmp_path: Path, tell: Tell, kernel: str) -> None:
    done = _audit(tmp_path, kernel)
    tell(f"audit of {kernel}", "exit 0", f"exit {done.code}, {done.took_s:.1f} s")
    assert done.code == 0, done.out


def test_the_shadow_call_stack_is_proved_to_forbid_the_first_contract(
    tmp_path: Path, tell: Tell
) -> None:
    done = _audit(tmp_path, "scs", "--abi", "iss-6.12")
    said = json.loads(done.out)
    found = [each["registers"]["x18"] for each in said["callers"]]
    live = [each for each in found if each["state"] == "live" and each["address"]]
    tell("x18 behind the hcalls of scs, by iss-6.12", "live", f"{len(live)} of {len(found)} sites")
    assert done.code == 1
    assert found
    assert live == found


@pytest.mark.parametrize("broken", [b for b in listed() if b.server != CALLERS], ids=str)
def test_a_broken_handler_is_seen_in_its_code(tmp_path: Path, tell: Tell, broken: Broken) -> None:
    done = _audit(tmp_path, f"broken:{broken.name}")
    said = json.loads(done.out)
    found = {(each["server"], each["rule"], each["hcall"]) for each in said["findings"]}
    tell(f"audit of {broken.name}", f"{broken.server} {broken.hcall}", str(sorted(found)))
    assert done.code == 1
    assert any(server == broken.server for server, _, _ in found)
