# SPDX-License-Identifier: Apache-2.0
"""Boards: models and lab instances, strict YAML that becomes a :class:`Board`."""

from hilagent.board.check import check
from hilagent.board.hardware import Region, Uart
from hilagent.board.load import ENVIRONMENT, Entry, examine, load, names, search_path
from hilagent.board.model import (
    Board,
    Console,
    Firmware,
    LinuxSpec,
    Network,
    Option,
    PayloadSpec,
    Place,
    Power,
    QemuSpec,
    Ssh,
    UBootSpec,
)
from hilagent.board.schema import schema

__all__ = [
    "ENVIRONMENT", "Board", "Console", "Entry", "Firmware", "LinuxSpec", "Network", "Option",
    "PayloadSpec", "Place", "Power", "QemuSpec", "Region", "Ssh", "UBootSpec", "Uart", "check",
    "examine", "load", "names", "schema", "search_path",
]  # fmt: skip
