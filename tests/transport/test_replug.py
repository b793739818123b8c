# SPDX-License-Identifier: Apache-2.0
"""A serial adapter that is unplugged in the middle, and plugged in again or not."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hilagent import transport
from hilagent.board.model import Console as Config
from hilagent.board.model import Network, UBootSpec
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.console.tape import GAP, RX, read_index
from hilagent.console.uboot import UBoot
from hilagent.errors import LabError, LinkError
from hilagent.link import wire
from hilagent.payload import Payload, SweepRequest, connect
from hilagent.testing import Machine, PayloadTwin, PtyBoard, ScriptedUBoot, Traits
from hilagent.testing.uboot import LOAD_ADDR
from hilagent.transport import replug
from hilagent.transport.serial import SerialStream
from tests.transport.cable import Cable, Unplugged
from tests.transport.helper import heard, readable, receive, send, soon


@pytest.fixture
def cable() -> Iterator[Cable]:
    with Cable() as cable:
        yield cable


def opened(cable: Cable, replug_s: float = 20.0) -> SerialStream:
    stream = transport.open(Config(kind="serial", path=str(cable.path), replug_s=replug_s))
    assert isinstance(stream, SerialStream)
    return stream


def until_away(stream: SerialStream) -> None:
    while stream.away_since_s is None:
        assert readable(stream)
        stream.read()


def until_back(stream: SerialStream) -> None:
    while stream.away_since_s is not None:
        assert readable(stream)
        assert stream.read() == b""


def test_it_goes_on_both_ways_when_it_is_back(cable: Cable) -> None:
    stream = opened(cable)
    os.write(cable.far, b"before")
    assert receive(stream, 6) == b"before"
    cable.unplug()
    assert stream.write(b"into the air") in (0, 12)  # nobody knows yet
    until_away(stream)
    assert stream.write(b"nobody") == 0
    assert stream.read() == b""
    far = cable.plug()
    until_back(stream)
    os.write(far, b"after")
    assert receive(stream, 5) == b"after"
    send(stream, b"hello")
    assert heard(far, 5) == b"hello"
    stream.close()


def test_who_waits_for_it_is_woken_and_the_descriptor_is_another_one_each_time(
    cable: Cable,
) -> None:
    stream, seen = opened(cable), []
    seen.append(stream.fileno())
    cable.unplug()
    until_away(stream)
    seen.append(stream.fileno())
    assert readable(stream)  # by the timer
    assert stream.read() == b""
    assert not readable(stream, 0)
    cable.plug()
    until_back(stream)
    seen.append(stream.fileno())
    assert seen[0] != seen[1] != seen[2]
    stream.close()


def test_one_that_is_not_back_in_time_is_a_link_error_that_says_so(cable: Cable) -> None:
    stream = opened(cable, 0.3)
    cable.unplug()
    with pytest.raises(LinkError, match=r"ended: .*; it did not come back within 0\.3 s: can't"):
        receive(stream, 1)
    with pytest.raises(LinkError, match="did not come back"):
        stream.read()
    cable.plug()
    stream.close()
    with pytest.raises(LinkError, match="closed by this program"):
        stream.read()


def test_one_that_nobody_waits_for_is_lost_at_once(cable: Cable) -> None:
    stream = opened(cable, 0)
    cable.unplug()
    with pytest.raises(LinkError, match="ended"):
        receive(stream, 1)
    stream.close()


def test_a_ptys_own_path_is_lost_at_once_for_its_number_is_given_to_others() -> None:
    far, near = os.openpty()
    path = os.ttyname(near)
    stream = transport.open(Config(kind="serial", path=path, replug_s=20))
    os.close(near)
    os.close(far)
    with pytest.raises(LinkError, match="ended"):
        stream.read()
    stream.close()


def test_a_port_that_another_program_took_meanwhile_is_left_to_it(cable: Cable) -> None:
    stream = opened(cable, 0.5)
    cable.unplug()
    until_away(stream)
    cable.plug()
    other = transport.open(Config(kind="serial", path=str(cable.path)))
    with pytest.raises(LinkError, match=r"come back within .*another program has the port open"):
        receive(stream, 1)
    other.close()
    stream.close()


def test_a_break_while_it_is_away_is_a_link_error(cable: Cable) -> None:
    stream = opened(cable)
    cable.unplug()
    until_away(stream)
    with pytest.raises(LinkError, match="ended"):
        stream.send_break()
    stream.close()


def test_nothing_is_left_open(cable: Cable) -> None:
    stream = opened(cable)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        cable.unplug()
        until_away(stream)
        cable.plug()
        until_back(stream)
    assert len(os.listdir("/proc/self/fd")) == before
    stream.close()


def adapter(sysfs: Path, path: Path, *, port: str, serial: str, product: str = "6001") -> None:
    """Make what Linux says of a USB adapter that stands behind ``path``."""
    number = path.stat().st_rdev
    usb = sysfs / "devices" / "usb1" / port
    tty = usb / f"{port}:1.0" / "ttyUSB0"
    tty.mkdir(parents=True, exist_ok=True)
    for name, said in (("idVendor", "0403"), ("idProduct", product), ("serial", serial)):
        (usb / name).write_text(said + "\n")
    char = sysfs / f"{os.major(number)}:{os.minor(number)}"
    char.mkdir(exist_ok=True)
    (char / "device").unlink(missing_ok=True)
    (char / "device").symlink_to(tty)


@pytest.mark.parametrize(
    ("back", "by_id", "same"),
    [
        ({"port": "1-1", "serial": "A"}, False, True),
        ({"port": "1-1", "serial": "B"}, False, False),
        ({"port": "1-2", "serial": "A"}, False, False),
        ({"port": "1-2", "serial": "A"}, True, True),
        ({"port": "1-1", "serial": "A", "product": "6010"}, True, False),
    ],
    ids=["itself", "another in its place", "another place", "by its own name", "another kind"],
)
def test_another_adapter_is_not_taken_for_it(
    back: dict[str, str], by_id: bool, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    cable: Cable,
) -> None:  # fmt: skip
    monkeypatch.setattr(replug, "SYSFS", tmp_path)
    if by_id:
        named = cable.path.parent / "by-id" / "usb"
        named.parent.mkdir()
        named.symlink_to(cable.path)
    else:
        named = cable.path
    adapter(tmp_path, cable.path, port="1-1", serial="A")
    stream = transport.open(Config(kind="serial", path=str(named), replug_s=0.5))
    assert isinstance(stream, SerialStream)
    cable.unplug()
    until_away(stream)
    far = cable.plug()
    adapter(tmp_path, cable.path, **back)
    if same:
        until_back(stream)
        os.write(far, b"!")
        assert receive(stream, 1) == b"!"
    else:
        with pytest.raises(LinkError, match="another adapter was plugged in there"):
            receive(stream, 1)
    stream.close()


def test_the_console_tells_of_it_marks_the_place_and_goes_on(cable: Cable, tmp_path: Path) -> None:
    told: list[str] = []
    with Console(opened(cable), tmp_path, told=told.append) as console:
        line = console.take("test")
        os.write(cable.far, b"Internal err")
        assert line.expect([b"err"], soon())
        began_s = Deadline.after(0).at_s
        cable.unplug()
        until(lambda: len(told) == 1)
        far = cable.plug()
        until(lambda: len(told) == 2)
        os.write(far, b"or: half a line\r\n=> ")
        assert line.expect([b"=> "], soon())
        assert console.crash() is None
        assert 0 < console.late_s(began_s) < 20
    assert told[0] == "the console's adapter was unplugged, at byte 12 of its log"
    assert told[1].startswith("the console's adapter is back after ")
    assert told[1].endswith(" s: bytes may be missing at byte 12 of its log")
    marks = [(each.direction, each.offset) for each in read_index(tmp_path / "console.idx")]
    assert marks.count((GAP, 12)) == 1
    assert marks.index((GAP, 12)) > marks.index((RX, 0))


def test_a_console_without_its_adapter_counts_as_late_and_is_lost_in_the_end(cable: Cable) -> None:
    told: list[str] = []
    with Console(opened(cable, 0.5), told=told.append) as console:
        line, began_s = console.take("test"), Deadline.after(0).at_s
        cable.unplug()
        until(lambda: bool(told))
        assert line.read(Deadline.after(0.2)) == b""
        assert console.late_s(began_s) >= 0.1
        with pytest.raises(LinkError, match="did not come back"):
            line.read(soon())


def until(so: Callable[[], bool]) -> None:
    """Wait until the console's reader has come so far."""
    deadline = soon()
    while not so():
        assert not deadline.expired()
        threading.Event().wait(0.01)


