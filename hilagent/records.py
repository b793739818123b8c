# SPDX-License-Identifier: Apache-2.0
"""The shapes of a journal's records: what their readers take for granted, and no more.

A record that doesn't fit is damaged, and a run with a damaged record is no pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hilagent.shape import Shape, fits, maybe, word

VERSION = 1
"""Of the journal; changes when its records mean something else."""
_RANGES = [(int, int)]
_FINDING: Shape = {
    "rule": str, "hcall": str, "what": str, "expected": str, "found": str, "cpus?": [int],
    "immediates?": _RANGES, "x0?": _RANGES, "origin?": str, "evidence?": str,
}  # fmt: skip
_REGISTERS: Shape = {
    "x": (int,) * 31, "sp": int, "pstate": int, "esr?": int, "imm": int, "sys": {"*": object},
    "v?": [object],
}  # fmt: skip
_EXCHANGE: Shape = {"before": _REGISTERS, "after": _REGISTERS}
_SECONDS = maybe(float)
_LEG_TIMES: Shape = {"left_s?": _SECONDS, "first_s?": _SECONDS, "ready_s": _SECONDS}
_RECORDS: Mapping[str, Shape] = {
    "run": {
        "monotonic_s?": float, "utc?": str, "vectors?": [str], "command?": [object],
        "definition?": maybe({"compatible?": maybe([object])}),
    },
    "facts": {"kernels_vectors?": [{"*": object}], "vectors?": [str]},
    "plan": {"tests": [str]},
    "outcome": {
        "test": str, "verdict": str, "message?": str, "details?": str, "duration_s?": float,
        "measured?": [str], "findings?": [_FINDING],
    },
    "note": {"text": str},
    "end": {"records?": int},
}  # fmt: skip
_OBSERVATIONS: Mapping[str, Shape] = {
    "dispatch": {"ranges": [(int, int, str, str, bool)], "asked?": [object]},
    "clobber": {"registers": [word], "rows": [{"hcall": word, "cells": [word]}]},
    "code": {
        "rows": [{
            "hcall": str, "contract?": maybe([word]), "code?": maybe([word]),
            "board?": maybe([word]), "beyond?": maybe({"*": object}), "untaken?": maybe({"*": str}),
            "reason?": str,
        }],
    },
    "direct": {"subject": str, "hcall": str, "done": _EXCHANGE},
    "live": {
        "cells?": [(str,) * 4], "left_out?": [(str, object, str)], "cpus?": [object],
        "evidence?": [object],
    },
    "leg": {
        "way": str, "boot": str, "receiver": str, "times": _LEG_TIMES, "rules?": [(str,) * 3],
        "notes?": [object], "el?": maybe(int), "available_bytes?": maybe(int),
    },
    "incident": {"title": str, "who": str, "start": int, "end": int},
}  # fmt: skip


def check(record: Mapping[str, Any]) -> None:
    """Raise ValueError unless a record has the shape of its kind; unknown ones have any, and
    so has the beginning of a journal of another version, which nobody reads on."""
    kind = record.get("kind")
    if kind == "run" and record.get("version") not in (None, VERSION):
        return
    if not isinstance(kind, str) or not fits(record, {"t": float, **_RECORDS.get(kind, {})}):
        raise ValueError("not a record")
    if kind == "observation" and not fits(record, _OBSERVATIONS.get(str(record.get("what")), {})):
        raise ValueError("not an observation")
