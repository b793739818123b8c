# SPDX-License-Identifier: Apache-2.0
"""A kernel that never got ready is explained by its own hyp-stub, where that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hilagent import errors
from hilagent.build import kernel as kernels
from hilagent.link import wire
from hilagent.result import Finding, Verdict
from hilagent.session.linux import Boot
from hilagent.session.verdict import verdict_of
from hilagent.suites import observe, silent
from tests.probe.livesim import SCS, Kernel, profile_of
from tests.suites import fakes
from tests.suites.fakes import World

BOOT = Boot("broken:scs-x18", "none")
SILENCE = errors.TargetHang("it never got ready within 60 s; it said nothing at all")
X18 = Finding(
    "clobber", "HVC_FINALISE_EL2", "x18", "keeps its value", "0x16", (0,), ((6, 6),), "EL1h"
)


def _kernel(tmp_path: Path) -> kernels.Kernel:
    image, elf = tmp_path / "Image", tmp_path / "vmlinux"
    image.write_bytes(bytes(0x2000) + b"STUB" * 0x400)
    elf.write_bytes(b"")
    return kernels.Kernel(
        "broken:scs-x18", image, "6.12.117", "6.12.117", SCS, "0" * 64, vmlinux=elf
    )


def _places(monkeypatch: pytest.MonkeyPatch, **changes: int) -> None:
    places = {silent.START: 0x1000, silent.VECTORS: 0x3000, silent.END: 0x4000} | changes
    monkeypatch.setattr(
        silent, "symbols", lambda elf, names: {k: v for k, v in places.items() if v}
    )


def test_the_table_is_cut_out_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _places(monkeypatch)
    subject = silent.stub_of(_kernel(tmp_path))
    assert subject is not None
    assert (subject.server, subject.target, subject.offset) == ("hyp-stub", wire.Target.SLOT, 0)
    assert subject.blob == b"STUB" * 0x400


@pytest.mark.parametrize(
    "changes", [{silent.VECTORS: 0}, {silent.VECTORS: 0x3100}, {silent.VECTORS: 0x9000}]
)
def test_what_is_no_table_is_not_cut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]
) -> None:
    _places(monkeypatch, **changes)
    assert silent.stub_of(_kernel(tmp_path)) is None
    assert silent.stub_of(replace(_kernel(tmp_path), vmlinux=None)) is None


def _explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: object, *, cached: bool = True
) -> errors.TargetHang:
    def vectors(*args: Any, **more: Any) -> object:
        if isinstance(judged, Exception):
            raise judged
        return SimpleNamespace(judgement=judged)

    kernel = _kernel(tmp_path)
    monkeypatch.setattr(kernels, "cached", lambda name, config: kernel if cached else None)
    monkeypatch.setattr(observe, "vectors", vectors)
    session = fakes.session(tmp_path, World(Kernel(profile_of(SCS), "hyp-stub")))
    return silent.explained(session, fakes.chosen(BOOT), BOOT, SILENCE)


def test_a_stub_that_breaks_its_contract_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _places(monkeypatch)
    found = _explained(tmp_path, monkeypatch, SimpleNamespace(findings=(X18,)))
    assert verdict_of(found) is Verdict.HANG
    assert found.message.startswith("hyp-stub: broken:scs-x18, none never got ready")
    assert "clobber: HVC_FINALISE_EL2 x18" in found.message
    (finding,) = found.findings  # type: ignore[attr-defined]
    assert "run in the payload" in finding.evidence
    assert found.details == SILENCE.message  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("judged", "cached"),
    [
        (SimpleNamespace(findings=()), True),
        (None, True),
        (errors.LabError("no U-Boot"), True),
        (SimpleNamespace(findings=(X18,)), False),
    ],
)
def test_without_evidence_the_silence_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: object, cached: bool
) -> None:
    _places(monkeypatch)
    assert _explained(tmp_path, monkeypatch, judged, cached=cached) is SILENCE
