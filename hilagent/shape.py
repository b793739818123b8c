# SPDX-License-Identifier: Apache-2.0
"""What JSON from a file must look like before anybody reads fields out of it.

A shape is

* a type: ``float`` takes whole numbers, too, ``object`` anything;
* ``[shape]``: a list of such; ``(shape, shape)``: a list of just these;
* ``{"name": shape}``: an object that has these fields, where ``"name?"`` may be absent, and
  others may stand beside them; ``{"*": shape}``: one whose every field is such;
* a function that says whether it fits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

Shape = Any
_MOST = 1e15
"""No time in seconds and no count is as great."""
_HALF = re.compile("[\ud800-\udfff]")


def fits(value: object, shape: Shape) -> bool:
    """Return whether ``value``, as :mod:`json` reads it, has that shape."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    if isinstance(shape, tuple):
        if not isinstance(value, list) or len(value) != len(shape):
            return False
        return all(fits(each, one) for each, one in zip(value, shape, strict=True))
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and all(
            _has(value, name, inside) for name, inside in shape.items()
        )
    if shape is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isfinite(value) and abs(value) < _MOST
    if isinstance(shape, type):
        return shape is object or type(value) is shape
    return bool(shape(value))


def _has(value: dict[str, Any], name: str, inside: Shape) -> bool:
    if name == "*":
        return all(fits(each, inside) for each in value.values())
    if name.endswith("?"):
        return name[:-1] not in value or fits(value[name[:-1]], inside)
    return name in value and fits(value[name], inside)


def word(value: object) -> bool:
    """Whether it is text that isn't empty, and that UTF-8 can hold: no half of a pair."""
    return isinstance(value, str) and bool(value) and not _HALF.search(value)


def maybe(shape: Shape) -> Shape:
    """Return the shape of what is null, or has ``shape``."""
    return lambda value: value is None or fits(value, shape)
