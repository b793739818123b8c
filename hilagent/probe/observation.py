# SPDX-License-Identifier: Apache-2.0
"""Observations as JSON, for the journal; and single exchanges as observations.

What is read back is judged again, so it is checked: :func:`from_json` raises
ValueError with the field's name for anything that :func:`to_json` can't have written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hilagent.result import Exchange, Frame, Sig, SweepPass

VERSION = 1
_SIG_FIELDS = tuple(each.name for each in dataclasses.fields(Sig))
_FRAME_INTS = ("sp", "pc", "pstate", "esr", "far", "seen", "imm")
_PASS_INTS = (
    "cpu", "origin", "pass_no", "first", "count", "seed", "left_out", "ticks", "vectors_crc", "job",
)  # fmt: skip


def to_json(swept: SweepPass) -> dict[str, Any]:
    """Return ``swept`` as what ``json`` can write; signatures are rows, columns named once."""
    return {
        "version": VERSION,
        **{name: getattr(swept, name) for name in _PASS_INTS},
        "crc_ok": swept.crc_ok,
        "swept": swept.swept,
        "sig_fields": list(_SIG_FIELDS),
        "sigs": [_sig_row(sig) for sig in swept.sigs],
        "runs": [list(run) for run in swept.runs],
        "frames": {str(index): exchange_json(each) for index, each in swept.frames.items()},
    }


def exchange_json(exchange: Exchange) -> dict[str, Any]:
    """Return one exchange as what ``json`` can write."""
    return {
        "before": _frame_json(exchange.before),
        "after": _frame_json(exchange.after),
        "sig": _sig_row(exchange.sig),
    }


def from_json(data: Any) -> SweepPass:
    """Return the observation that :func:`to_json` wrote. Raises ValueError."""
    _need(isinstance(data, dict), "an object")
    _need(data.get("version") == VERSION, f"version {VERSION}")
    _need(data.get("sig_fields") == list(_SIG_FIELDS), "sig_fields as this version has them")
    swept, crc_ok = data.get("swept"), data.get("crc_ok")
    _need(swept in ("imm", "x0"), "swept imm or x0")
    _need(isinstance(crc_ok, bool), "crc_ok true or false")
    runs = tuple(_ints(run, "runs", 3) for run in _list(data, "runs"))
    frames = data.get("frames")
    _need(isinstance(frames, dict), "frames as an object")
    _need(all(key.isdecimal() and len(key) < 6 for key in frames), "frames by number")
    return SweepPass(
        **{name: _int(data, name) for name in _PASS_INTS},
        sigs=tuple(_sig(row) for row in _list(data, "sigs")),
        runs=tuple((run[0], run[1], run[2]) for run in runs),
        frames={int(index): exchange_from(each) for index, each in frames.items()},
        crc_ok=crc_ok,
        swept=swept,
        given="",
    )


def exchange_from(data: Any) -> Exchange:
    """Return the exchange that :func:`exchange_json` wrote. Raises ValueError."""
    _need(isinstance(data, dict), "an exchange as an object")
    return Exchange(_frame(data.get("before")), _frame(data.get("after")), _sig(data.get("sig")))


def of_exchange(exchange: Exchange, *, cpu: int, origin: int, pass_no: int = 0) -> SweepPass:
    """Return one exchange as a pass over one immediate, so that the same judges see it."""
    imm = exchange.sig.first
    return SweepPass(
        cpu=cpu, origin=origin, pass_no=pass_no, first=imm, count=1, seed=0,
        sigs=(exchange.sig,), runs=((imm, 1, 0),), left_out=0, ticks=0, frames={0: exchange},
    )  # fmt: skip


def _sig_row(sig: Sig) -> list[Any]:
    row = [getattr(sig, name) for name in _SIG_FIELDS]
    return [list(item) if isinstance(item, tuple) else item for item in row]


def _sig(row: Any) -> Sig:
    _need(isinstance(row, list) and len(row) == len(_SIG_FIELDS), "a signature as a row")
    values = dict(zip(_SIG_FIELDS, row, strict=True))
    values["args"] = _ints(values["args"], "args", 8)
    for name, value in values.items():
        _need(name == "args" or _is_int(value), f"{name} as a number")
    return Sig(**values)


def _frame_json(frame: Frame) -> dict[str, Any]:
    ints = {name: getattr(frame, name) for name in _FRAME_INTS}
    return {**ints, "x": list(frame.x), "v": list(frame.v), "sys": dict(frame.sys)}


def _frame(data: Any) -> Frame:
    _need(isinstance(data, dict), "a frame as an object")
    registers = data.get("sys")
    _need(isinstance(registers, dict), "sys as an object")
    _need(all(_is_int(value) for value in registers.values()), "sys as numbers")
    return Frame(
        **{name: _int(data, name) for name in _FRAME_INTS},
        x=_ints(data.get("x"), "x", 31),
        v=_ints(data.get("v"), "v", 32),
        sys=dict(registers),
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _int(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    _need(_is_int(value), f"{name} as a number")
    assert isinstance(value, int)
    return value


def _list(data: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = data.get(name)
    _need(isinstance(value, list), f"{name} as a list")
    assert isinstance(value, list)
    return value


def _ints(value: Any, name: str, count: int) -> tuple[int, ...]:
    good = isinstance(value, list) and len(value) == count and all(_is_int(v) for v in value)
    _need(good, f"{name} as {count} numbers")
    return tuple(value)


def _need(good: bool, what: str) -> None:
    if not good:
        raise ValueError(f"not an observation: expected {what}")
