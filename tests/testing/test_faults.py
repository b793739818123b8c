# SPDX-License-Identifier: Apache-2.0
"""Faults: seeded, where and when they were asked for, and as often."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.testing import Fault, Faults, Injector, ManualClock, filters

DATA = bytes(range(32, 127)) * 400


def through(faults: Faults, data: bytes = DATA, seed: int = 1, step: int = 0) -> bytes:
    clock = ManualClock()
    injector = Injector(faults, seed=seed, clock=clock)
    for at in range(0, len(data), step or len(data)):
        injector.push(data[at : at + (step or len(data))])
    clock.advance(100)
    return injector.pull()


def test_a_good_line_changes_nothing() -> None:
    assert through(Faults()) == DATA


def test_a_line_with_a_rate_takes_its_time() -> None:
    clock = ManualClock()
    injector = Injector(Faults(baud=1000, delay_s=0.5), clock=clock)
    injector.push(DATA[:200])
    clock.advance(0.5)
    assert injector.pull() == b""
    clock.advance(1.0)
    assert 64 < len(injector.pull()) <= 100
    injector.push(b"behind")
    clock.advance(2.0)
    assert injector.pull().endswith(b"behind")


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(drop=0.01), Fault.DROP),
        (Faults(flip=0.01), Fault.FLIP),
        (Faults(double=0.01), Fault.DOUBLE),
        (Faults(garbage=0.01), Fault.GARBAGE),
    ],
)
def test_a_rate_is_kept(faults: Faults, kind: Fault) -> None:
    injector = Injector(faults, seed=3, clock=ManualClock())
    injector.push(DATA)
    assert len(DATA) * 0.007 < len(injector.done) < len(DATA) * 0.013
    assert {fault for _, fault in injector.done} == {kind}


def test_all_kinds_come_when_all_are_asked_for() -> None:
    injector = Injector(Faults.spread(0.03), clock=ManualClock())
    injector.push(DATA)
    assert {fault for _, fault in injector.done} == {Fault.DROP, Fault.FLIP, Fault.DOUBLE}


@given(st.integers(0, 1000), st.integers(1, 200))
def test_the_same_seed_gives_the_same_faults_however_the_bytes_come(seed: int, step: int) -> None:
    bad = Faults(drop=0.01, flip=0.01, double=0.01, garbage=0.01)
    assert through(bad, DATA[:3000], seed) == through(bad, DATA[:3000], seed, step)


def test_another_seed_gives_other_faults() -> None:
    assert through(Faults.spread(0.01), seed=1) != through(Faults.spread(0.01), seed=2)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Fault.DROP, b"abde"), (Fault.DOUBLE, b"abccde"), (Fault.STALL, b"abcde")],
)
def test_a_fault_at_an_offset(kind: Fault, expected: bytes) -> None:
    assert through(Faults(at={2: kind}), b"abcde") == expected


def test_a_flip_changes_one_bit_of_one_byte() -> None:
    out = through(Faults(at={2: Fault.FLIP}), b"abcde")
    assert (out[:2], out[3:]) == (b"ab", b"de")
    assert (out[2] ^ b"c"[0]).bit_count() == 1


def test_a_cut_ends_the_stream_there() -> None:
    injector = Injector(Faults(at={2: Fault.CUT}), clock=ManualClock())
    injector.push(b"abcde")
    assert (injector.pull(), injector.cut) == (b"ab", True)


def test_a_stall_holds_everything_back_and_loses_nothing() -> None:
    clock = ManualClock()
    injector = Injector(Faults(at={2: Fault.STALL}, stall_s=8), clock=clock)
    injector.push(b"abcde")
    assert injector.pull() == b"ab"
    assert injector.ready_s == clock.now_s() + 8
    clock.advance(8)
    injector.push(b"f")
    assert injector.pull() == b"cdef"
    assert injector.ready_s == math.inf


def test_a_delay_is_the_same_for_every_byte() -> None:
    clock = ManualClock()
    injector = Injector(Faults(delay_s=0.5), clock=clock)
    injector.push(b"a")
    clock.advance(0.25)
    injector.push(b"b")
    clock.advance(0.25)
    assert injector.pull() == b"a"
    clock.advance(0.25)
    assert injector.pull() == b"b"


@given(st.integers(1, 9))
def test_faults_begin_after_a_pattern_however_it_is_cut(step: int) -> None:
    out = through(Faults(drop=1.0, arm_after=b"HELLO"), b"abcHELLxHELLOdef", step=step)
    assert out == b"abcHELLxHELLO"


def test_faults_that_are_not_armed_wait_to_be() -> None:
    injector = Injector(Faults(drop=1.0, armed=False, arm_after=b"a"), clock=ManualClock())
    injector.push(b"abc")
    injector.arm()
    injector.push(b"def")
    assert injector.pull() == b"abc"


@pytest.mark.parametrize(
    ("name", "given_", "expected"),
    [
        ("tilde-after-newline", b"a~b\r~c\n~~d", b"a~b\rc\n~d"),
        ("telnet", b"a\xff\xf3b\xff\xffc", b"ab\xffc"),
        ("xon-xoff", b"a\x11b\x13c", b"abc"),
        ("xoff-latches", b"a\x13bc\x11d", b"ad"),
        ("cr-to-lf", b"a\r\nb", b"a\n\nb"),
        ("lf-to-crlf", b"a\nb", b"a\r\nb"),
        ("seven-bits", b"a\xe1", b"aa"),
        ("no-nul", b"a\0b", b"ab"),
    ],
)
def test_what_each_filter_does_whole_and_byte_by_byte(
    name: str, given_: bytes, expected: bytes
) -> None:
    assert through(Faults(filter=filters.ALL[name]), given_) == expected
    assert through(Faults(filter=filters.ALL[name]), given_, step=1) == expected
