# SPDX-License-Identifier: Apache-2.0
"""The console's log on the page: every line, when it came, and what was left out."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.console.tape import Tape
from hilagent.report.html import log
from hilagent.report.html.log import Index, Row
from tests.report import made


def taped(folder: Path, *said: tuple[float, bytes], sent: bytes = b"") -> Path:
    tape = Tape(folder)
    for t, data in said:
        tape.received(data, int(t * 1e9))
        if sent:
            tape.sent(sent, int(t * 1e9))
    tape.close()
    return folder / "console.raw"


def rows(raw: Path, parts: list[tuple[int, int]] | None = None) -> list[Row]:
    index = Index(raw.with_name("console.idx"))
    return list(log.rows(raw, index, parts or [(0, raw.stat().st_size)], 10**9))


def test_each_line_has_the_time_of_its_first_byte(tmp_path: Path) -> None:
    raw = taped(tmp_path, (2.0, b"one\r\ntw"), (3.0, b"o\r\n\r\nthree"), sent=b"x")
    assert [(row.t, row.text) for row in rows(raw)] == [
        (1.0, "one"), (1.0, "two"), (2.0, "three"),
    ]  # fmt: skip


def test_packets_are_counted_where_they_were(tmp_path: Path) -> None:
    many = made.packet() * 3
    raw = taped(tmp_path, (2.0, b"before\r\n"), (3.0, many), (4.0, b"after\r\n" + made.packet()))
    assert [(row.kind, row.text) for row in rows(raw)] == [
        ("text", "before"), ("packets", "3 packets of the payload"), ("text", "after"),
        ("packets", "1 packet of the payload"),
    ]  # fmt: skip


def test_what_a_terminal_would_obey_is_shown(tmp_path: Path) -> None:
    raw = taped(tmp_path, (2.0, b"a\x1b[2Jb\x07\xff\xe2\x80\xae\rc\r\n"))
    assert [row.text for row in rows(raw)] == ["ab\\x07\\xff", "c"]


def test_a_crash_is_marked_and_a_restart_is_not(tmp_path: Path) -> None:
    raw = taped(tmp_path, (2.0, made.BANNER + made.PANIC), (2.1, b"Rebooting\r\n" + made.BANNER))
    assert [row.text for row in rows(raw) if row.kind == "crash"] == [
        "[    1.5] Kernel panic - not syncing: sysrq triggered crash"
    ]
    (found,) = log.incidents(raw)
    assert (found.start, found.title) == (
        len(made.BANNER),
        "Kernel panic - not syncing: sysrq triggered crash",
    )


def test_an_incident_leads_to_its_first_row_and_deaths_come_first(tmp_path: Path) -> None:
    warned = b"------------[ cut here ]------------\nWARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n"
    raw = taped(tmp_path, (2.0, b"one\n" + warned + b"two\n" * 40), (3.0, made.PANIC + b"x\n"))
    assert [each.type for each in log.incidents(raw)] == ["panic", "WARNING"]
    found = rows(raw)
    assert [(found[n].text, each.type) for n, each in log.placed(found)] == [
        ("------------[ cut here ]------------", "WARNING"),
        ("[    1.5] Kernel panic - not syncing: sysrq triggered crash", "panic"),
    ]
    assert [row.kind for row in found].count("crash") == 1


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    raw = taped(tmp_path, *((2.0, b"x" * 1000) for _ in range(100)), (3.0, b"\r\nend\r\n"))
    first, last = rows(raw)
    assert len(first.text) < 2100
    assert last.text == "end"


@pytest.mark.parametrize(("t", "seen"), [(0, 0), (2.0, 4), (2.5, 4), (3.0, 8), (9, 8)])
def test_what_had_been_received_by_then(tmp_path: Path, t: float, seen: int) -> None:
    raw = taped(tmp_path, (2.0, b"1234"), (3.0, b"5678"), sent=b"abc")
    assert Index(raw.with_name("console.idx")).received_by(int(t * 1e9)) == seen


def test_without_an_index_the_text_is_there_without_times(tmp_path: Path) -> None:
    raw = taped(tmp_path, (2.0, b"one\r\ntwo\r\n"))
    raw.with_name("console.idx").write_bytes(b"")
    assert [(row.t, row.text) for row in rows(raw)] == [(None, "one"), (None, "two")]
    assert Index(raw.with_name("console.idx")).received_by(5) is None
    assert Index(tmp_path / "missing").received_by(5) is None


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    raw = taped(tmp_path, *((2.0 + n / 10, b"%03d\r\n" % n) for n in range(100)))
    found = rows(raw, [(50, 60), (100, 110)])
    assert [row.text for row in found] == [
        "50 bytes left out: 0 to 50", "010", "011", "40 bytes left out: 60 to 100", "020", "021",
        "390 bytes left out: 110 to 500",
    ]  # fmt: skip
    assert found[1].t == pytest.approx(2.0)


@given(st.integers(0, 50 << 20), st.lists(st.integers(0, 50 << 20), max_size=30))
def test_windows_are_in_order_apart_and_hold_what_matters(size: int, places: list[int]) -> None:
    places = [min(place, size) for place in places]
    found = log.windows(size, places)
    assert all(0 <= start < end <= size for start, end in found)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
    if size <= log.WHOLE_BYTES:
        assert found == ([(0, size)] if size else [])
    else:
        assert (found[0][0], found[-1][1]) == (0, size)
        for place in places[:10]:
            assert any(start <= place <= end for start, end in found)
        assert sum(end - start for start, end in found) <= log.WHOLE_BYTES
