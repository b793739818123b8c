# SPDX-License-Identifier: Apache-2.0
"""The console of a board: reader, matching, crash watch, U-Boot."""

from __future__ import annotations

from hilagent.console.console import Console
from hilagent.console.line import Line
from hilagent.console.match import Match, Pattern
from hilagent.console.watch import Crash, Kind

__all__ = ["Console", "Crash", "Kind", "Line", "Match", "Pattern"]
