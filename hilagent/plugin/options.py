# SPDX-License-Identifier: Apache-2.0
"""The plugin's command-line options and its marker."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent import errors
from hilagent.session.settings import DEFAULT_ABI, DEFAULT_BOARD, Request

MARKER = (
    "hilagent_needs(cpus=, emulated=, soc=, tag=, transfer=, uboot=, entry_el=, psci=, linux=, "
    "vectors=): "
    "what a test needs of the board; unmet by its declared facts it is skipped. "
    "vectors= chooses what hilagent_payload has under test"
)


def add(parser: pytest.Parser) -> None:
    """Add our options, all in one group."""
    group = parser.getgroup("hilagent", "hilagent: a board under test")
    group.addoption(
        "--hilagent-board", metavar="BOARD", help=f"board to use (default: {DEFAULT_BOARD})"
    )
    group.addoption("--hilagent-run-dir", metavar="DIR", help="run directory (default: a new one)")
    group.addoption(
        "--hilagent-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the board; may be given again",
    )
    group.addoption(
        "--hilagent-vectors",
        metavar="NAME",
        action="append",
        default=[],
        help="vectors under test: reference-stub, reference-kvm, mutant:NAME, file:PATH",
    )
    group.addoption(
        "--hilagent-abi", metavar="PROFILE", help=f"hcall contract (default: {DEFAULT_ABI})"
    )
    group.addoption(
        "--hilagent-transfer", choices=("tftp", "ymodem", "loader"), help="how U-Boot is fed"
    )
    for name, what in (("kernel", "a kernel to boot"), ("mode", "how a kernel uses EL2")):
        group.addoption(
            f"--hilagent-{name}", metavar="NAME", action="append", default=[], help=what
        )


def request(config: pytest.Config) -> Request:
    """Return what the options ask for."""
    return Request(
        board=config.getoption("--hilagent-board") or DEFAULT_BOARD,
        options=pairs(config.getoption("--hilagent-option")),
        vectors=tuple(config.getoption("--hilagent-vectors")),
        abi=config.getoption("--hilagent-abi") or "",
        transfer=config.getoption("--hilagent-transfer") or "",
        kernels=tuple(config.getoption("--hilagent-kernel")),
        modes=tuple(config.getoption("--hilagent-mode")),
    )


def run_dir(config: pytest.Config) -> Path | None:
    """Return the run directory that was asked for."""
    chosen = config.getoption("--hilagent-run-dir")
    return Path(chosen).absolute() if chosen else None


def pairs(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Return ``key=value`` texts as a dict.

    Raises:
        errors.UsageError: one has no ``=``.
    """
    out = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise errors.UsageError(f"option {text!r}: expected key=value")
        out[key] = value
    return out
