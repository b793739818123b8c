# SPDX-License-Identifier: Apache-2.0
"""What arrived passes only where it is known at which EL, and by whose hcall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hilagent.probe import ended
from hilagent.probe.ended import Seen
from hilagent.probe.restart import Kind, Receiver, Times
from hilagent.result import Verdict
from tests.probe import arrivals
from tests.probe.legs import ARRIVED, BYE, CRASHED, DMESG, SILENT, START, STUB, by, leg

EL2 = "[    0.020000] CPU: All CPU(s) started at EL2\n"
CPUS = "[    0.010000] smp: Brought up 1 node, 2 CPUs\n"
BY_CRASH = replace(ARRIVED, console=CRASHED + START)


def test_a_kernel_whose_el_nobody_saw_does_not_pass() -> None:
    done = ended.judge(leg(), replace(ARRIVED, dmesg=DMESG.replace(EL2, "")))
    assert (done.verdict, done.findings) == (Verdict.UNFINISHED, ())
    assert "entry-el: its log doesn't say at which EL" in done.message
    done = ended.judge(leg(), replace(ARRIVED, dmesg=DMESG.replace(CPUS, "")))
    assert done.verdict is Verdict.UNFINISHED


@pytest.mark.parametrize(("el", "verdict"), [("EL2", Verdict.PASS), ("EL1", Verdict.FAIL)])
def test_what_its_log_lost_the_console_still_tells(el: str, verdict: Verdict) -> None:
    said = START + EL2.replace("EL2", el).replace("\n", "\r\n").encode()
    lost = DMESG.replace(EL2, "")
    done = ended.judge(leg(), replace(ARRIVED, console=BYE + said, dmesg=lost))
    assert done.verdict is verdict
    before = ended.judge(leg(), replace(ARRIVED, console=said[len(START) :] + BYE, dmesg=lost))
    assert before.verdict is Verdict.UNFINISHED


def test_a_crash_passes_only_where_every_cpu_was_asked_who_serves_it() -> None:
    done = ended.judge(leg(Kind.CRASH), BY_CRASH)
    assert (done.verdict, done.row.seen) == (Verdict.PASS, "kvm, asked before")
    unasked = ended.judge(leg(Kind.CRASH, sender=by("nvhe")), BY_CRASH)
    assert (unasked.verdict, unasked.row.seen) == (Verdict.UNFINISHED, "not observable")
    other = ended.judge(leg(Kind.CRASH, sender=replace(leg().sender, servers=STUB)), BY_CRASH)
    assert other.verdict is Verdict.UNFINISHED
    assert "CPU 1 by hyp-stub; kvm was expected" in other.message


def test_nobody_is_asked_where_no_hvc_is_issued_or_a_copy_serves() -> None:
    assert ended.judge(leg(sender=by("nvhe")), ARRIVED).verdict is Verdict.PASS
    assert ended.judge(leg(sender=by("nvhe")), ARRIVED).seen_server == "not observable"
    assert not leg(Kind.CRASH, sender=by("vhe")).asks
    assert not leg(sender=replace(leg().sender, servers=STUB)).misled


@pytest.mark.parametrize(
    ("kind", "entry"), [(Kind.FILE, "crash, KVM off"), (Kind.CRASH, "crash, KVM off")]
)
def test_what_another_server_served_is_no_pass_of_the_expected_one(kind: Kind, entry: str) -> None:
    seen = Seen(BYE, arrival=arrivals.kinds()[entry])
    done = ended.judge(leg(kind, Receiver.PAYLOAD), seen)
    assert done.verdict is Verdict.UNFINISHED
    assert "served by hyp-stub, by the registers" in done.message


STALL = b"[   21.0] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n"


def test_a_stall_of_a_kernel_that_arrived_is_told_and_no_crash() -> None:
    done = ended.judge(leg(), replace(ARRIVED, console=BYE + START + STALL))
    assert done.verdict is Verdict.PASS
    assert "on its way: rcu: INFO: rcu_preempt self-detected stall on CPU" in done.notes
    assert not ended.judge(leg(), replace(ARRIVED, console=STALL + BYE + START)).notes


def test_a_stall_of_a_kernel_that_never_arrived_is_its_crash_or_a_slow_hosts() -> None:
    stuck = replace(SILENT, console=BYE + START + STALL)
    done = ended.judge(leg(), stuck)
    assert done.verdict is Verdict.CRASH
    assert "the new kernel died: rcu: INFO" in done.message
    assert ended.judge(leg(), replace(stuck, stalled_s=8.0)).verdict is Verdict.INFRA
    assert ended.judge(leg(), replace(stuck, powered=False)).verdict is Verdict.INFRA


def test_a_kernel_that_was_ready_and_is_not_reached_any_more_is_the_labs() -> None:
    lost = replace(SILENT, console=BYE + START, times=Times(ready_s=7.0))
    done = ended.judge(leg(), lost)
    assert done.verdict is Verdict.INFRA
    assert "it was ready after 7.0 s, and then SSH was lost" in done.message
    assert ended.judge(leg(), replace(lost, times=Times())).verdict is Verdict.HANG
