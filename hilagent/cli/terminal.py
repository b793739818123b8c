# SPDX-License-Identifier: Apache-2.0
"""A person at a board's console: keys go to the board, Ctrl-] and a key to hilagent."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import threading
import tty
from collections.abc import Callable, Iterator

from hilagent import errors
from hilagent.cli.ending import say, told
from hilagent.cli.screen import Screen
from hilagent.clock import Deadline
from hilagent.console import Console
from hilagent.session import signals
from hilagent.session.attended import Attended

ESCAPE = b"\x1d"
COMMANDS = {
    b"q": "quit",
    b".": "quit",
    b"c": "cycle",
    b"b": "break",
    b"?": "help",
    b"h": "help",
}
HELP = """\
  q       quits (. too)
  c       cycles power
  b       sends a break
  Ctrl-]  sends itself to the board, as every key does without a Ctrl-] before it"""
READ_BYTES = 4096
TYPING_S = 2.0
"""How long a board's line may take no byte before what was typed is given up."""
_PIECE_BYTES = 256
_OFLAG = 1
_LONG_S = 3600.0
LAST_WORDS_S = 2.0
"""How long a person waits, after the end, for a terminal that is behind."""


class Keys:
    """Tells what is for the board from what is for us; the same however it is cut."""

    def __init__(self) -> None:
        self._escaped = False

    def feed(self, data: bytes) -> Iterator[bytes | str]:
        """Yield bytes for the board, and names of commands, in order."""
        while data:
            if self._escaped:
                key, data, self._escaped = data[:1], data[1:], False
                yield key if key == ESCAPE else COMMANDS.get(key, "help")
                continue
            sent, escape, data = data.partition(ESCAPE)
            self._escaped = bool(escape)
            if sent:
                yield sent


class Showing:
    """Shows on a screen what a console receives, in a thread, until either ends.

    Attributes:
        console: which.
        error: what ended it, for :meth:`ready`.
        ended: a descriptor that is readable from then on.
    """

    def __init__(self, console: Console, screen: Screen) -> None:
        self.console = console
        self.error: BaseException | None = None
        self.ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._line, self._screen = console.take("a person"), screen
        self._thread = threading.Thread(target=self._show, name="showing", daemon=True)
        self._thread.start()

    def ready(self, fd: int) -> None:
        """Wait until ``fd`` can be read; raises what ended the showing."""
        poller = select.poll()
        for each in (fd, self.ended):
            poller.register(each, select.POLLIN)
        if self.ended in [each for each, _ in poller.poll()]:
            assert self.error is not None
            raise self.error

    def close(self, patience_s: float | None = None) -> None:
        """Wait until the last byte is shown; the console was closed before.

        Args:
            patience_s: for a screen that takes nothing; None to wait as long as a pipe does.
        """
        self._thread.join(patience_s)
        if not self._thread.is_alive():  # else a terminal that takes nothing keeps it
            os.close(self.ended)

    def _show(self) -> None:
        try:
            while True:
                self._screen.show(self._line.read(Deadline.after(_LONG_S)))
        except BaseException as exc:  # raised by `ready`, in the thread that can end it all
            self.error = _of_screen(exc) if isinstance(exc, OSError) else exc
        os.eventfd_write(self.ended, 1)


def _of_screen(exc: OSError) -> BaseException:
    """Return what a screen that takes no more means."""
    if exc.errno in (errno.EIO, errno.EPIPE):  # the terminal hung up, or whoever read a pipe
        return signals.Interrupted("SIGHUP")
    return errors.LabError(f"what the board says can't be written: {exc.strerror}")


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Let every key of a terminal through; output stays as it was. Restores it on any way out."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        mode = termios.tcgetattr(fd)
        mode[_OFLAG] = before[_OFLAG]
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        yield
    finally:
        with signals.quiet(), contextlib.suppress(termios.error):  # it may have gone away
            termios.tcflush(fd, termios.TCIFLUSH)  # what was typed is for no shell
            termios.tcsetattr(fd, termios.TCSANOW, before)


class Terminal:
    """The keyboard of a person who attends a board.

    Args:
        fd: a terminal that is :func:`raw`.
        show: begins to show a console.
    """

    def __init__(self, fd: int, attended: Attended, show: Callable[[Console], Showing]) -> None:
        self._fd, self._attended, self._show = fd, attended, show
        self._showing = show(attended.console)
        self._keys = Keys()

    def run(self) -> None:
        """Return when the person quits.

        Raises:
            errors.LinkError: the board's line is lost.
            signals.Interrupted: the terminal is.
        """
        while True:
            self._showing.ready(self._fd)
            for what in self._keys.feed(self._typed()):
                if what == "quit":
                    return
                self._do(what)

    def _typed(self) -> bytes:
        typed = b""
        with contextlib.suppress(OSError):
            typed = os.read(self._fd, READ_BYTES)
        if not typed:
            raise signals.Interrupted("SIGHUP")
        return typed

    def _do(self, what: bytes | str) -> None:
        if isinstance(what, bytes):
            self._type(what)
        elif what == "break":
            self._tried(self._attended.send_break, "break sent")
        elif what == "cycle":
            _note("power cycle ...")
            self._tried(self._attended.cycle, "power was cycled")
            if self._showing.console is not self._attended.console:
                self._showing = self._show(self._attended.console)
        else:
            _note("after Ctrl-]", *HELP.splitlines())

    def _type(self, data: bytes) -> None:
        try:
            for at in range(0, len(data), _PIECE_BYTES):
                piece = data[at : at + _PIECE_BYTES]
                self._attended.console.write(piece, Deadline.after(TYPING_S))
        except errors.LinkStuck as exc:  # a board may be deaf for a while
            _note(*told(exc))

    def _tried(self, what: Callable[[], None], done: str) -> None:
        try:
            what()
        except errors.WorldError as exc:
            if not self._attended.is_open:  # an emulated board that didn't start again
                raise
            _note(*told(exc))
        else:
            _note(done)


def _note(*lines: str) -> None:
    say("", f"hilagent: {lines[0]}", *lines[1:])
