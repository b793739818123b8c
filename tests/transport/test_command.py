# SPDX-License-Identifier: Apache-2.0
"""A program's terminal as a console: its ends, and what it must not inherit."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.console import Console
from hilagent.errors import LabError, LinkError
from hilagent.transport import command
from tests.transport import servers
from tests.transport.helper import heard, readable, receive, send, soon

EVERY_BYTE = bytes(range(256))


def started(*argv: str) -> command.CommandStream:
    stream = transport.open(Config(kind="command", argv=argv))
    assert isinstance(stream, command.CommandStream)
    return stream


def python(code: str, *argv: str) -> command.CommandStream:
    return started(sys.executable, "-I", "-S", "-c", f"import os, signal, sys\n{code}", *argv)


def ends_of(stream: command.CommandStream) -> str:
    with pytest.raises(LinkError) as caught:
        receive(stream, 1 << 20)
    stream.close()
    return caught.value.message


def gone(pid: int) -> bool:
    """Return whether no such process is left, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_cat_echoes_every_byte() -> None:
    stream = started("cat")
    send(stream, EVERY_BYTE)
    assert receive(stream, 256) == EVERY_BYTE
    stream.close()


def test_a_real_telnet_to_a_real_console_server() -> None:
    with servers.ser2net("telnet") as server:
        argv = ("telnet", "-8E", server.host, str(server.port))
        with Console(transport.open(Config(kind="command", argv=argv))) as console:
            line = console.take("test")
            assert line.expect([b"Connected to"], soon())
            os.write(server.far, b"\r\n=> ")
            assert line.expect([b"\n=> "], soon())
            line.write(b"version\r\xff!", soon())
            assert heard(server.far, 10) == b"version\r\xff!"


def test_the_end_says_how_and_the_last_that_was_said_on_stderr() -> None:
    stream = python("sys.stderr.write('Error: no \\x1b[31mBMC\\n'); sys.exit(1)")
    assert ends_of(stream).endswith(": exit 1: Error: no BMC")
    assert ends_of(python("os.kill(os.getpid(), 9)")).endswith(": signal 9")
    assert ends_of(started("true")) == "the console true ended: true: exit 0"


def test_what_was_said_before_the_end_is_handed_out_first() -> None:
    stream = python("os.write(1, b'z' * 3000)")
    assert receive(stream, 3000) == b"z" * 3000
    assert ends_of(stream).endswith(": exit 0")


def test_a_program_that_lets_go_of_its_terminal_ends_the_line() -> None:
    stream = python("os.close(0); os.close(1); signal.pause()")
    assert ends_of(stream).endswith("Input/output error")


def test_much_on_stderr_blocks_nobody() -> None:
    stream = python("sys.stderr.write('x' * (1 << 20)); os.write(1, b'done'); sys.exit('why')")
    deadline = soon()
    got = b""
    while got != b"done" and not deadline.expired():  # as the console's reader, by every tick
        readable(stream, 0.1)
        got += stream.read()
    assert got == b"done"
    assert ends_of(stream).endswith("why")


def test_no_program_of_that_name_says_so() -> None:
    with pytest.raises(LabError, match="no program 'no-such-program'"):
        started("no-such-program")


def test_what_can_not_be_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x7fELF")
    (tmp_path / "broken").chmod(0o755)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LabError, match=r"can't run .*broken for the console: Exec format error"):
        started(str(tmp_path / "broken"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_has_a_terminal_and_a_session_and_nothing_else_of_ours() -> None:
    kept = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    stream = python(
        "t = os.isatty(0), os.isatty(1), os.isatty(2), os.getsid(0) == os.getpid()\n"
        "print(*t, sorted(os.listdir('/proc/self/fd'), key=int))"
    )
    assert receive(stream, 40).startswith(b"True True False True ['0', '1', '2', '3']")
    stream.close()
    os.close(kept)


@pytest.mark.parametrize(
    ("code", "patience", "least_s"),
    [
        ("os.write(1, b'!'); os.read(0, 1)", (20, 20), 0.0),
        ("os.write(1, b'!'); signal.pause()", (0.2, 20), 0.2),
        ("signal.signal(15, signal.SIG_IGN); os.write(1, b'!'); signal.pause()", (0.2, 0.2), 0.4),
    ],
    ids=["by itself", "asked", "killed"],
)
def test_closing_ends_the_program_whatever_it_minds(
    code: str, patience: tuple[float, float], least_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_BY_ITSELF_S", patience[0])
    monkeypatch.setattr(command, "_ASKED_S", patience[1])
    stream = python(code)
    assert receive(stream, 1) == b"!"
    began, pid = time.monotonic(), stream._child.pid
    stream.close()
    assert least_s <= time.monotonic() - began < 15
    assert gone(pid)
    stream.close()


def test_what_the_program_started_ends_with_it() -> None:
    stream = python(
        "pid = os.fork()\n"
        "if not pid: signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()\n"
        "os.write(1, b'%08d' % pid); os.read(0, 1)"
    )
    grandchild = int(receive(stream, 8))
    stream.close()
    deadline = soon()
    while not (gone(grandchild) or _is_zombie(grandchild)):  # init buries it
        assert not deadline.expired()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
