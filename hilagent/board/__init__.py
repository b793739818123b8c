# SPDX-License-Identifier: Apache-2.0
"""Boards: models and lab instances, strict YAML that becomes a :class:`Board`."""

from hilagent.board.load import ENVIRONMENT, load, names, search_path
from hilagent.board.model import (
    Board,
    Console,
    Firmware,
    LinuxSpec,
    Network,
    Option,
    PayloadSpec,
    Power,
    QemuSpec,
    Ssh,
    UBootSpec,
)

__all__ = [
    "ENVIRONMENT", "Board", "Console", "Firmware", "LinuxSpec", "Network", "Option", "PayloadSpec",
    "Power", "QemuSpec", "Ssh", "UBootSpec", "load", "names", "search_path",
]  # fmt: skip