@contextlib.contextmanager
def on_a_cable(
    machine: Machine, told: Callable[[str], None] = lambda text: None, replug_s: float = 20.0
) -> Iterator[tuple[PtyBoard, Cable, Console]]:
    """A scripted board whose adapter can be unplugged."""
    with (
        PtyBoard(machine) as board,
        Cable(board.path) as cable,
        Console(opened(cable, replug_s), told=told) as console,
    ):
        yield board, cable, console


def connected(console: Console) -> Payload:
    return connect(console.take("payload"), run_id=7, deadline=soon(), late_s=console.late_s)


def test_a_conversation_with_uboot_survives_it() -> None:
    spec = UBootSpec(prompt="=> ", autoboot="Hit any key to stop autoboot", load_addr=LOAD_ADDR,
                     network=Network(mode="qemu"))  # fmt: skip
    machine, told = ScriptedUBoot(), list[str]()
    with on_a_cable(machine, told.append) as (board, cable, console):
        board.change(machine.power_on)
        uboot = UBoot(console, spec)
        uboot.attach()
        with Unplugged(cable, 0.05, 0.4):
            for number in range(200):
                uboot.env_set("bootargs", f"console=ttyS{number}")
                assert uboot.env_get("bootargs") == f"console=ttyS{number}"
                if len(told) == 2:
                    break
        assert len(told) == 2
        uboot.env_set("bootargs", "quiet")
        assert uboot.env_get("bootargs") == "quiet"


