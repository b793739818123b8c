# SPDX-License-Identifier: Apache-2.0
"""What two boards can't both use is one thing, whatever their files call it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hilagent import board as boards
from hilagent.board import Board, Console
from hilagent.board.model import LinuxSpec, OsSpec, Power, Ssh
from hilagent.session.things import things

POWER = Power("command", on=("pdu", "2", "on"), off=("pdu", "2", "off"))


def board(**changes: Any) -> Board:
    real: dict[str, Any] = {
        "emulated": False,
        "qemu": None,
        "uboot": None,
        "linux": None,
        "power": POWER,
    }
    real |= {"console": Console("tcp", host="Lab", port=2001), "transfers": ("ymodem",)}
    return dataclasses.replace(boards.load("qemu-virt"), **{**real, **changes})


def test_an_emulated_board_is_nobodys() -> None:
    assert things(boards.load("qemu-virt")) == ()


def test_a_console_by_a_server_or_a_program_is_that_and_a_recording_is_nobodys() -> None:
    rfc2217 = Console("rfc2217", host="LAB", port=2001)
    assert things(board(console=rfc2217)) == things(board())
    conmux = Console("command", argv=("conmux", "rock 2"))
    assert "console 'conmux 'rock 2''" in things(board(console=conmux))
    recorded = board(console=Console("recorded", path="/run"), power=Power("recorded"))
    assert things(recorded) == ()


def test_a_serial_port_is_one_however_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    (tmp_path / "by-path").symlink_to(tmp_path / "tty")
    found = things(board(console=Console("serial", path=str(tmp_path / "by-path"))))
    assert str((tmp_path / "tty").resolve()) in found
    assert found == things(board(console=Console("serial", path=str(tmp_path / "tty"))))


def test_a_console_server_is_its_host_and_port() -> None:
    assert "lab:2001" in things(board())


def test_an_outlet_is_what_takes_power_away() -> None:
    assert "outlet 'pdu 2 off'" in things(board())
    other = Power("command", on=("script",), off=("pdu", "2", "off"), cycle=("pdu", "2", "cycle"))
    assert {"outlet 'pdu 2 off'", "outlet 'pdu 2 cycle'"} <= {*things(board(power=other))}


def test_linux_is_where_it_answers_once_and_in_order() -> None:
    lab = Ssh(host="LAB", port=2222)
    both = board(os=OsSpec(lab), linux=LinuxSpec("ttyAMA0", lab))
    assert things(both) == ("lab:2001", "outlet 'pdu 2 off'", "ssh lab:2222")


def test_an_outlet_on_the_network_is_one_however_its_address_is_written() -> None:
    def outlet(url: str, number: int = 1, **more: Any) -> set[str]:
        power = Power("http", url=url, outlet=number, **{"device": "shelly1", **more})
        return set(things(board(power=power))) - set(things(board()))

    assert outlet("http://Plug") == outlet("http://plug:80/") == {"outlet plug:80 1"}
    assert outlet("https://plug") == {"outlet plug:443 1"}
    assert outlet("http://plug", 2) == {"outlet plug:80 2"}
    assert outlet("http://p:16421", 7, device="pdudaemon", pdu="a") == {"outlet p:16421 a 7"}
    assert set(things(board(power=Power("manual")))) < set(things(board()))
