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


def test_two_builders_at_once_get_the_same_entry(home: Path) -> None:
    both = threading.Barrier(2)
    found: list[Path] = []

    def make(folder: Path) -> None:
        (folder / "x").write_text("same")
        both.wait(10)

    def build() -> None:
        found.append(cache.entry("kind", "key", make))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [home / "kind" / "key"] * 2
    assert [p.name for p in (home / "kind").iterdir()] == ["key"]
    assert (found[0] / "x").read_text() == "same"


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