@pytest.mark.parametrize("for_s", [0.3, 2.5])
def test_a_session_with_the_payload_survives_it(for_s: float) -> None:
    twin, told = PayloadTwin(traits=Traits(sweep_s=0.4)), list[str]()
    with on_a_cable(twin, told.append) as (_, cable, console):
        payload = connected(console)
        payload.start_cpus()
        payload.vectors(wire.Target.HYP_STUB)
        work = [SweepRequest(cpu=cpu, pass_no=n, catch_mask=1) for cpu in (0, 1) for n in (0, 1)]
        truth = [swept.runs for swept in payload.sweep(work)]
        with Unplugged(cable, 0.2, for_s):
            swept = payload.sweep(work)
        assert [each.runs for each in swept] == truth
        assert all(each.crc_ok for each in swept)
        data = os.urandom(3000)
        with Unplugged(cable, 0.0, 0.2):
            payload.write(payload.hello.scratch, data)
            assert payload.read(payload.hello.scratch, len(data)) == data
        assert len(told) == 4


def test_a_session_that_stays_unplugged_is_the_labs() -> None:
    twin = PayloadTwin(traits=Traits(sweep_s=2.0))
    with on_a_cable(twin, replug_s=0.5) as (_, cable, console):
        payload = connected(console)
        cable.unplug()
        with pytest.raises(LabError, match="did not come back"):
            payload.sweep([SweepRequest()])
