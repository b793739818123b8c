# SPDX-License-Identifier: Apache-2.0
"""``hilagent console``: a person at a pty, a board behind another, and a lamp for its power."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.console.tape import OPENED, RX, SEEN, TX, read_index
from tests.cli.outlet import Outlet
from tests.cli.person import Person, Port, environment, hilagent

CTRL_C, ESCAPE = b"\x03", b"\x1d"
QUIT = ESCAPE + b"q"


@pytest.fixture
def port() -> Iterator[Port]:
    with Port() as port:
        yield port


@pytest.fixture
def outlet(tmp_path: Path, port: Port) -> Outlet:
    return Outlet(tmp_path, port.path)


def at(outlet: Outlet, *argv: str) -> Person:
    """Return a person at the console of ``outlet``'s board."""
    return Person(outlet.folder, "console", "rock", "--boards", str(outlet.folder), *argv)


def piped(outlet: Outlet, text: bytes, *argv: str) -> subprocess.CompletedProcess[bytes]:
    command = hilagent("console", "rock", "--boards", str(outlet.folder), *argv)
    return subprocess.run(
        command, cwd=outlet.folder, env=environment(outlet.folder), input=text,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def log(outlet: Outlet, name: str) -> bytes:
    return (outlet.folder / "runs" / "latest" / name).read_bytes()


def test_what_is_typed_reaches_the_board_and_what_it_says_is_seen(
    outlet: Outlet, port: Port
) -> None:
    with at(outlet) as person:
        person.sees(b"rock: Ctrl-] q quits, Ctrl-] ? is help")
        port.says(b"U-Boot 2026\r\n=> ")
        person.sees(b"U-Boot 2026\r\r\n=> ")  # the terminal adds its CR to every LF
        person.types(b"version\r" + CTRL_C + b"\x1a\x11\x13\x1c" + ESCAPE + ESCAPE)
        port.hears(b"version\r" + CTRL_C + b"\x1a\x11\x13\x1c" + ESCAPE)
        person.types(QUIT)
        assert person.ends() == 0
        assert person.settings() == person.before
    assert outlet.did() == []
    assert port.heard == log(outlet, "console.tx")


def test_the_log_has_every_byte_and_the_terminal_only_what_is_harmless(
    outlet: Outlet, port: Port
) -> None:
    said = b"a\x1b[6nb\x1b]52;c;AAAA\x07c\x1b[31md\x9b2Je\0\xff\r\n"
    with at(outlet) as person:
        person.sees(b"is help")
        for byte in said:
            port.says(bytes([byte]))
        person.sees("abc\x1b[31md\ufffd2Je\ufffd\r".encode())
        person.types(b"x")
        port.hears(b"x")
        person.types(QUIT)
        assert person.ends() == 0
        assert person.seen.endswith(b"\x1b[0m")
    assert log(outlet, "console.raw") == said
    assert port.heard == b"x"
    records = list(read_index(outlet.folder / "runs/latest/console.idx"))
    assert {record.direction for record in records} == {OPENED, SEEN, RX, TX}
    assert sorted(record.time_ns for record in records) == [record.time_ns for record in records]


def test_what_it_has_switched_on_it_switches_off(outlet: Outlet, port: Port) -> None:
    with at(outlet, "--power-on") as person:
        person.sees(b"it will be switched off at the end")
        assert outlet.is_on()
        person.types(QUIT)
        assert person.ends() == 0
    assert outlet.did() == ["on", "off"]
    assert b'"text":"switched on; its switch says that it is on"' in log(outlet, "journal.jsonl")


def test_a_board_that_is_on_stays_on_unless_it_is_cycled(outlet: Outlet, port: Port) -> None:
    outlet.let("live")
    with at(outlet, "--power-on") as person:
        person.sees(b"is help")
        person.types(QUIT)
        assert person.ends() == 0
    assert outlet.did() == []
    with at(outlet, "--cycle") as person:
        person.sees(b"switched off at the end")
        person.types(QUIT)
        assert person.ends() == 0
    assert outlet.did() == ["off", "on", "off"]


def test_the_keys_behind_ctrl_bracket(outlet: Outlet, port: Port) -> None:
    outlet.let("live")
    with at(outlet) as person:
        person.sees(b"is help")
        person.types(ESCAPE)
        person.types(b"?")
        person.sees(b"cycles power")
        person.types(ESCAPE + b"b")
        person.sees(b"hilagent: break sent")
        person.types(ESCAPE + b"c")
        person.sees(b"hilagent: power was cycled")
        outlet.let("fails-off")
        person.types(ESCAPE + b"c")
        person.sees(b"the relay sticks")
        person.types(ESCAPE + b"!")
        person.sees(b"hilagent: after Ctrl-]")
        person.types(b"x" + ESCAPE + b".y")
        assert person.ends() == 0
    assert outlet.did() == ["off", "on"]
    port.hears(b"x")
    assert port.heard == b"x"
    assert b"a break was sent" in log(outlet, "journal.jsonl")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGINT, 130)]
)
def test_a_signal_restores_the_terminal_and_switches_off(
    outlet: Outlet, port: Port, number: signal.Signals, code: int
) -> None:
    with at(outlet, "--cycle") as person:
        person.sees(b"at the end")
        person.types(b"x")
        port.hears(b"x")
        assert person.settings() != person.before
        person.process.send_signal(number)
        assert person.ends() == code
        assert person.settings() == person.before
        assert b"Traceback" not in person.seen
    assert not outlet.is_on()


