# SPDX-License-Identifier: Apache-2.0
"""The console of a run: what happens on it stands in the run's journal."""

from __future__ import annotations

from hilagent.console import Console
from hilagent.console.watch import Incident
from hilagent.journal import Journal
from hilagent.transport.base import Stream


def reading(stream: Stream, journal: Journal) -> Console:
    """Return a console that reads ``stream`` and logs into the folder of the run."""

    def happened(incident: Incident) -> None:
        journal.observation("incident", **incident.record())

    return Console(stream, journal.run_dir, told=journal.note, happened=happened)
