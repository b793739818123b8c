# SPDX-License-Identifier: Apache-2.0
"""Boards: models and lab instances, strict YAML that becomes a :class:`Board`."""

from hilagent.board.load import ENVIRONMENT, load, names, search_path
from hilagent.board.model import (
    Board,
    Console,
    Firmware,
    Network,
    Option,
    PayloadSpec,
    Power,
    QemuSpec,
    UBootSpec,
)

__all__ = [
    "ENVIRONMENT", "Board", "Console", "Firmware", "Network", "Option", "PayloadSpec",
    "Power", "QemuSpec", "UBootSpec", "load", "names", "search_path",
]  # fmt: skip
