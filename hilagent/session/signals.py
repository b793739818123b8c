# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP end a run like an exception, so that ``finally`` runs.

Only in the main thread; elsewhere nothing is changed. While the board is being
switched off (:func:`quiet`) they are noted and change nothing: that has a time
budget of its own.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end of the run; ``name`` is SIGINT or SIGTERM (or SIGHUP)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """Raise :class:`Interrupted` in the main thread for each ending signal."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    with _handlers(interrupt):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Note ending signals instead of acting on them; yields their names as they come."""
    noted: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(signal.Signals(number).name)

    with _handlers(note):
        yield noted


@contextlib.contextmanager
def _handlers(handler: signal.Handlers | object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number in _ENDING:
            signal.signal(number, handler)  # type: ignore[arg-type]
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def signal_of(exc: BaseException) -> str:
    """Return the signal that ``exc`` stands for, for the journal's end record."""
    name = exc.name if isinstance(exc, Interrupted) else "SIGINT"
    return "SIGINT" if name == "SIGINT" else "SIGTERM"
