# SPDX-License-Identifier: Apache-2.0
"""The pieces of ``hilagent console``: keys, times, the screen, the log of somebody else."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import cli, errors
from hilagent.cli import following, terminal
from hilagent.cli.screen import Screen, Stamps
from hilagent.cli.terminal import ESCAPE, Keys, Showing, Terminal
from hilagent.clock import Deadline
from hilagent.session import lock
from hilagent.testing import ManualClock
from tests.cli.outlet import Outlet
from tests.console.helper import FarEnd

TYPED = st.lists(
    st.sampled_from([ESCAPE, b"q", b"b", b"c", b"?", b"z", b"\x03", b"\r"]), max_size=20
)


@given(typed=TYPED)
def test_keys_mean_the_same_in_one_piece_and_one_by_one(typed: list[bytes]) -> None:
    whole, single = Keys(), Keys()
    together = list(whole.feed(b"".join(typed)))
    apart = [what for key in typed for what in single.feed(key)]
    assert [w for w in together if isinstance(w, str)] == [w for w in apart if isinstance(w, str)]
    sent = [b"".join(w for w in all_ if isinstance(w, bytes)) for all_ in (together, apart)]
    assert sent[0] == sent[1]


def test_no_key_is_kept_from_the_board_but_the_escape() -> None:
    everything = bytes(byte for byte in range(256) if byte != ESCAPE[0])
    assert list(Keys().feed(everything)) == [everything]
    assert list(Keys().feed(b"a" + ESCAPE * 2 + b"b")) == [b"a", ESCAPE, b"b"]


def test_each_line_gets_the_time_at_which_it_began() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    out = stamps.feed("U-Boot\r\n\r\n")
    clock.advance(1.5)
    out += stamps.feed("=> ver")
    clock.advance(1.5)
    out += stamps.feed("sion\r") + stamps.feed("\n\x1b[1mbold\x1b[0m\r\n\ttab\bx")
    assert out == (
        "[     0.000] U-Boot\r\n\r\n[     1.500] => version\r\n"
        "\x1b[1m[     3.000] bold\x1b[0m\r\n[     3.000] \ttab\bx"
    )


def test_a_screen_that_takes_no_more_for_now_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"-" * size)
    pid = os.fork()
    if not pid:
        Screen(writer).show(b"x" * 3 * size)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"-" * size + b"x" * 3 * size
    assert os.waitpid(pid, 0)[1] == 0


def test_a_long_log_is_shown_from_a_line_near_its_end(tmp_path: Path) -> None:
    path = tmp_path / "console.raw"
    assert following._opened(path) is None
    lines = [b"line %05d\r\n" % number for number in range(1000)]
    path.write_bytes(b"".join(lines))
    log = following._opened(path)
    assert log is not None
    with log:
        shown = log.read()
    assert shown == b"".join(lines[-(len(shown) // 12) :])
    assert following.BEFORE_BYTES - 12 <= len(shown) <= following.BEFORE_BYTES


class Bench:
    """A keyboard, a console whose line is stuck, and a switch that is broken."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open, self._far = is_open, FarEnd()
        self.console = self._far.console
        with pytest.raises(errors.LinkStuck):  # so many bytes that its line takes no more
            self.console.write(bytes(1 << 22), Deadline.after(0.05))
        self._keyboard, self._typing = os.pipe()
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._showing = Showing(self.console, Screen(self._nowhere))

    def types(self, data: bytes) -> None:
        os.write(self._typing, data)
        attended: Any = self
        try:
            Terminal(self._keyboard, attended, lambda _: self._showing).run()
        finally:
            self._far.close()
            self._showing.close()
            for fd in (self._keyboard, self._typing, self._nowhere):
                os.close(fd)

    def cycle(self) -> None:
        raise errors.LabError("it didn't start again")


def test_what_fails_is_told_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "TYPING_S", 0.05)
    Bench(is_open=True).types(b"x" + ESCAPE + b"c" + ESCAPE + b"q")
    said = capsys.readouterr().err
    assert "the console took no more bytes" in said
    assert "it didn't start again" in said


def test_an_emulated_board_that_does_not_start_again_ends_it() -> None:
    with pytest.raises(errors.LabError, match="it didn't start again"):
        Bench(is_open=False).types(ESCAPE + b"c" + ESCAPE + b"q")


@pytest.fixture
def outlet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outlet:
    monkeypatch.setenv("HILAGENT_STATE", str(tmp_path / "state"))
    return Outlet(tmp_path)


def test_a_holder_that_keeps_no_log_can_not_be_watched(
    outlet: Outlet, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.hold(["/dev/null"], board="rock", run_dir=None):
        assert cli.main(["console", "rock", "--watch", "--boards", str(outlet.folder)]) == 125
    assert "which keeps no log" in capsys.readouterr().err


def test_an_emulated_board_can_not_be_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["console", "qemu-virt", "--watch"]) == 2
    assert "qemu-virt is emulated: each run has one of its own" in capsys.readouterr().err
