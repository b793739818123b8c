# SPDX-License-Identifier: Apache-2.0
"""Tools that take their time: heard, limited, and ended with everything they started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilagent.build import cache, child
from hilagent.errors import LabError


def test_each_line_is_heard_as_it_comes_and_kept() -> None:
    heard: list[str] = []
    done = child.run(["sh", "-c", "echo one; echo two >&2; exit 3"], see=heard.append)
    assert (done.status, list(done.lines), heard) == (3, ["one", "two"], ["one", "two"])


def test_a_failure_shows_its_last_lines_scrubbed() -> None:
    with pytest.raises(LabError, match=r"sh failed \(exit 2\):\nbad\\x07") as caught:
        child.output(["sh", "-c", r"printf 'bad\007\n'; exit 2"])
    assert "\x07" not in str(caught.value)


def test_a_tool_that_is_not_there_is_named() -> None:
    with pytest.raises(LabError, match="no-such-tool: not found on the PATH"):
        child.run(["no-such-tool"])


def test_one_that_says_nothing_is_ended() -> None:
    with pytest.raises(LabError, match="tail said nothing for 0 s, and was ended"):
        child.run(["tail", "-f", "/dev/null"], stall_s=0.2)


def test_what_ends_the_wait_ends_the_tool_and_its_children(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    trap = f"trap 'echo > {tmp_path}/asked; exit' TERM"
    script = f"{trap}; echo go; while :; do tail -f /dev/null & wait; done"
    with pytest.raises(KeyboardInterrupt):
        child.run(["sh", "-c", script], see=stop)
    assert (tmp_path / "asked").exists()


def test_its_environment_is_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")
    env = {"PATH": os.environ["PATH"]}
    said = child.output(["env"], env=env)
    assert "CFLAGS" not in said
    assert "LC_ALL=C" in said


def test_a_lock_outlives_its_holder_as_long_as_its_tool_runs(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom hilagent.build import cache, child\n"
        f"with cache.locked(Path({str(tmp_path)!r})):\n"
        "    child.run(['sh', '-c', 'echo $$; trap \"\" PIPE; read line < fifo'],"
        f" cwd={str(tmp_path)!r}, see=lambda line: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    os.mkfifo(tmp_path / "fifo")
    holder = subprocess.run([sys.executable, "-c", code], check=False)
    assert holder.returncode == -9
    waited: list[bool] = []

    def end_it() -> None:
        waited.append(True)
        (tmp_path / "fifo").write_text("end\n")

    with cache.locked(tmp_path, waiting=end_it):
        assert waited == [True]
