# SPDX-License-Identifier: Apache-2.0
"""SSH to a board: what works, and each way in which it doesn't, with class and message."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilagent.errors import LabError, LinkError, TargetHang
from hilagent.testing.ssh import SshServer
from hilagent.transport import ssh
from hilagent.transport.ssh import Connection
from tests import tree
from tests.transport.helper import soon


def test_output_errors_and_status_come_back_as_they_are(to: Connection) -> None:
    done = to.run(["sh", "-c", "printf 'a\\0b'; printf '\\377' >&2; exit 7"], deadline=soon())
    assert (done.status, done.out, done.err) == (7, b"a\0b", b"\xff")
    assert done.took_s > 0


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_every_argument_arrives_as_it_was_given(to: Connection, words: list[str]) -> None:
    done = to.run(["sh", "-c", 'printf "%s\\0" "$@"', "sh", "-", *words], deadline=soon())
    assert done.out.split(b"\0") == [b"-", *[word.encode() for word in words], b""]


def test_input_and_output_are_bytes_and_may_be_large(to: Connection) -> None:
    data = os.urandom(3 << 20)
    assert to.run(["cat"], stdin=data, deadline=soon()).out == data


def test_errors_and_output_at_the_same_time_are_both_whole(to: Connection) -> None:
    script = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait"
    done = to.run(["sh", "-c", script], deadline=soon())
    assert (len(done.out), len(done.err)) == (3_000_000, 3_000_000)


def test_a_command_that_reads_nothing_of_its_input_ends_well(to: Connection) -> None:
    assert to.run(["true"], stdin=bytes(8 << 20), deadline=soon()).status == 0


def test_more_output_than_asked_for_is_not_collected(to: Connection) -> None:
    for _ in range(50):  # what still arrives when the channel is closed must do no harm
        with pytest.raises(LabError, match=r"scripted/rootfs: yes printed more than it should"):
            to.run(["yes"], deadline=soon(), limit_bytes=100_000)
        assert to.alive()


def test_must_names_what_failed_and_what_it_said(to: Connection) -> None:
    assert to.must(["echo", "x"], deadline=soon()) == b"x\n"
    with pytest.raises(LabError, match=r"scripted/rootfs: the test ended with 3: oh \S*no$"):
        to.must(["sh", "-c", "echo 'oh \7no' >&2; exit 3"], deadline=soon(), doing="the test")


def test_a_started_command_goes_on_without_the_connection(board: SshServer, tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    os.mkfifo(done)
    with ssh.connect(board.target(), soon()) as to:
        to.start(["sh", "-c", f"cat {gate}; echo yes >{done}"], deadline=soon())
    gate.write_bytes(b"go")
    assert done.read_bytes() == b"yes\n"


def test_a_command_that_takes_too_long_means_what_the_caller_says(to: Connection) -> None:
    with pytest.raises(LabError, match=r"scripted/rootfs: sleep 1000 didn't end within 0\.3 s$"):
        to.run(["sleep", "1000"], deadline=soon(0.3))
    with pytest.raises(TargetHang, match=r"asking CPU 1 didn't end within 0\.3 s"):
        to.run(["sleep", "1000"], deadline=soon(0.3), late=TargetHang, doing="asking CPU 1")
    assert to.run(["echo", "still here"], deadline=soon()).out == b"still here\n"


@pytest.mark.parametrize("where", ["channel", "exec"])
def test_silence_of_the_whole_server_accuses_nobody(
    board: SshServer, to: Connection, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilagent.transport.ssh_connection.ALIVE_S", 0.3)
    board.traits.hang = where  # type: ignore[assignment]
    with pytest.raises(LinkError, match=r"true didn't end within 0\.3 s, and SSH does not answer"):
        to.run(["true"], deadline=soon(0.3), late=TargetHang)
    assert not to.alive(soon(0.2))


def test_a_server_that_takes_no_commands_is_named(board: SshServer, to: Connection) -> None:
    board.traits.refuse_commands = True
    with pytest.raises(LabError, match="the SSH server refused uname -r"):
        to.run(["uname", "-r"], deadline=soon())


def test_a_board_that_is_still_booting_is_tried_again(board: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late = SshServer(port=port)
    pauses = []

    def boots(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            late.__enter__()

    late.host = "127.0.0.1"
    try:
        with ssh.connect(late.target(), soon(), pause=boots) as to:
            assert to.alive()
    finally:
        late.__exit__()
    assert len(pauses) == 3


def test_nothing_there_is_said_at_the_deadline(board: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = ssh.Target(**{**vars(board.target()), "port": port})
    with pytest.raises(LabError, match=rf"no SSH at 127.0.0.1:{port} within 0.3 s: Connection ref"):
        ssh.connect(nobody, soon(0.3))


def test_a_forwarded_port_without_a_board_behind_it_is_not_a_board(board: SshServer) -> None:
    board.traits.hang = "banner"
    with pytest.raises(LabError, match=r"within 0\.5 s: it takes connections, and no SSH answers"):
        ssh.connect(board.target(), soon(0.5))


def test_a_slow_banner_is_waited_for(board: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_BANNER_S", (0.1, 5.0))
    board.traits.banner_delay_s = 0.3
    with ssh.connect(board.target(), soon()) as to:
        assert to.alive()


def test_a_board_that_restarts_in_the_middle_of_a_login_is_tried_again(
    board: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def works_again(seconds: float) -> None:
        board.traits.hang = ""

    monkeypatch.setattr(ssh, "_TRY_S", 1.0)
    board.traits.hang = "login"
    with ssh.connect(board.target(), soon(), pause=works_again) as to:
        assert to.alive()


def test_a_login_that_never_ends_is_not_a_refusal(board: SshServer) -> None:
    board.traits.hang = "login"
    with pytest.raises(LabError, match=r"within 1 s: its SSH server broke off, or got stuck"):
        ssh.connect(board.target(), soon(1))


def test_a_name_that_nobody_knows_is_said_at_once(board: SshServer) -> None:
    target = ssh.Target(**{**vars(board.target()), "host": "nowhere.invalid"})
    with pytest.raises(LabError, match=r"scripted/rootfs: 'nowhere\.invalid': "):
        ssh.connect(target, soon())


def test_a_connection_can_go_through_another(board: SshServer, to: Connection) -> None:
    with SshServer() as inner, ssh.connect(inner.target("inner/os"), soon(), proxy=to) as onward:
        assert onward.run(["echo", "in"], deadline=soon()).out == b"in\n"
        board.drop()
        with pytest.raises(LinkError, match="inner/os: the connection was lost in"):
            onward.run(["sleep", "1000"], deadline=soon())


def test_a_connection_that_is_closed_says_so(board: SshServer) -> None:
    to = ssh.connect(board.target(), soon())
    to.close()
    to.close()
    assert not to.alive()
    with pytest.raises(LinkError, match="the connection was lost in true"):
        to.run(["true"], deadline=soon())


def test_nothing_is_left_running(board: SshServer) -> None:
    def ours() -> set[str]:
        return {t.name for t in threading.enumerate() if "ssh upload" in t.name}

    with ssh.connect(board.target(), soon()) as to:
        to.run(["cat"], stdin=bytes(1 << 20), deadline=soon())
        with pytest.raises(LabError):
            to.run(["sleep", "1000"], stdin=bytes(8 << 20), deadline=soon(0.2))
    assert ours() == set()


def test_paramiko_is_loaded_when_a_connection_is_made_and_nowhere_else() -> None:
    code = (
        "import sys, hilagent.transport.ssh\n"
        "print([name for name in ('paramiko', 'fabric') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.TOP, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    users = {
        tree.name(path)
        for path in tree.files(".py")
        if tree.name(path).startswith("hilagent/")
        and any(word in path.read_text() for word in ("import paramiko", "import fabric"))
    }
    assert all(
        name.startswith(("hilagent/transport/ssh", "hilagent/testing/ssh")) for name in users
    )
