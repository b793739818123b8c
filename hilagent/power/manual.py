# SPDX-License-Identifier: Apache-2.0
"""Power by a person: asked at the terminal, for a board without a switch.

::

    power: {kind: manual, timeout_s: 600}    # how long to wait for them; default 300

Whoever draws on the same terminal registers in `DRAWN` how to stop for a while. In CI
(``$CI``), or without a terminal, there is nobody to ask: such a board is refused before
anything is begun.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
from collections.abc import Callable, Iterator

from hilagent.board.model import Power as Spec
from hilagent.clock import SYSTEM, Clock, Deadline
from hilagent.errors import LabError
from hilagent.power.base import Relay

DRAWN: list[Callable[[], contextlib.AbstractContextManager[object]]] = []
"""Each returns a ``with`` block within which nothing is drawn."""
_TERMINAL = "/dev/tty"
_HINT = "give it a switch: power by command, http; or run it at a terminal"


class ManualPower(Relay):
    """Asks, and takes Enter for done.

    Args:
        board: its name, for the question.
        pause: waits until the board is empty.

    Raises:
        LabError: from the constructor: there is nobody to ask.
    """

    def __init__(
        self,
        spec: Spec,
        board: str,
        *,
        clock: Clock = SYSTEM,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._spec, self._board, self._clock = spec, board, clock
        super().__init__(spec.off_s, clock, pause)
        if os.environ.get("CI"):
            raise LabError(f"{board} is switched by hand, and in CI nobody does", hint=_HINT)
        with _terminal(board):
            pass

    def state(self) -> bool | None:
        """Return None: nobody but they can tell."""
        return None

    def _switch(self, on: bool) -> None:
        self._ask("ON" if on else "OFF")

    def _ask(self, what: str) -> None:
        deadline = Deadline.after(self._spec.limit_s, self._clock)
        with contextlib.ExitStack() as quiet:
            for stop in DRAWN:
                quiet.enter_context(stop())
            with _terminal(self._board) as fd:
                termios.tcflush(fd, termios.TCIFLUSH)  # an Enter from before is no answer
                limit = f"{self._spec.limit_s:.0f} s"
                _say(fd, f"\r\n>>> Switch {self._board} {what}, then press Enter ({limit}): ")
                if not _answered(fd, deadline):
                    _say(fd, "nobody answered\r\n")
                    raise LabError(
                        f"power {what.lower()}: nobody switched {self._board} within {limit}",
                        hint="run it again, or give it more time: 'power.timeout_s'",
                    )


@contextlib.contextmanager
def _terminal(board: str) -> Iterator[int]:
    """Lend the process's terminal, which it has whatever was made of stdin and stdout."""
    try:
        fd = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        message = f"{board} is switched by hand, and there is no terminal to ask at"
        raise LabError(message, hint=_HINT) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _answered(fd: int, deadline: Deadline) -> bool:
    """Return whether a line came before the deadline; one that hung up answers nothing."""
    while not deadline.expired():
        ready, _, _ = select.select([fd], [], [], deadline.left_s())
        if ready:
            line = os.read(fd, 4096)
            if not line:
                raise LabError("the terminal hung up", hint=_HINT)
            if line.endswith((b"\n", b"\r")):  # at hilagent's own console it is in raw mode
                return True
    return False


def _say(fd: int, text: str) -> None:
    os.write(fd, text.encode())
