# SPDX-License-Identifier: Apache-2.0
"""A board in the hands of a person: its lock, its console and its switch, no more.

Nothing is built and nothing is loaded, so it works before anything else of a board
does. What it has switched on it switches off at the end, signals notwithstanding; a
board that was on before stays on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from hilagent import errors
from hilagent.board import Board
from hilagent.console import Console
from hilagent.journal import Journal
from hilagent.place import Place
from hilagent.session import switch
from hilagent.session.firmware import with_firmware
from hilagent.session.held import held
from hilagent.session.reading import reading

Begin = Literal["as it is", "on", "cycle"]


@contextlib.contextmanager
def attend(
    board: Board, journal: Journal, begin: Begin = "as it is", wait_s: float = 0.0
) -> Iterator[Attended]:
    """Hold ``board`` for the ``with`` block; its log grows in the journal's folder.

    Args:
        board: any; an emulated one is switched on in any case, for it is nowhere else.
        journal: is told of power and breaks.
        begin: what to do with power, once the console is open.
        wait_s: how long to wait for whoever uses it.

    Raises:
        errors.LabError: it is in use, or can't be opened, switched on, or off at the end.
    """
    with held(board, journal, wait_s) as have:
        attended = Attended(with_firmware(have.board, journal), journal, have.place)
        try:
            attended.begin(begin)
            yield attended
        finally:
            attended.end()


class Attended:
    """Made by :func:`attend`."""

    def __init__(self, board: Board, journal: Journal, place: Place | None) -> None:
        from hilagent import power

        self._board, self._journal, self._place = board, journal, place
        self._power = power.open(board, None, place)
        self._console: Console | None = None
        self._ours = False

    @property
    def console(self) -> Console:
        """The console that is open now; of an emulated board, each cycle opens a new one."""
        if self._console is None:
            raise errors.StateError("this board's console is closed")
        return self._console

    @property
    def is_open(self) -> bool:
        """Whether there is a console."""
        return self._console is not None

    @property
    def ours(self) -> bool:
        """Whether the board will be switched off at the end."""
        return self._ours

    def begin(self, begin: Begin) -> None:
        """Open the console, then switch."""
        if self._board.power.kind == "qemu":
            self._restart()
            return
        self._open()
        if begin == "as it is":
            return
        if begin == "on" and self._power.state():
            self._journal.note("it is on already, and stays on")
            return
        self._ours = True
        self._switch(begin)

    def cycle(self) -> None:
        """Power cycle; a board that was off before will be switched off at the end.

        Raises:
            errors.LabError: it failed; an emulated board is off then.
        """
        if self._board.power.kind == "qemu":
            self._restart()
            return
        self._ours = self._ours or self._power.state() is False
        self._switch("cycle")

    def send_break(self) -> None:
        """Send a break; raises Unsupported, LabError."""
        self.console.send_break()
        self._journal.note("a break was sent")

    def end(self) -> None:
        """Switch off what was switched on here, and close the console."""
        try:
            if self._ours:
                switch.surely_off(self._board, self._power.off, self._power.state, self._journal)
                self._journal.note("switched off")
        finally:
            self._close()

    def _switch(self, verb: str) -> None:
        for step in switch.switched(self._board, self._power, verb):
            self._journal.note(step)

    def _restart(self) -> None:
        self._power.off()
        self._close()
        self._ours = True
        self._power.on()
        self._journal.note("switched on: a new emulator runs")
        self._open()

    def _open(self) -> None:
        from hilagent import transport

        stream = transport.open(self._board.console, self._power, self._place)
        self._console = reading(stream, self._journal)

    def _close(self) -> None:
        console, self._console = self._console, None
        if console is not None:
            console.close()
