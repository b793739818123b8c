# SPDX-License-Identifier: Apache-2.0
"""A leg into the payload passes only as a whole circle, and only by the server it was meant for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from hilagent import abi, errors, probe
from hilagent.linux.facts import Entry
from hilagent.payload.cargo import BundleLost
from hilagent.probe import ended
from hilagent.probe.ended import Ended, Seen
from hilagent.probe.judgement import Judgement
from hilagent.probe.restart import Kind, Receiver
from hilagent.result import Verdict
from hilagent.session.linux import Boot
from hilagent.session.restart import Trip, Way
from hilagent.session.subject import Subject
from hilagent.suites import kernels, legs
from tests.probe import arrivals, sim
from tests.probe.legs import BYE, KVM, STUB, leg

BOOT = Boot("patched")
CARGO: Any = object()
ARRIVED = ended.judge(leg(receiver=Receiver.PAYLOAD), Seen(BYE, arrival=arrivals.kinds()["kexec"]))
BROKEN = ended.judge(
    leg(receiver=Receiver.PAYLOAD), Seen(BYE, arrival=arrivals.arrival("trans-pgd", x1=1))
)


class Session:
    """Remembers why it was tainted; ``home`` is what the way back comes to."""

    def __init__(self, home: Callable[[], Any] = lambda: None) -> None:
        self.home, self.tainted = home, list[str]()

    def taint(self, why: str) -> None:
        self.tainted.append(why)

    def leave_payload(self, trip: Trip) -> Any:
        return self.home()


def _facts(cpus: int = 2) -> Any:
    return SimpleNamespace(
        cpus_online=tuple(range(cpus)), available_bytes=1, entry=Entry.EL2,
        kvm=SimpleNamespace(value="nvhe"), cmdline="",
    )  # fmt: skip


def _raises(exc: Exception) -> Callable[[], Any]:
    def home() -> Any:
        raise exc

    return home


def _home(session: Session, done: Ended, **trip: Any) -> Ended:
    some: Any = session
    return legs._home(some, Trip(Way(), BOOT, "payload", **trip), done, _facts())


def test_a_circle_that_closes_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "facts_of", lambda linux: _facts())
    done = _home(Session(), ARRIVED, cargo=CARGO)
    assert done.verdict is Verdict.PASS
    assert "a full circle: 2 of 2 CPUs" in done.notes
    monkeypatch.setattr(kernels, "facts_of", lambda linux: _facts(1))
    assert _home(Session(), ARRIVED, cargo=CARGO).verdict is Verdict.UNFINISHED


@pytest.mark.parametrize(
    ("session", "trip", "said"),
    [
        (Session(), {"no_cargo": "no bundle came along"}, "no bundle came along"),
        (Session(), {}, "has no kernel to start"),
        (
            Session(_raises(errors.PreconditionError("no handover: CPU 1 still runs"))),
            {"cargo": CARGO},
            "no handover: CPU 1 still runs",
        ),
    ],
)
def test_a_circle_that_does_not_close_is_unfinished(
    session: Session, trip: dict[str, Any], said: str
) -> None:
    done = _home(session, ARRIVED, **trip)
    assert (done.verdict, done.findings) == (Verdict.UNFINISHED, ())
    assert "the circle is not closed" in done.message
    assert said in done.message
    assert session.tainted
    assert _home(session, BROKEN, **trip).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("session", "trip"),
    [
        (Session(), {"no_cargo": "its CRC is not 0x1", "lost": True}),
        (Session(_raises(BundleLost("its CRC is not 0x1"))), {"cargo": CARGO}),
    ],
)
def test_an_initrd_that_did_not_arrive_as_it_was_loaded_accuses_the_restart(
    session: Session, trip: dict[str, Any]
) -> None:
    done = _home(session, ARRIVED, **trip)
    assert done.verdict is Verdict.FAIL
    assert [(each.rule, each.found) for each in done.findings] == [
        ("restart-initrd", "its CRC is not 0x1")
    ]
    both = _home(session, BROKEN, **trip)
    assert [each.rule for each in both.findings] == ["entry-x1", "restart-initrd"]
    assert both.message == BROKEN.message


def test_what_happens_on_the_way_home_does_not_hide_an_accusation() -> None:
    for exc in (errors.LinkError("no answer"), errors.TargetHang("never got ready")):
        with pytest.raises(type(exc)):
            _home(Session(_raises(exc)), ARRIVED, cargo=CARGO)
        done = _home(Session(_raises(exc)), BROKEN, cargo=CARGO)
        assert (done.verdict, done.findings) == (Verdict.FAIL, BROKEN.findings)


def _swept(monkeypatch: pytest.MonkeyPatch, judged: Judgement, done: Ended = ARRIVED) -> Ended:
    monkeypatch.setattr(legs, "_sweep", lambda *args, **options: judged)
    settings: Any = SimpleNamespace(subjects=(Subject("reference-stub", "hyp-stub"),))
    some: Any = Session()
    return legs._swept(some, settings, done, 1)


def test_a_sweep_after_it_passes_only_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = abi.load("iss-6.12")
    wanted = probe.narrow(profile, "hyp-stub")
    passes = [sim.sweep(profile, "hyp-stub", request) for request in wanted]
    whole = probe.judge(profile, "hyp-stub", passes, sim.lab(), wanted=wanted)
    assert _swept(monkeypatch, whole) == ARRIVED
    part = probe.judge(profile, "hyp-stub", passes[1:], sim.lab(), wanted=wanted)
    assert not part.findings
    done = _swept(monkeypatch, part)
    assert done.verdict is Verdict.UNFINISHED
    assert "after it, " in done.message
    assert "never swept" in done.message
    assert _swept(monkeypatch, part, BROKEN) == BROKEN


def _leg(monkeypatch: pytest.MonkeyPatch, kind: Kind, servers: dict[int, str]) -> Any:
    monkeypatch.setattr(
        kernels, "sender_of", lambda linux, facts: replace(leg().sender, servers={})
    )
    monkeypatch.setattr(kernels, "servers", lambda linux: servers)
    linux: Any = None
    return legs._leg(kind, linux, Receiver.KERNEL, BOOT, _facts(), 1)


def test_before_a_crash_every_cpu_is_asked_who_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _leg(monkeypatch, Kind.CRASH, KVM).sender.servers == KVM
    with pytest.raises(
        errors.PreconditionError, match="CPU 1 by hyp-stub; kvm was expected"
    ) as exc:
        _leg(monkeypatch, Kind.CRASH, STUB)
    assert "enable_virt_at_load" in exc.value.hint
    assert _leg(monkeypatch, Kind.FILE, STUB).sender.servers == {}
