# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong around a board, as a function of its laboratory."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from hilagent.journal import NAME
from hilagent.testing import Faults, ScriptedBoard, filters, speech
from hilagent.testing.faults import NONE, Fault
from hilagent.testing.simulated import Simulation
from hilagent.testing.switch import SwitchTraits

PANIC = (
    b"\r\n[   12.345678] Unable to handle kernel NULL pointer dereference at virtual address 0\r\n"
    b"[   12.345700] Kernel panic - not syncing: Attempted to kill init!\r\n"
)
PRINTK = b"\r\n[   12.345678] usb 1-1: new high-speed USB device number 2 using dwc2\r\n"
FLOOD = b"the quick brown fox jumps over the lazy dog 0123456789\r\n" * 4096


class Lab(Simulation):
    """A simulation, with what the run of it leaves and what is drawn for it by chance."""

    chance: Random
    run_dir: Path
    board: ScriptedBoard


Trouble = Callable[[Lab], None]


def to_host(*kinds: Fault) -> Trouble:
    """The next bytes from the board suffer."""
    return lambda lab: lab.line.to_host.inject(*kinds)


def to_board(*kinds: Fault) -> Trouble:
    """The next bytes to the board suffer."""
    return lambda lab: lab.line.to_board.inject(*kinds)


def stalls(seconds: float) -> Trouble:
    """What the board says comes so much later."""

    def happens(lab: Lab) -> None:
        lab.line.to_host.change(Faults(stall_s=seconds))
        lab.line.to_host.inject(Fault.STALL)

    return happens


def lossy(rate: float) -> Trouble:
    """From here on bytes are lost, flipped and doubled, both ways."""

    def happens(lab: Lab) -> None:
        lab.line.to_host.change(Faults.spread(rate))
        lab.line.to_board.change(Faults.spread(rate))

    return happens


def drifts(lab: Lab) -> None:
    """The board's baud rate is another from here on, until it is switched on again."""
    made = filters.drifted(lab.chance.randrange(1 << 16))
    until_power(lab, lambda: both_ways(lab, Faults(filter=made)), lambda: both_ways(lab, NONE))


def drifts_for_good(lab: Lab) -> None:
    """The board's baud rate is another from here on."""
    both_ways(lab, Faults(filter=filters.drifted(lab.chance.randrange(1 << 16))))


def both_ways(lab: Lab, faults: Faults) -> None:
    """Let both directions do the same to their bytes."""
    lab.line.to_host.change(faults)
    lab.line.to_board.change(faults)


