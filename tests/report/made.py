# SPDX-License-Identifier: Apache-2.0
"""Run directories made for reports: a journal and a console log, as a run leaves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilagent import journal
from hilagent.console.tape import Tape
from hilagent.console.watch import incidents
from hilagent.journal import Journal
from hilagent.link import frame, wire
from hilagent.result import Finding, Outcome, Verdict
from hilagent.testing import ManualClock

REGISTERS = [*(f"x{n}" for n in range(31)), "v", "SP", "NZCV", "DAIF", "SP0", "EL1", "EL2"]
FINDING = Finding(
    "clobber", "HVC_GET_VECTORS", "x19", "keeps its value", "0x13", (0, 1), ((1, 1),), "EL1h",
    evidence="was 0xaead",
)  # fmt: skip
RANGES = [
    [0, 0, "unknown", "returns, x0 unchanged", True],
    [1, 1, "HVC_GET_VECTORS", "returns, x0 = VBAR_EL2", True],
    [2, 0xBEEE, "unknown", "returns, x0 unchanged", True],
    [0xBEEF, 0xBEEF, "unknown", "sets VBAR_EL2 from x0", False],
    [0xBEF0, 0xFFFF, "unknown", "returns, x0 unchanged", True],
]
BANNER = b"U-Boot 2023.01 (Jan 01 2023)\r\nDRAM:  1 GiB\r\n=> booti\r\n"
PANIC = b"[    1.5] Kernel panic - not syncing: sysrq triggered crash\r\n"
Said = Sequence[tuple[float, bytes]]


def packet(body: bytes = b"x") -> bytes:
    """Return a packet of the payload's protocol, as it goes over the line."""
    return frame.encode(frame.Packet(wire.Kind.REPLY, 1, 1, 0, 7, 7, body))


SAID: Said = ((0.5, BANNER), (1.5, packet()))


def run(
    folder: Path,
    *outcomes: Outcome,
    said: Said = SAID,
    more: Callable[[Journal], None] = lambda log: None,
    end: dict[str, Any] | None = None,
    ends: bool = True,
    plan: Sequence[str] = (),
    other: Mapping[str, object] | None = None,
    **facts: object,
) -> journal.Run:
    """Write a run and return it as it is read back.

    Args:
        outcomes: one a second, from 2 s on.
        said: by the board, and when, in seconds of the run.
        more: writes what was observed.
        facts, other: over those of a run on qemu-virt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock = ManualClock()
    began_s = clock.now_s()
    log = Journal(folder, clock=clock)
    log.run(**{"board": "qemu-virt", "description": "QEMU virt", "emulated": True,
               "cpu_model": "cortex-a57", "abi": "iss-2015", "vectors": ["reference-stub"],
               "hilagent": "0.1.0", "host": "lab", "command": ["hilagent", "run", "qemu-virt"],
               "definition": {"compatible": ["linux,dummy-virt"]},
               **facts, **(other or {})})  # fmt: skip
    log.plan([*(outcome.test for outcome in outcomes), *plan])
    more(log)
    clock.advance(1)
    for outcome in outcomes:
        clock.advance(1)
        log.outcome(outcome)
    if ends:
        log.write("end", **(end or {}))
    log.close()
    tape = Tape(folder)
    for t, data in said:
        tape.received(data, int((began_s + t) * 1e9))
    tape.close()
    return journal.read(folder)


def observed(log: Journal) -> None:
    """Write a dispatch map with one wrong cell, a clobber matrix with one, and two restarts."""
    for incident in incidents(PANIC):
        log.observation("incident", **incident.record())
    about = {"subject": "reference-stub", "server": "hyp-stub", "origin": "EL1h"}
    log.observation("dispatch", **about, ranges=RANGES)
    cells = list("=" + "." * 16 + "cc" + "X" + "." * 18)
    rows = [{"hcall": "HVC_GET_VECTORS", "cells": cells}]
    log.observation("clobber", **about, registers=REGISTERS, rows=rows)
    row = {"hcall": "HVC_GET_VECTORS", "contract": ["x0", "x17", "x18"], "code": ["x0", "x19"]}
    log.observation("code", **about, rows=[row])
    before = {"x": list(range(31)), "sp": 1, "pc": 2, "pstate": 0x3C5, "esr": 0, "far": 0,
              "seen": 0, "imm": 1, "sys": {"VBAR_EL1": 5, "VBAR_EL2": 6}, "v": []}  # fmt: skip
    after = {**before, "x": [99, *range(1, 19), 0x13, *range(20, 31)], "esr": 0x5A000001,
             "sys": {"VBAR_EL1": 7, "VBAR_EL2": 6}}  # fmt: skip
    log.observation("direct", subject="reference-stub", hcall="HVC_GET_VECTORS",
                    done={"before": before, "after": after, "sig": {}})  # fmt: skip
    log.observation(
        "live", boot="patched", mode="nvhe", server="kvm", refused="", cpus=[0], abi="iss-6.12",
        evidence=["hvc #0x1: x0 = 0x8000"], left_out=[["HVC_CALL_FUNC", 0, "nothing is mapped"]],
        cells=[["HVC_GET_VECTORS", "dispatch", "held", ""],
               ["HVC_GET_VECTORS", "result", "broken", "x0 is 5"],
               ["unknown", "dispatch", "not-applicable", "it calls nothing"]],
    )  # fmt: skip
    for number, verdict in enumerate(("pass", "fail"), 1):
        log.observation(
            "leg", boot="patched", way="kexec-file", receiver="kernel", number=number,
            verdict=verdict, message="arrived at EL2", notes=["HCR_EL2 0x80000000: RW"], named="",
            times={"left_s": 0.3, "first_s": 0.8, "ready_s": 1.7}, el=2, server="trans-pgd",
            seen_server="", available_bytes=1 << 30,
            rules=[["entry-el", "held", ""], ["entry-x1", "broken", "x1 is 5"]],
        )  # fmt: skip


def all_classes() -> list[Outcome]:
    """Return a test of each verdict."""
    made = [Outcome(f"dispatch[hyp-stub-{v.value}]", v, f"was {v.value}", "line 1\nline 2")
            for v in Verdict]  # fmt: skip
    failed = Outcome("clobber[hyp-stub-x19]", Verdict.FAIL, "clobber: x19", "exchange\nx19 1 2",
                     (FINDING,), (Verdict.FAIL, Verdict.FAIL), 1.25)  # fmt: skip
    return [*made, failed]
