# SPDX-License-Identifier: Apache-2.0
"""A journal that was spoilt: each report is made, and none is better than what was measured."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors, journal
from hilagent import report as reports
from hilagent.report.html import html
from hilagent.report.kcidb import kcidb
from hilagent.report.ktap import ktap
from hilagent.report.markdown import markdown
from hilagent.result import EXIT_OK
from tests.fuzz.mutate import fuzz, mutated
from tests.report import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Journals of a run with every verdict, of one that passed, and of one that was killed."""
    top = tmp_path_factory.mktemp("seeds")
    passed = [each for each in made.all_classes() if each.verdict.value == "pass"]
    made.run(top / "all", *made.all_classes(), more=made.observed)
    made.run(top / "passed", *passed, more=made.observed)
    made.run(top / "killed", *passed, ends=False, plan=["x", "y"])
    return {each.name: (each / journal.NAME).read_bytes() for each in top.iterdir()}


def _told(folder: Path, raw: bytes) -> journal.Run | None:
    """Make every report of a journal; None where it was refused in a sentence."""
    (folder / journal.NAME).write_bytes(raw)
    run = None
    with contextlib.suppress(errors.InputError):
        run = journal.read(folder)
    if run is None:
        return None
    json.dumps(reports.results(run))
    json.dumps(kcidb([run]))
    for text in (reports.summary(run), reports.junit(run), html(run), ktap([run]), markdown([run])):
        assert text.isascii() or text.encode()
    return run


_OTHERS: tuple[Any, ...] = (None, True, -1, 1.5, "x", "", [], {}, [1], {"a": 1}, "\ud800", 10**30)


def _ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys and indices that lead to each part of some JSON."""
    yield way
    inside = value if isinstance(value, dict | list) else ()
    for key in inside if isinstance(inside, dict) else range(len(inside)):
        yield from _ways(value[key], (*way, key))


@fuzz(120)
@given(st.data())
def test_any_bytes_of_it(folder: Path, seeds: dict[str, bytes], data: st.DataObject) -> None:
    _told(folder, data.draw(mutated([*seeds.values()])))


@fuzz(250)
@given(st.data())
def test_a_record_in_which_something_is_another_sort_of_thing(
    folder: Path, seeds: dict[str, bytes], data: st.DataObject
) -> None:
    """It still is JSON: what reads fields out of it must not take them for granted."""
    lines = data.draw(st.sampled_from(sorted(seeds.values()))).splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    record = json.loads(lines[number])
    *way, last = data.draw(st.sampled_from([each for each in _ways(record) if each]))
    inside = record
    for step in way:
        inside = inside[step]
    if data.draw(st.booleans()):
        inside[last] = data.draw(st.sampled_from(_OTHERS))
    else:
        del inside[last]
    lines[number] = json.dumps(record).encode()
    _told(folder, b"\n".join([*lines, b""]))


@fuzz(250)
@given(st.data())
def test_lines_that_are_lost_or_torn_never_make_it_better(
    folder: Path, seeds: dict[str, bytes], data: st.DataObject
) -> None:
    """Of a run that is no pass, every rest is none; what passed accuses nobody."""
    name = data.draw(st.sampled_from(sorted(seeds)))
    lines = seeds[name].splitlines(keepends=True)
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=3))
    rest = b"".join(line for number, line in enumerate(lines) if number not in lost)
    rest = rest[: data.draw(st.integers(0, len(rest)) | st.just(len(rest)))]
    run = _told(folder, rest)
    if run is None:
        return
    if name != "passed" or rest != seeds[name]:
        assert run.exit_code != EXIT_OK
    if name != "all":
        assert not any(outcome.verdict.accuses for outcome in run.all_outcomes())
