# SPDX-License-Identifier: Apache-2.0
"""Which tests are ours, what they are called, in which order they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hilagent import errors

PREFIX = "hilagent_"
_SUITES = Path(__file__).resolve().parent.parent / "suites"
_BOARD_FIXTURES = (
    *("hilagent_session", "hilagent_console", "hilagent_uboot", "hilagent_payload"),
    "hilagent_linux",
)


def is_suite(item: pytest.Item) -> bool:
    """Whether ``item`` is from the suites that come with hilagent."""
    return item.path.parent == _SUITES


def is_ours(item: pytest.Item) -> bool:
    """Whether ``item`` asks for anything of ours; else it is left alone."""
    return is_suite(item) or any(name.startswith(PREFIX) for name in _fixtures(item))


def uses_board(item: pytest.Item) -> bool:
    """Whether ``item`` can do anything to the board."""
    return any(name in _BOARD_FIXTURES for name in _fixtures(item))


def test_id(item: pytest.Item) -> str:
    """Return the name in plan and journal: ``dispatch[...]`` of a suite, else the node id."""
    if is_suite(item):
        return item.name.removeprefix("test_")
    return item.nodeid


def rank(item: pytest.Item) -> tuple[int, str]:
    """Return where ``item`` runs: no board, U-Boot, payload, each kernel, mutants at the end.

    What needs the same boot of a kernel stands together, so that it is booted once.
    """
    if is_suite(item) and (boot := _boot(item)):
        return 3, boot
    if is_suite(item):
        return (4 if item.path.stem == "mutants" else 2), ""
    return _rank(set(_fixtures(item))), ""


def _boot(item: pytest.Item) -> str:
    """Return the kernel and mode that the case of ``item`` needs, empty for none."""
    spec = getattr(item, "callspec", None)
    boot = getattr(spec.params.get("case"), "boot", None) if spec else None
    return str(boot) if boot is not None else ""


def _rank(fixtures: set[str]) -> int:
    if "hilagent_linux" in fixtures:
        return 3
    if "hilagent_payload" in fixtures:
        return 2
    if fixtures & {"hilagent_uboot", "hilagent_console"}:
        return 1
    return 2 if "hilagent_session" in fixtures else 0


def needs(item: pytest.Item) -> dict[str, Any]:
    """Return what the markers ``hilagent_needs`` of ``item`` ask for, the nearest first.

    Raises:
        errors.UsageError: the marker has positional arguments.
    """
    out: dict[str, Any] = {}
    for mark in item.iter_markers("hilagent_needs"):
        if mark.args:
            raise errors.UsageError(f"{item.nodeid}: hilagent_needs takes keywords only")
        out = {**mark.kwargs, **out}
    return out


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))
