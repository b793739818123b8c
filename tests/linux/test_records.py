# SPDX-License-Identifier: Apache-2.0
"""Bytes from the device: whole and true, or an error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.link.wire import SYSREGS, Origin, Seen
from hilagent.linux import records, wire
from hilagent.linux.exchange import LiveExchange, LiveSweep
from hilagent.linux.records import Record
from hilagent.linux.request import Request
from tests.linux import fake_module as fake

ASKED = [Record(wire.Op.IDENTIFY, 1, 0, b""), Record(wire.Op.HVC, 2, 0, Request().packed())]


def _replies() -> bytes:
    module = fake.FakeModule({wire.Op.IDENTIFY: fake.identity(), wire.Op.HVC: fake.exchange(7)})
    return module.speak(b"".join(records.packed(each) for each in ASKED))


def test_replies_come_back_in_order_with_their_bodies() -> None:
    first, second = records.replies(_replies(), ASKED)
    assert records.identity(first).release == fake.RELEASE.decode()
    assert records.exchange(second).exchange.after.x[0] == 7


def test_an_answer_cut_anywhere_is_a_lost_link() -> None:
    raw = _replies()
    for size in range(len(raw)):
        with pytest.raises(errors.LinkError, match="cut short"):
            records.replies(raw[:size], ASKED)


def test_one_flipped_bit_anywhere_is_a_lost_link() -> None:
    raw = _replies()
    for at in range(len(raw)):
        bent = bytearray(raw)
        bent[at] ^= 1 << at % 8
        with pytest.raises(errors.LinkError):
            records.replies(bytes(bent), ASKED)


def test_more_than_was_asked_for_is_a_lost_link() -> None:
    with pytest.raises(errors.LinkError, match="3 bytes after"):
        records.replies(_replies() + b"abc", ASKED)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record(wire.Op.IDENTIFY, 9, 0, b""), "answered request 9, not 1: its reply"),
        (Record(wire.Op.HVC, 1, 0, b""), "its reply is of another"),
        (Record(0, 0, -74, b"a damaged record"), "answered request 0, not 1: a damaged record"),
    ],
)
def test_a_reply_to_another_request_is_a_lost_link(record: Record, said: str) -> None:
    with pytest.raises(errors.LinkError, match=said):
        records.replies(records.packed(record), ASKED[:1])


def test_another_version_of_the_module_is_named_as_such() -> None:
    raw = bytearray(_replies())
    raw[4] = wire.VERSION + 1
    with pytest.raises(errors.LinkError, match="version 2") as found:
        records.replies(bytes(raw), ASKED)
    assert "another version" in found.value.hint


@given(st.binary(max_size=4000))
def test_what_is_no_reply_is_never_taken_for_one(raw: bytes) -> None:
    with pytest.raises(errors.LinkError):
        records.replies(raw, ASKED)


def _sweep_body(record: Record) -> LiveSweep:
    return records.sweep(record, swept="imm")


DECODERS: tuple[Callable[[Record], object], ...] = (
    records.identity,
    records.exchange,
    _sweep_body,
)


@given(st.sampled_from(DECODERS), st.binary(max_size=600))
def test_a_body_of_any_bytes_is_refused_or_decoded(
    decode: Callable[[Record], object], body: bytes
) -> None:
    with contextlib.suppress(errors.LinkError):
        decode(Record(1, 1, 0, body))


@given(st.binary(min_size=wire.IDENTITY.size, max_size=wire.IDENTITY.size))
def test_an_identity_of_any_bytes_is_safe_to_show(body: bytes) -> None:
    found = records.identity(Record(1, 1, 0, body))
    assert found.release.isprintable()
    assert found.refused.isprintable()
    assert found.server in {"", "vhe", "pkvm", "foreign"}


@given(st.binary(max_size=64), st.integers(-200, -1))
def test_a_reason_of_any_bytes_is_safe_to_show(reason: bytes, status: int) -> None:
    error = records.refusal(Record(2, 1, status, reason), "hvc #0x0")
    assert str(error).isprintable()


def test_an_identity_names_what_it_found() -> None:
    answer = fake.identity(features=wire.Feature.PROTECTED | wire.Feature.LOST, lost_cpu=3)
    found = records.identity(Record(1, 1, *answer({})))
    assert found.online == (0, 2)
    assert found.catch == fake.CATCH
    assert found.server == "pkvm"
    assert found.lost_cpu == 3
    assert found.refused == ""


@pytest.mark.parametrize(
    ("fields", "server"),
    [
        ({}, ""),
        ({"current_el": 2}, "vhe"),
        ({"conduit": wire.Conduit.HVC}, "foreign"),
        ({"features": wire.Feature.PROTECTED}, "pkvm"),
        ({"conduit": 99}, ""),
    ],
)
def test_who_serves_is_told_without_an_hvc(fields: dict[str, int], server: str) -> None:
    assert records.identity(Record(1, 1, *fake.identity(**fields)({}))).server == server


def _exchange(answer: fake.Answer, request: Request | None = None) -> LiveExchange:
    fields = dict(wire.REQUEST.unpack((request or Request()).packed()))
    return records.exchange(Record(wire.Op.HVC, 1, *answer(fields)))


def test_an_exchange_says_what_changed_and_what_it_could_not_see() -> None:
    unseen = 1 << SYSREGS.index("ELR_EL1") | 1 << SYSREGS.index("VBAR_EL2")
    found = _exchange(fake.exchange(7, changed={17: 1, 30: 2}, unseen=unseen))
    assert found.changed == {"x0", "x17", "x30"}
    assert found.before["x17"] == 0x1011
    assert found.after["x17"] == 1
    assert found.unseen == {"ELR_EL1", "VBAR_EL2"}
    assert not {"ELR_EL1", "VBAR_EL2"} & found.before.keys()
    assert {"SP", "NZCV", "DAIF", "v31", "SP_EL0"} <= found.after.keys()
    assert found.landing is None
    assert found.caught is None


def test_a_landing_tells_its_el_and_the_register_that_led_there() -> None:
    dump = fake.landing(wire.Landed.RESTARTED, catch=2, x0=5, VBAR_EL2=0x40630800)
    found = _exchange(fake.exchange(landing=dump, seen=Seen.LANDED, catch=5), Request(pass_no=1))
    assert found.landing is not None
    assert found.landing.el == 2
    assert found.landing.reg["VBAR_EL2"] == 0x40630800
    assert found.caught == 1
    assert found.pass_no == 1


def test_an_exchange_of_another_size_is_a_lost_link() -> None:
    status, body = fake.exchange()(dict(wire.REQUEST.unpack(Request().packed())))
    for wrong in (body[:-1], body + b"\0"):
        with pytest.raises(errors.LinkError, match="bytes instead of"):
            records.exchange(Record(wire.Op.HVC, 1, status, wrong))


def test_a_landing_of_an_unknown_kind_is_a_lost_link() -> None:
    dump = wire.LANDING.pack(kind=9)
    with pytest.raises(errors.LinkError, match="kind 9"):
        _exchange(fake.exchange(landing=dump))


def _sweep(answer: fake.Answer, **request: int) -> LiveSweep:
    asked = Request(**{"count": 20, **request})  # type: ignore[arg-type]
    fields = dict(wire.REQUEST.unpack(asked.packed()))
    return records.sweep(Record(wire.Op.SWEEP, 1, *answer(fields)), swept="imm")


def test_a_sweep_is_a_pass_like_the_payloads() -> None:
    found = _sweep(fake.sweep((5, 0), (15, 1), sigs=2, frames=2), imm=0x100, cpu=3)
    assert found.swept.runs == ((0x100, 5, 0), (0x105, 15, 1))
    assert found.swept.crc_ok
    assert found.swept.origin == Origin.EL1H
    assert found.swept.cpu == 3
    assert set(found.swept.frames) == {0, 1}
    assert found.swept.frames[1].sig == found.swept.sigs[1]
    assert found.unseen == {SYSREGS[21]}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fake.sweep((19, 0)), "runs cover 19"),
        (fake.sweep((10, 0), (10, 1)), "a signature that is not there"),
        (fake.sweep((20, 0), frames=2), "more frames than signatures"),
        (fake.sweep((20, 0), runs=3), "bytes instead of"),
        (fake.sweep((20, 0), frames=1, sigs=1, done=3), "done 3 of 20"),
    ],
)
def test_a_sweep_that_does_not_add_up_is_a_lost_link(answer: fake.Answer, said: str) -> None:
    with pytest.raises(errors.LinkError, match=said):
        _sweep(answer)


def test_a_sweep_whose_runs_belie_its_crc_says_so() -> None:
    assert not _sweep(fake.sweep((20, 0), crc=1)).swept.crc_ok


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (-95, errors.Unsupported),
        (-1, errors.Unsupported),
        (-61, errors.Unsupported),
        (-6, errors.PreconditionError),
        (-5, errors.LabError),
        (-22, errors.AgentBug),
        (-38, errors.AgentBug),
        (-74, errors.LinkError),
        (-110, errors.TargetHang),
        (-117, errors.TargetCrash),
    ],
)
def test_a_refusal_is_the_error_that_it_means(status: int, kind: type[Exception]) -> None:
    error = records.refusal(Record(2, 1, status, b"because"), "hvc #0x2 on CPU 1")
    assert type(error) is kind
    assert str(error) == "hvc #0x2 on CPU 1: because"
