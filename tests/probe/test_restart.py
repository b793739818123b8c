# SPDX-License-Identifier: Apache-2.0
"""How a restart ended, by what was seen of it; and which code serves which restart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.probe import ended, received, restart, ruling
from hilagent.probe.arrival import FIRMWARE, NO_HVC
from hilagent.probe.ended import Seen
from hilagent.probe.received import Received
from hilagent.probe.restart import Kind, Receiver
from hilagent.probe.ruling import State
from hilagent.result import Verdict
from tests.probe import arrivals
from tests.probe.legs import ARRIVED, BYE, CRASHED, DMESG, ITS, OLD, PANIC, SILENT, START, by, leg


@pytest.mark.parametrize(
    ("kind", "mode", "el", "server"),
    [
        (Kind.FILE, "nvhe", 2, "trans-pgd"),
        (Kind.LOAD, "nvhe", 2, "trans-pgd"),
        (Kind.FILE, "none", 2, "trans-pgd"),
        (Kind.CRASH, "nvhe", 2, "kvm"),
        (Kind.CRASH, "hvhe", 2, "kvm"),
        (Kind.CRASH, "none", 2, "hyp-stub"),
        (Kind.CRASH, "absent", 2, "hyp-stub"),
        (Kind.FILE, "vhe", 2, NO_HVC),
        (Kind.CRASH, "vhe", 2, NO_HVC),
        (Kind.CRASH, "absent", 1, NO_HVC),
        (Kind.FILE, "nvhe", 0, "trans-pgd"),
    ],
)
def test_each_way_of_restarting_has_its_server(kind: Kind, mode: str, el: int, server: str) -> None:
    served = restart.served_by(kind, mode, el)
    assert served.server == server
    assert served.reason
    assert not served.refused


def test_protected_kvm_refuses_and_a_crash_is_not_tried() -> None:
    assert restart.served_by(Kind.FILE, "protected").refused
    assert restart.served_by(Kind.CRASH, "protected").never
    rows = restart.table(by("protected"))
    assert {row.verdict for row in rows} == {"not applicable"}


def test_the_table_has_every_way_of_restarting_once() -> None:
    rows = restart.table(by("nvhe"))
    assert [(row.way, row.receiver, row.server) for row in rows] == [
        ("kexec-file", "kernel", "trans-pgd"),
        ("kexec-file", "payload", "trans-pgd"),
        ("kexec-load", "kernel", "trans-pgd"),
        ("kexec-load", "payload", "trans-pgd"),
        ("crash", "kernel", "kvm"),
        ("crash", "payload", "kvm"),
    ]
    assert all(row.why for row in rows)


def test_a_kernel_that_arrives_right_passes_and_its_row_says_so() -> None:
    done = ended.judge(leg(), ARRIVED)
    assert (done.verdict, done.findings) == (Verdict.PASS, ())
    assert done.message == (
        "kexec-file from patched (nvhe) into patched, served by trans-pgd: arrived at EL2"
    )
    assert (done.row.server, done.row.el, done.row.verdict, done.row.count) == (
        *("trans-pgd", "EL2", "pass", 1),
    )


def _warned(number: int) -> str:
    lines = ["WARNING: x1-x3 nonzero in violation of boot protocol:"]
    lines += [f"\tx{n}: {int(n == number) * 0xABC:016x}" for n in (1, 2, 3)]
    return "".join(f"[    0.1] {line}\n" for line in lines)


NO_EL = DMESG.replace("[    0.020000] CPU: All CPU(s) started at EL2\n", "")
RULES: tuple[tuple[str, str, str], ...] = (
    ("entry-el", "CurrentEL", DMESG.replace("at EL2", "at EL1")),
    ("entry-el-same", "CurrentEL", NO_EL + "[ 0.1] CPU: CPUs started in inconsistent modes\n"),
    ("entry-mmu", "SCTLR.M", DMESG + "[    0.0] [Firmware Bug]: Booted with MMU enabled!\n"),
    ("entry-dtb", "x0", DMESG + "Error: invalid device tree blob at physical address 0x1\n"),
    ("entry-x1", "x1", DMESG + _warned(1)),
    ("entry-x2", "x2", DMESG + _warned(2)),
    ("entry-x3", "x3", DMESG + _warned(3)),
    ("entry-base", "image", DMESG + "[ 0.0] Kernel image misaligned at boot, please fix\n"),
    ("restart-cpus", "CPUs", DMESG.replace("2 CPUs", "1 CPU")),
    ("restart-kvm", "KVM", DMESG.replace("Hyp nVHE", "VHE")),
    ("restart-kvm", "KVM", DMESG.replace("kvm [1]: Hyp nVHE mode", "kvm [1]: error")),
)


@pytest.mark.parametrize(("rule", "what", "dmesg"), RULES)
def test_a_kernel_that_arrived_wrong_is_accused_of_exactly_that(
    rule: str, what: str, dmesg: str
) -> None:
    done = ended.judge(leg(), replace(ARRIVED, dmesg=dmesg))
    assert done.verdict is Verdict.FAIL
    assert [(each.rule, each.what) for each in done.findings] == [(rule, what)]
    assert "served by trans-pgd" in done.findings[0].evidence
    assert done.findings[0].hcall == "HVC_SOFT_RESTART"
    assert f"served by trans-pgd: {rule}: {what}" in done.message


def test_every_rule_of_a_kernel_has_a_mutant() -> None:
    assert {rule for rule, _, _ in RULES} == {rule.id for rule in received.RULES}


def test_a_kernel_log_without_evidence_holds_nothing() -> None:
    states = {each.rule.id: each.state for each in received.judge(Received("", cpus=2))}
    assert states["entry-el"] is State.NOT_OBSERVABLE
    assert states["entry-el-same"] is State.NOT_OBSERVABLE
    assert states["restart-cpus"] is State.NOT_OBSERVABLE
    warned = "WARNING: x1-x3 nonzero in violation of boot protocol:"
    states = {each.rule.id: each.state for each in received.judge(Received(warned))}
    assert states["entry-x1"] is State.NOT_OBSERVABLE
    assert states["restart-cpus"] is State.NOT_APPLICABLE
    assert states["restart-kvm"] is State.NOT_APPLICABLE


def test_el1_is_a_precondition_where_nobody_promised_el2() -> None:
    wrong = replace(ARRIVED, dmesg=DMESG.replace("at EL2", "at EL1"))
    done = ended.judge(leg(sender=by("nvhe", 0)), wrong)
    assert (done.verdict, done.findings) == (Verdict.PRECONDITION, ())


@pytest.mark.parametrize(("kind", "entry"), [("trans-pgd", "kexec"), ("kvm", "crash under nVHE")])
def test_the_payload_says_who_served_it(kind: str, entry: str) -> None:
    way = Kind.CRASH if kind == "kvm" else Kind.FILE
    done = ended.judge(leg(way, Receiver.PAYLOAD), Seen(BYE, arrival=arrivals.kinds()[entry]))
    assert (done.verdict, done.seen_server, done.el) == (Verdict.PASS, kind, 2)
    assert any("HVC_SOFT_RESTART of iss-6.12-scs" in note for note in done.notes)


def test_a_server_that_was_not_expected_is_told() -> None:
    state = arrivals.kinds()["crash, KVM off"]
    done = ended.judge(leg(Kind.FILE, Receiver.PAYLOAD), Seen(BYE, arrival=state))
    assert done.notes[0] == "served by hyp-stub, by the registers; trans-pgd was expected"


def test_a_broken_entry_into_the_payload_fails() -> None:
    state = arrivals.arrival("trans-pgd", x1=1, SCTLR_EL2=4)
    done = ended.judge(leg(Kind.FILE, Receiver.PAYLOAD), Seen(BYE, arrival=state))
    assert done.verdict is Verdict.FAIL
    assert [each.rule for each in done.findings] == ["entry-dcache", "entry-x1"]
    assert "(and 1 more)" in done.message


ANNOUNCED = BYE + b"\r\nHIL: payload at EL1, entered at EL1, boot 00000001\r\n"


@pytest.mark.parametrize(("el", "verdict"), [(2, Verdict.FAIL), (0, Verdict.PRECONDITION)])
def test_the_payload_at_el1_is_known_by_its_first_line(el: int, verdict: Verdict) -> None:
    into = leg(Kind.FILE, Receiver.PAYLOAD, sender=by("nvhe", el))
    done = ended.judge(into, Seen(ANNOUNCED, trouble=""))
    assert done.verdict is verdict
    assert [each.rule for each in done.findings] == (["entry-el"] if el else [])


def test_what_runs_and_can_not_be_asked_is_unfinished() -> None:
    at_el2 = Seen(ANNOUNCED.replace(b"EL1", b"EL2"))
    assert ended.judge(leg(receiver=Receiver.PAYLOAD), at_el2).verdict is Verdict.UNFINISHED
    noisy = replace(at_el2, trouble="too many bad packets")
    assert "too many bad packets" in ended.judge(leg(receiver=Receiver.PAYLOAD), noisy).message
    assert ended.judge(leg(), replace(ARRIVED, dmesg="")).verdict is Verdict.UNFINISHED


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, Verdict.HANG, "never arrived: nothing for 30 s, and from power the board starts"),
        ({"boots": None}, Verdict.UNFINISHED, "not started from power since"),
        ({"boots": False}, Verdict.INFRA, "doesn't start from power either"),
        ({"powered": False}, Verdict.INFRA, "lost its power"),
        ({"stalled_s": 8.0}, Verdict.INFRA, "this host stood still for 8.0 s"),
        ({"console": b""}, Verdict.HANG, "never left; the console said nothing at all"),
        ({"console": BYE + START}, Verdict.HANG, "the new kernel started and never got ready"),
    ],
)
def test_silence_accuses_only_with_evidence(
    changes: dict[str, object], verdict: Verdict, said: str
) -> None:
    done = ended.judge(leg(), replace(SILENT, **changes))  # type: ignore[arg-type]
    assert done.verdict is verdict
    assert said in done.message


def test_never_arrived_says_what_silence_may_be() -> None:
    done = ended.judge(leg(), SILENT)
    assert "an MMU left on" in done.hint
    assert [each.rule for each in done.findings] == ["restart-arrives"]
    exposed = ended.judge(leg(sender=replace(leg().sender, interrupts=ITS)), SILENT)
    assert "LPI tables" in exposed.hint
    by_vhe = ended.judge(leg(sender=by("vhe")), SILENT)
    assert by_vhe.findings[0].hcall == "soft restart without an hvc"


@pytest.mark.parametrize(
    ("kind", "console", "who"),
    [
        (Kind.FILE, BYE + START + PANIC, "the new kernel died: Kernel panic - not syncing: VFS"),
        (Kind.FILE, BYE + PANIC, "what was entered died"),
        (Kind.FILE, PANIC, "the sending kernel died before it left: Kernel panic"),
        (Kind.CRASH, CRASHED + START + PANIC, "the new kernel died: Kernel panic - not syncing"),
    ],
)
def test_who_panicked_is_named(kind: Kind, console: bytes, who: str) -> None:
    done = ended.judge(leg(kind), replace(SILENT, console=console))
    assert done.verdict is Verdict.CRASH
    assert who in done.message


def test_the_crash_that_was_asked_for_is_nobodys_fault() -> None:
    seen = replace(ARRIVED, console=CRASHED + START)
    assert ended.judge(leg(Kind.CRASH), seen).verdict is Verdict.PASS
    silent = replace(SILENT, console=CRASHED)
    assert "never arrived" in ended.judge(leg(Kind.CRASH), silent).message


def test_a_kernel_that_died_is_still_heard_about_its_entry() -> None:
    at_el1 = START + b"[    0.1] CPU: All CPU(s) started at EL1\r\n"
    done = ended.judge(leg(), replace(SILENT, console=BYE + at_el1 + PANIC))
    assert done.verdict is Verdict.CRASH
    assert [each.rule for each in done.findings] == ["entry-el"]
    assert "before that, entry-el: EL1" in done.message
    hung = ended.judge(leg(), replace(SILENT, console=BYE + at_el1))
    assert (hung.verdict, [each.rule for each in hung.findings]) == (Verdict.HANG, ["entry-el"])


def test_the_old_boot_does_not_pass_for_the_new_one() -> None:
    stayed = ended.judge(leg(), Seen(b"", run_id=OLD, dmesg=DMESG))
    assert stayed.verdict is Verdict.FAIL
    assert "nothing happened" in stayed.message
    again = ended.judge(leg(), Seen(BYE, run_id=OLD, dmesg=DMESG))
    assert again.verdict is Verdict.FAIL
    assert "as the old boot" in again.message
    stranger = ended.judge(leg(), Seen(BYE, run_id="0" * 16, dmesg=DMESG))
    assert stranger.verdict is Verdict.INFRA


def test_a_reset_is_told_from_an_arrival() -> None:
    banner = b"\r\nU-Boot 2023.01 (Jan 01 2023)\r\n\r\nDRAM:  1 GiB\r\n"
    done = ended.judge(leg(), replace(ARRIVED, console=BYE + banner + START))
    assert done.verdict is Verdict.CRASH
    assert "restarted from its firmware instead: U-Boot 2023.01" in done.message


@pytest.mark.parametrize(
    ("why", "verdict"),
    [
        (errors.Unsupported("no such system call"), Verdict.UNSUPPORTED),
        (errors.LabError("no space left"), Verdict.INFRA),
        (errors.PreconditionError("no kernel is loaded"), Verdict.PRECONDITION),
        (errors.TargetCrash("it fell"), Verdict.FAIL),
        (errors.UsageError("not an arm64 Image"), Verdict.INFRA),
    ],
)
def test_a_refusal_keeps_its_class(why: errors.HilagentError, verdict: Verdict) -> None:
    done = ended.judge(leg(), Seen(refused=why))
    assert done.verdict is verdict
    assert why.message in done.message


def test_protected_kvm_must_refuse() -> None:
    protected = leg(sender=by("protected"))
    refused = ended.judge(protected, Seen(refused=errors.Unsupported("EBUSY")))
    assert refused.verdict is Verdict.PASS
    let_through = ended.judge(protected, ARRIVED)
    assert let_through.verdict is Verdict.FAIL
    assert "it was let through" in let_through.message
    assert ended.judge(protected, Seen(refused=errors.LabError("x"))).verdict is Verdict.INFRA


def test_a_chain_is_one_line_with_the_worst_of_it() -> None:
    good = ended.judge(leg(), ARRIVED).row
    bad = ended.judge(leg(), SILENT).row
    other = ended.judge(leg(Kind.CRASH), replace(ARRIVED, console=CRASHED + START)).row
    rows = restart.summarise([good, bad, good, other])
    assert [(row.way, row.count, row.verdict) for row in rows] == [
        ("kexec-file", 3, "hang"),
        ("crash", 1, "pass"),
    ]
    assert rows[0].el == "EL2"
    assert restart.summarise([*restart.table(by("protected"))][:1])[0].verdict == "not applicable"


def test_who_a_kernels_entry_accuses() -> None:
    wrong = DMESG + _warned(1)
    for server, hcall in ((FIRMWARE, "boot"), (NO_HVC, "soft restart without an hvc")):
        (found,) = ruling.findings(received.judge(Received(wrong, server)))
        assert found.hcall == hcall
        assert "served by" not in found.evidence


@given(st.binary(max_size=400), st.sampled_from(list(Kind)), st.sampled_from(list(Receiver)))
def test_no_console_makes_the_judge_fall_or_pass(
    noise: bytes, kind: Kind, receiver: Receiver
) -> None:
    done = ended.judge(leg(kind, receiver), replace(SILENT, console=BYE + noise))
    assert done.verdict is not Verdict.PASS
    assert done.message.startswith(str(done.leg))
