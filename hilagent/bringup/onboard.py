# SPDX-License-Identifier: Apache-2.0
"""From a port to a board's file: find the rate, get to the prompt, ask, describe."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilagent import transport
from hilagent.board.model import Console as Wiring
from hilagent.board.model import Power as Switch
from hilagent.bringup import describe, hardware, hearing, interview
from hilagent.bringup.hardware import Hardware
from hilagent.bringup.wire import RATES, named
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.errors import LabError, UsageError
from hilagent.power import CommandPower

Tell = Callable[[str], None]
_LISTEN_S, _TRY_S, _REACH_S = 3.0, 3.0, 60.0
_NOTHING = Hardware((), "", 0, (), "", "", 0)


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        name: of the board.
        wiring: its console; a serial one's baud rate is the first that is tried.
        on, off: commands of its power switch; empty where a person switches it.
        emulated: what the file will say.
        wait_s: how long a person may take to switch it on.
    """

    name: str
    wiring: Wiring
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    emulated: bool = False
    wait_s: float = 120.0


def wiring_of(port: str, baud: int) -> Wiring:
    """Return the console that ``port`` names: a device, or ``tcp:HOST:PORT``.

    Raises:
        errors.UsageError: it is neither.
    """
    if port.startswith("/"):
        return Wiring("serial", path=port, baud=baud)
    kind, _, rest = port.partition(":")
    host, _, number = rest.rpartition(":")
    if kind != "tcp" or not host or not number.isdigit() or not 0 < int(number) < 65536:
        hint = "a device (better by /dev/serial/by-path/...), or tcp:HOST:PORT"
        raise UsageError(f"no port of a console: {port}", hint=hint)
    return Wiring("tcp", host=host.strip("[]"), port=int(number))


def onboard(wanted: Wanted, known: Mapping[str, Path], folder: Path, tell: Tell) -> str:
    """Interrogate the board of ``wanted``; return the text of its file.

    Args:
        known: board files, of which one may be the model of its type.
        folder: for the console's log.
        tell: hears what is going on.

    Raises:
        errors.LabError: nothing that could be understood came from it.
    """
    with _switched(wanted, tell) as switch, contextlib.ExitStack() as stack:
        wiring, console = _spoken_to(wanted, switch, folder, tell, stack)
        spoken = interview.reach(console, Deadline.after(_REACH_S))
        tell(f"U-Boot {spoken.version}, at its prompt {spoken.prompt!r}")
        answers = interview.ask(spoken.uboot, tell)
        found = hardware.of(answers.tree) if answers.tree else _NOTHING
        model = describe.model_of(found.compatible, known) if found.compatible else ""
        tell(f"it is a {found.model or 'board without a name'}"
             + (f", as the model {model}" if model else ""))  # fmt: skip
    return describe.text(
        describe.Found(wanted.name, wiring, wanted.on, wanted.off, wanted.emulated, spoken,
                       answers, found, model)
    )  # fmt: skip


@contextlib.contextmanager
def _switched(wanted: Wanted, tell: Tell) -> Iterator[CommandPower | None]:
    """Switch the board off at the end, if it can be switched."""
    if not wanted.on:
        yield None
        return
    switch = CommandPower(Switch("command", on=wanted.on, off=wanted.off))
    try:
        yield switch
    finally:
        switch.off()
        tell("switched off")


def _spoken_to(
    wanted: Wanted,
    switch: CommandPower | None,
    folder: Path,
    tell: Tell,
    stack: contextlib.ExitStack,
) -> tuple[Wiring, Console]:
    """Return the console on which text comes, and its wiring with the right rate."""
    if switch is not None:
        switch.off()
    console = Console(transport.open(wanted.wiring), folder)
    stack.callback(lambda: console.close())
    if switch is not None:
        switch.on()
        tell("switched on")
    data = hearing.heard(console, console.position(), Deadline.after(_LISTEN_S))
    if not data and switch is None:
        tell(f"{named(wanted.wiring)} is silent: switch the board on now")
        console.wait(console.position(), Deadline.after(wanted.wait_s))
    if not data:
        data = hearing.heard(console, 0, Deadline.after(wanted.wait_s))
    if hearing.is_text(data):
        return wanted.wiring, console
    if not data or wanted.wiring.kind != "serial":
        what = "what comes is no text" if data else "nothing came"
        hint = "is it the board's console, TX on RX, RX on TX, GND on GND, and does it have power?"
        raise LabError(f"{named(wanted.wiring)}: {what}", hint=hint)
    tell(f"{len(data)} bytes that are no text at {wanted.wiring.baud} baud; trying others")
    console.close()
    return _at_another_rate(wanted.wiring, folder, tell, stack)


def _at_another_rate(
    wiring: Wiring, folder: Path, tell: Tell, stack: contextlib.ExitStack
) -> tuple[Wiring, Console]:
    rates: Sequence[int] = [rate for rate in RATES if rate != wiring.baud]
    for rate in rates:
        tried = dataclasses.replace(wiring, baud=rate)
        console = Console(transport.open(tried), folder)
        if hearing.is_text(
            hearing.heard(console, console.position(), Deadline.after(_TRY_S), poke=True)
        ):
            stack.callback(console.close)
            tell(f"text at {rate} baud")
            return tried, console
        console.close()
    raise LabError(f"{wiring.path}: text at none of {', '.join(map(str, rates))} baud",
                   hint="name its rate with --baud; is it 8N1?")  # fmt: skip
