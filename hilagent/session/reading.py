# SPDX-License-Identifier: Apache-2.0
"""The console of a run: what happens on it stands in the run's journal."""

from __future__ import annotations

from hilagent.clock import SYSTEM, Clock
from hilagent.console import Console
from hilagent.console.watch import Incident
from hilagent.journal import Journal
from hilagent.transport.base import Stream


def reading(stream: Stream, journal: Journal, clock: Clock = SYSTEM) -> Console:
    """Return a console that reads ``stream`` and logs into the folder of the run.

    Args:
        clock: that its times are of.
    """

    def happened(incident: Incident) -> None:
        journal.observation("incident", **incident.record())

    return Console(stream, journal.run_dir, told=journal.note, happened=happened, clock=clock)
