# SPDX-License-Identifier: Apache-2.0
"""A board is held by one run, and whoever comes second is told by whom."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hilagent import errors
from hilagent.clock import Deadline
from hilagent.session import lock, shared
from hilagent.testing import ManualClock


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def _refused(name: str, run_dir: Path) -> str:
    """Return what is said to whoever comes second."""
    with pytest.raises(errors.LabError) as seen, lock.hold([name], board="x", run_dir=run_dir):
        pass
    return str(seen.value)


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with lock.hold(["/dev/ttyUSB0"], board="rpi4", run_dir=tmp_path):
        said = _refused("/dev/ttyUSB0", tmp_path)
        assert "x: /dev/ttyUSB0 is in use by " in said
        assert f"pid {os.getpid()}" in said
        assert str(tmp_path) in said
    with lock.hold(["/dev/ttyUSB0"], board="rpi4", run_dir=tmp_path):
        pass


def test_what_was_taken_is_given_back_if_the_rest_is_in_use(tmp_path: Path) -> None:
    with lock.hold(["b"], board="x", run_dir=tmp_path):
        with pytest.raises(errors.LabError), lock.hold(["a", "b"], board="x", run_dir=tmp_path):
            pass
        with lock.hold(["a"], board="x", run_dir=tmp_path):
            pass


def test_a_holder_that_dies_frees_all_and_is_named_once(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hilagent.session import lock\n"
        "with lock.hold(['port', 'outlet'], board='x', run_dir=Path('.')):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert f"pid {child.pid}" in _refused("port", tmp_path)
    assert lock.killed(["port"]) is None
    child.kill()
    child.communicate()
    left = lock.killed(["other", "port"])
    assert left is not None
    assert left.pid == child.pid
    with lock.hold(["other", "outlet", "port"], board="x", run_dir=tmp_path) as killed:
        assert [(each.pid, each.run_dir) for each in killed] == [(child.pid, Path.cwd())]
    with lock.hold(["port"], board="x", run_dir=tmp_path) as killed:
        assert killed == [], "who let go of it was not killed"
    assert lock.killed(["port", "outlet"]) is None


def test_the_holder_can_be_asked_for_without_taking_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lock.holder(["port"]) is None
    with lock.hold(["port"], board="rpi4", run_dir=Path("run")):
        found = lock.holder(["other", "port"])
        assert found is not None
        assert (found.pid, found.run_dir) == (os.getpid(), tmp_path / "run")
        assert found.holds()
    assert not found.holds()
    assert lock.holder(["port"]) is None


def test_a_holder_without_a_log_says_so() -> None:
    with lock.hold(["port"], board="x", run_dir=None):
        found = lock.holder(["port"])
    assert found is not None
    assert found.run_dir is None
    assert str(found).endswith(f"(pid {os.getpid()})")


def test_a_lock_file_full_of_rubbish_names_nobody(state: Path, tmp_path: Path) -> None:
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        (state / "port.lock").write_bytes(b"\x1b[2J\xff{")
        assert "somebody who left no name" in _refused("port", tmp_path)
        assert lock.holder(["port"]) is None


class Waits:
    """A queue on a clock of its own: each pause is a step of it, and things may happen then."""

    def __init__(self, wait_s: float, **at: Callable[[], object]) -> None:
        self.clock, self.told, self.at = ManualClock(0.0), list[str](), at
        self.queue = lock.Queue(Deadline.after(wait_s, self.clock), self.told.append, self.pause)

    def pause(self, seconds: float) -> None:
        assert 0 < seconds <= lock.LOOK_S
        self.clock.advance(seconds)
        self.at.get(f"s{self.clock.now_s():.0f}", lambda: None)()


def test_whoever_waits_is_told_by_whom_and_for_how_long(tmp_path: Path) -> None:
    held = contextlib.ExitStack()
    held.enter_context(lock.hold(["port"], board="a", run_dir=tmp_path))
    waits = Waits(1800, s90=held.close)
    with lock.hold(["port"], board="b", run_dir=tmp_path, queue=waits.queue):
        assert "is in use by" in _refused("port", tmp_path)
    assert waits.clock.now_s() == 90
    first, minute = waits.told
    assert f"pid {os.getpid()}" in first
    assert first.endswith("; waiting, 30 min left")
    assert minute.endswith("; waiting for 60 s, 29 min left")


def test_a_new_holder_is_named_at_once(tmp_path: Path) -> None:
    held = contextlib.ExitStack()
    held.enter_context(lock.hold(["port"], board="a", run_dir=tmp_path / "one"))

    def other() -> None:
        held.close()
        held.enter_context(lock.hold(["port"], board="a", run_dir=tmp_path / "two"))

    waits = Waits(10, s2=other, s4=held.close)
    with lock.hold(["port"], board="b", run_dir=tmp_path, queue=waits.queue):
        pass
    assert [("one" in told, "two" in told) for told in waits.told] == [(True, False), (False, True)]


def test_a_wait_in_vain_names_the_holder_and_holds_nothing(tmp_path: Path) -> None:
    waits = Waits(5)
    with lock.hold(["port"], board="a", run_dir=tmp_path):
        with (
            pytest.raises(errors.LabError, match=r"in use by .*, still after 5 s"),
            lock.hold(["free", "port"], board="b", run_dir=tmp_path, queue=waits.queue),
        ):
            pass
        with lock.hold(["free"], board="c", run_dir=tmp_path):
            pass


def test_nobody_waits_with_a_lock_in_hand(tmp_path: Path) -> None:
    """Two who want both, in any order, would wait for each other."""
    seen = list[str]()

    def others_get_in() -> None:
        with lock.hold(["a"], board="x", run_dir=tmp_path):
            seen.append("a")

    held = contextlib.ExitStack()
    held.enter_context(lock.hold(["b"], board="x", run_dir=tmp_path))
    waits = Waits(10, s1=others_get_in, s2=held.close)
    with lock.hold(["a", "b"], board="y", run_dir=tmp_path, queue=waits.queue):
        assert seen == ["a"]


def test_two_processes_that_want_two_things_both_get_them(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hilagent.clock import Deadline\n"
        "from hilagent.session import lock\n"
        "lock.LOOK_S = 0.01\n"
        "for _ in range(20):\n"
        "    queue = lock.Queue(Deadline.after(60), lambda text: None)\n"
        "    with lock.hold(sys.argv[1:], board='x', run_dir=None, queue=queue):\n"
        "        pass\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, *names]) for names in (("a", "b"), ("b", "a"))
    ]
    assert [child.wait(60) for child in children] == [0, 0]


def test_a_lock_whose_file_is_removed_while_it_is_taken_is_taken_again(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, removals = shared.opened, iter([True, False])

    def opened(path: Path) -> int:
        fd = really(path)
        if next(removals):
            path.unlink()
        return fd

    with monkeypatch.context() as patch:
        patch.setattr(shared, "opened", opened)
        held = contextlib.ExitStack()
        held.enter_context(lock.hold(["port"], board="x", run_dir=tmp_path))
    with held:
        assert "is in use by" in _refused("port", tmp_path)


def test_two_names_of_one_file_are_one_lock_and_two_things_are_two(tmp_path: Path) -> None:
    with lock.hold(["port", "port"], board="x", run_dir=tmp_path):
        pass
    with lock.hold(["/a b", "/a_b", "x" * 300], board="x", run_dir=tmp_path):
        pass


def test_no_child_inherits_a_lock(tmp_path: Path) -> None:
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "print('runs', flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"runs\n"
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        child.communicate(b"\n")


@pytest.mark.parametrize("said", ['{"user": "x", "pid": 1, "run": "a\\u0000b"}', "[" * 4096, "{}"])
def test_a_holder_that_makes_no_sense_is_nobody(state: Path, tmp_path: Path, said: str) -> None:
    with lock.hold(["port"], board="x", run_dir=tmp_path):
        (state / "port.lock").write_text(said)
        assert "somebody who left no name" in _refused("port", tmp_path)