def until_power(lab: Lab, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Have ``begin`` happen now and ``end`` when the board is switched on."""
    begin()
    lab.when("power on", 0, end)


def filtered(name: str) -> Trouble:
    """What the board says goes through one of `filters.ALL` from here on."""
    return lambda lab: lab.line.to_host.change(Faults(filter=filters.ALL[name]))


def deaf(lab: Lab) -> None:
    """The wire to the board breaks."""
    lab.line.to_board.change(Faults(drop=1.0))


def mute(lab: Lab) -> None:
    """The wire from the board breaks."""
    lab.line.to_host.change(Faults(drop=1.0))


def unplugged(lab: Lab) -> None:
    """The adapter is gone for good."""
    lab.line.gone = True


def replugged(seconds: float) -> Trouble:
    """The adapter is away for so long; what the board says meanwhile is lost."""

    def happens(lab: Lab) -> None:
        lab.line.away_until_s = lab.clock.now_s() + seconds
        lab.line.to_host.change(Faults(drop=1.0))
        lab.line.later(seconds, lambda: lab.line.to_host.change(NONE))

    return happens


def stopped(seconds: float) -> Trouble:
    """Flow control stops this host: an XOFF, and an XON much later or never."""

    def happens(lab: Lab) -> None:
        lab.line.stopped = True
        if seconds:
            lab.line.later(seconds, lambda: setattr(lab.line, "stopped", False))

    return happens


def says(data: bytes) -> Trouble:
    """The board says something in the middle of everything."""
    return lambda lab: lab.board.interject(data)


def noise(size: int) -> Trouble:
    """The line says something that nobody said."""
    return lambda lab: lab.board.interject(lab.chance.randbytes(size))


def resets(lab: Lab) -> None:
    """The board restarts by itself."""
    lab.board.restart()


def hangs(lab: Lab) -> None:
    """The board says nothing any more, until power."""
    lab.board.hung = True


def loses_power(tells: bool) -> Trouble:
    """Somebody pulls the plug."""

    def happens(lab: Lab) -> None:
        lab.switch.traits = replace(lab.switch.traits, tells=tells)
        lab.board.power(False)
        lab.switch.is_on = False

    return happens


def speaks(name: str) -> Trouble:
    """The payload speaks badly, until it is started anew."""
    return lambda lab: setattr(lab.board.twin, "speech", speech.ALL[name]())


def switch(**traits: Any) -> Trouble:
    """The switch behaves so from here on."""
    return lambda lab: setattr(lab.switch, "traits", SwitchTraits(**traits))


def uboot(**traits: Any) -> Trouble:
    """U-Boot is so from here on."""

    def happens(lab: Lab) -> None:
        lab.board.uboot.traits = replace(lab.board.uboot.traits, **traits)

    return happens


def disk_full(lab: Lab) -> None:
    """No file of this process may grow beyond what the journal has now."""
    size = (lab.run_dir / NAME).stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def signalled(number: int) -> Trouble:
    """Somebody stops the agent, or kills it."""
    return lambda lab: os.kill(os.getpid(), number)


TROUBLES: Mapping[str, Trouble] = {
    "a byte is lost": to_host(Fault.DROP),
    "a bit is flipped": to_host(Fault.FLIP),
    "a byte comes twice": to_host(Fault.DOUBLE),
    "garbage before a byte": to_host(Fault.GARBAGE),
    "a byte to the board is lost": to_board(Fault.DROP),
    "a bit to the board is flipped": to_board(Fault.FLIP),
    "a byte to the board comes twice": to_board(Fault.DOUBLE),
    "garbage to the board": to_board(Fault.GARBAGE),
    "0.1 % of the bytes are bad": lossy(0.001),
    "1 % of the bytes are bad": lossy(0.01),
    "the board stalls for 3 s": stalls(3),
    "the board stalls for 40 s": stalls(40),
    "the baud rate drifts until power": drifts,
    "the baud rate drifts for good": drifts_for_good,
    "the line has 7 bits": filtered("seven-bits"),
    "the line swallows NULs": filtered("no-nul"),
    "the line takes XON and XOFF": filtered("xon-xoff"),
    "the wire to the board breaks": deaf,
    "the wire from the board breaks": mute,
    "the adapter is unplugged": unplugged,
    "the adapter is away for 4 s": replugged(4),
    "an XOFF for 4 s": stopped(4),
    "an XOFF for good": stopped(0),
    "500 NULs": says(bytes(500)),
    "noise of 300 bytes": noise(300),
    "a flood of 220 KB": says(FLOOD),
    "an endless line of 200 KB": says(b"A" * 200_000),
    "a kernel's line": says(PRINTK),
    "a prompt that is none": says(b"\r\n=> "),
    "a countdown that is none": says(b"\r\nHit any key to stop autoboot:  2 "),
    "a panic's text": says(PANIC),
    "the board resets once": resets,
    "the board hangs once": hangs,
    "the board loses power, and its switch tells": loses_power(tells=True),
    "the board loses power, and nobody tells": loses_power(tells=False),
    **{f"the payload's packets are {name}": speaks(name) for name in speech.ALL},
    "the switch sticks when off": switch(sticks_off=True),
    "the switch sticks when off, and tells": switch(sticks_off=True, tells=True),
    "the switch lies": switch(sticks_off=True, tells=True, honest=False),
    "the switch is of another outlet": switch(sticks_off=True, sticks_on=True),
    "the switch is 5 s late": switch(late_s=5.0),
    "the switch fails every 2nd time": switch(fails_every=2),
    "U-Boot echoes nothing": uboot(echoes=False),
    "U-Boot never prompts": uboot(never_prompts=True),
    "U-Boot's commands fail": uboot(boot_fails="ERROR: can't boot", lacks=frozenset({"crc32"})),
    "the disk is full": disk_full,
    "Ctrl-C": signalled(signal.SIGINT),
    "SIGTERM": signalled(signal.SIGTERM),
    "kill -9": signalled(signal.SIGKILL),
}
"""Each by its name."""