def test_an_adapter_that_is_unplugged_is_125_and_says_so(outlet: Outlet, port: Port) -> None:
    with at(outlet, "--power-on") as person:
        person.sees(b"at the end")
        port.says(b"last words\r\n")
        person.sees(b"last words")
        port.unplug()
        assert person.ends() == 125
        assert person.settings() == person.before
        assert b"INFRA: the console " + port.path.encode() + b" ended: " in person.seen
        assert b"is the cable, the adapter or the console server still there?" in person.seen
    assert not outlet.is_on()


def test_a_switch_that_sticks_at_the_end_is_told(outlet: Outlet, port: Port) -> None:
    with at(outlet, "--power-on") as person:
        person.sees(b"at the end")
        outlet.let("fails-off")
        person.types(QUIT)
        assert person.ends() == 125
        assert b"rock may still have power; run: " in person.seen
        assert person.settings() == person.before


def test_the_board_is_one_persons_and_another_may_only_watch(outlet: Outlet, port: Port) -> None:
    with at(outlet) as first:
        first.sees(b"is help")
        with at(outlet) as second:
            assert second.ends() == 125
            assert b"is in use by" in second.seen
        port.says(b"before\r\n")
        first.sees(b"before")
        with at(outlet, "--watch") as watcher:
            watcher.sees(b"Ctrl-C ends the watching")
            watcher.sees(b"before\r")
            port.says(b"\x1b[6nafter\r\n")
            watcher.sees(b"after\r")
            assert watcher.settings() == watcher.before
            first.types(QUIT)
            assert first.ends() == 0
            assert watcher.ends() == 0
            assert b"rock was given back" in watcher.seen
            assert b"\x1b[6n" not in watcher.seen
    assert port.heard == b""


def test_a_watcher_ends_by_itself_and_only_that(outlet: Outlet, port: Port) -> None:
    with at(outlet) as first:
        first.sees(b"is help")
        with at(outlet, "--watch") as watcher:
            watcher.sees(b"Ctrl-C ends the watching")
            watcher.process.send_signal(signal.SIGINT)
            assert watcher.ends() == 130
        port.says(b"still here")
        first.sees(b"still here")


def test_a_terminal_that_hangs_up_ends_it(outlet: Outlet, port: Port) -> None:
    with at(outlet, "--power-on") as person:
        person.sees(b"at the end")
        person.hangs_up()
        assert person.process.wait(30) == 143
    assert not outlet.is_on()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--watch",), 125, b"nobody holds rock: there is nothing to watch"),
        (("--watch", "--cycle"), 2, b"--watch only looks on"),
    ],
)
def test_what_can_not_be_watched_is_told(
    outlet: Outlet, argv: tuple[str, ...], code: int, said: bytes
) -> None:
    done = piped(outlet, b"", *argv)
    assert done.returncode == code
    assert said in done.stderr


def test_a_pipe_is_sent_as_it_is_and_ends_after_a_silence(outlet: Outlet, port: Port) -> None:
    port.says(b"")
    done = piped(outlet, b"version\r\x1dq", "--quiet", "0.2", "--power-on")
    assert done.returncode == 0, done.stderr
    port.hears(b"version\r\x1dq")
    assert outlet.did() == ["on", "off"]
    assert done.stdout == b""


def _greeted(outlet: Outlet, port: Port, *argv: str) -> subprocess.Popen[bytes]:
    """Return a command between two pipes that has sent the board its first word."""
    command = hilagent("console", "rock", "--boards", str(outlet.folder), "--quiet", "0.2", *argv)
    child = subprocess.Popen(
        command, cwd=outlet.folder, env=environment(outlet.folder),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(b"hello\n")
    child.stdin.flush()
    port.hears(b"hello\n")
    return child


def test_a_pipe_gets_what_the_board_says_without_colours(outlet: Outlet, port: Port) -> None:
    with _greeted(outlet, port, "--timestamps", "--run-dir", "mine") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        port.says(b"\x1b[1mred\x1b[0m\r\nnext")
        child.stdin.close()
        out = child.stdout.read()
    assert child.returncode == 0
    first, second = out.split(b"\r\n")
    assert first.startswith(b"[  ")
    assert first.endswith(b"] red")
    assert second.endswith(b"] next")
    assert (outlet.folder / "mine" / "console.raw").read_bytes().endswith(b"\r\nnext")


def test_a_slow_reader_gets_everything(outlet: Outlet, port: Port) -> None:
    said = b"".join(b"line %06d\r\n" % number for number in range(20_000))
    with _greeted(outlet, port) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for at in range(0, len(said), 1024):
            port.says(said[at : at + 1024])
        child.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(2.5)  # the board is quiet for long, and the pipe is full
        assert child.stdout.read() == said
    assert child.returncode == 0


def test_a_reader_that_goes_away_ends_it(outlet: Outlet, port: Port) -> None:
    command = hilagent("console", "rock", "--boards", str(outlet.folder), "--power-on")
    reader, writer = os.pipe()
    with subprocess.Popen(
        command, cwd=outlet.folder, env=environment(outlet.folder),
        stdin=subprocess.PIPE, stdout=writer,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        os.close(writer)
        os.close(reader)
        child.stdin.write(b"hello\n")
        child.stdin.flush()
        port.hears(b"hello\n")
        port.says(b"nobody reads this\r\n")
        assert child.wait(30) == 143
        child.stdin.close()
    assert not outlet.is_on()
