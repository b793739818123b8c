# SPDX-License-Identifier: Apache-2.0
"""The build cache: whole entries or none, also with two builders at once."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from hilagent.build import cache
from hilagent.errors import LabError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_entry_is_made_once() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "x").write_text("1")

    first = cache.entry("kind", "key", make)
    assert (first / "x").read_text() == "1"
    assert cache.entry("kind", "key", make) == first
    assert len(made) == 1


def test_what_fails_leaves_nothing(home: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("1")
        raise LabError("no")

    with pytest.raises(LabError):
        cache.entry("kind", "key", make)
    assert list((home / "kind").iterdir()) == []


def test_a_full_disk_is_the_labs(home: Path) -> None:
    def make(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(LabError, match="No space left on device") as caught:
        cache.entry("kind", "key", make)
    assert "free some space" in caught.value.hint
    assert list((home / "kind").iterdir()) == []


def test_what_was_used_last_stays_longest(home: Path) -> None:
    for name in ("old", "new"):
        cache.entry("kind", name, lambda folder: None)
        os.utime(home / "kind" / name, (1, 1))
    cache.entry("kind", "old", lambda folder: None)
    cache.prune(home / "kind", 1)
    assert [p.name for p in (home / "kind").iterdir()] == ["old"]


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    waits = threading.Event()
    got: list[str] = []

    def second() -> None:
        with cache.locked(tmp_path, waiting=waits.set):
            got.append("second")

    thread = threading.Thread(target=second)
    with cache.locked(tmp_path):
        thread.start()
        assert waits.wait(10)
        got.append("first")
    thread.join(10)
    assert got == ["first", "second"]


def test_who_wants_what_another_builds_waits_for_it(home: Path) -> None:
    waits, begun = threading.Event(), threading.Event()
    found: list[Path] = []
    made: list[Path] = []

    def make(folder: Path) -> None:
        begun.set()
        made.append(folder)
        (folder / "x").write_text("same")
        assert waits.wait(10)

    def build() -> None:
        found.append(cache.entry("kind", "key", make, waiting=waits.set))

    threads = [threading.Thread(target=build) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert found == [home / "kind" / "key"] * 2
    assert len(made) == 1
    assert [p.name for p in (home / "kind").iterdir()] == ["key"]


def test_who_waited_for_what_failed_builds_it(home: Path) -> None:
    waits, begun = threading.Event(), threading.Event()
    failed: list[LabError] = []

    def fail(folder: Path) -> None:
        begun.set()
        assert waits.wait(10)
        raise LabError("no")

    def first() -> None:
        try:
            cache.entry("kind", "key", fail)
        except LabError as error:
            failed.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(10)
    cache.entry("kind", "key", lambda folder: (folder / "x").touch(), waiting=waits.set)
    thread.join(10)
    assert len(failed) == 1
    assert (home / "kind/key/x").is_file()


def test_other_entries_of_the_kind_are_not_waited_for(home: Path) -> None:
    def make(folder: Path) -> None:
        cache.entry("kind", "inner", lambda folder: None)

    cache.entry("kind", "outer", make)
    assert {p.name for p in (home / "kind").iterdir()} == {"inner", "outer"}


def test_of_two_who_build_at_once_nevertheless_one_is_kept(home: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "x").write_text("second")
        (home / "kind/key").mkdir()
        (home / "kind/key/x").write_text("first")

    assert (cache.entry("kind", "key", make) / "x").read_text() == "first"
    assert [p.name for p in (home / "kind").iterdir()] == ["key"]


def test_an_entry_that_is_of_no_use_any_more_is_replaced_once_there_is_another(
    home: Path,
) -> None:
    def usable(folder: Path) -> bool:
        return (folder / "x").read_text() == "new"

    def fail(folder: Path) -> None:
        raise LabError("no")

    def make(folder: Path) -> None:
        (folder / "x").write_text("new")

    cache.entry("kind", "key", make)
    (home / "kind/key/x").write_text("old")
    with pytest.raises(LabError):
        cache.entry("kind", "key", fail, usable=usable)
    assert (home / "kind/key/x").read_text() == "old"
    for _ in range(2):
        cache.entry("kind", "key", make, usable=usable)
        assert (home / "kind/key/x").read_text() == "new"
    assert [p.name for p in (home / "kind").iterdir()] == ["key"]


def test_what_a_killed_build_left_goes_after_a_day(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = home / "kind/.new-x"
    left.mkdir(parents=True)
    os.utime(left, (1, 1))  # as unpacking does: it is young for all that
    cache.prune(home / "kind", 1)
    assert left.is_dir()
    monkeypatch.setattr(cache, "_STALE_S", -1)
    cache.prune(home / "kind", 1)
    assert not left.exists()


def test_a_fingerprint_sees_names_contents_and_borders(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    prints = [
        cache.fingerprint(parts)
        for parts in (
            [tmp_path / "a"], [tmp_path / "b"], ["1"], ["1", ""], ["", "1"], [b"11"], ["1", "1"],
        )
    ]  # fmt: skip
    assert len(set(prints)) == len(prints)
    assert cache.fingerprint(["1"]) == cache.fingerprint([b"1"])


def test_old_entries_go(home: Path) -> None:
    for number in range(70):
        cache.entry("kind", f"{number:03}", lambda folder: (folder / "x").touch())
    assert len(list((home / "kind").iterdir())) == 64
    assert (home / "kind" / "069").is_dir()


def test_a_cache_that_cannot_be_written_says_what_to_do(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(LabError, match="can't write the build cache") as caught:
        cache.entry("kind", "key", lambda folder: None)
    assert cache.ENV in caught.value.hint


def test_the_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.ENV)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "hilagent"
