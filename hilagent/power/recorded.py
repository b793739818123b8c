# SPDX-License-Identifier: Apache-2.0
"""The switch of a board that is only a recording: it gives out one boot after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilagent.errors import LabError
from hilagent.transport import recorded


class RecordedPower:
    """Switches nothing.

    Args:
        source: the directory of the recorded run, or its boots where they are known.
    """

    def __init__(self, source: Path | Sequence[recorded.Boot]) -> None:
        self._boots = recorded.boots(source) if isinstance(source, Path) else source
        self._streams: list[recorded.RecordedStream] = []
        self._on = False

    def next_boot(self) -> recorded.RecordedStream:
        """Return the console as it was opened the next time.

        Raises:
            LabError: there was no next time, or the replay has already left the recording.
        """
        if self._streams and self._streams[-1].differs is not None:
            raise self._streams[-1].differs
        if len(self._streams) == len(self._boots):
            said = f"the recording ends: its board was started {len(self._boots)} times"
            hint = "replay it with the hilagent, the suites and the options that recorded it"
            raise LabError(said, hint=hint)
        self._streams.append(recorded.RecordedStream(self._boots[len(self._streams)]))
        return self._streams[-1]

    def on(self) -> None:
        """Remember that it is on."""
        self._on = True

    def off(self) -> None:
        """Remember that it is off."""
        self._on = False

    def cycle(self) -> None:
        """Be on."""
        self._on = True

    def state(self) -> bool | None:
        """Return whether it is on."""
        return self._on

    def alive(self) -> bool | None:
        """Return True: a recording is never late."""
        return True
