# SPDX-License-Identifier: Apache-2.0
"""The board that doctor looks at: its bench, and what earlier layers found of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilagent import errors
from hilagent.board import Board
from hilagent.board.load import examine, names, nearest
from hilagent.journal import Journal
from hilagent.session.open import RealBench
from hilagent.session.settings import Settings

if TYPE_CHECKING:
    from hilagent.board.model import UBootSpec
    from hilagent.console.uboot import UBoot
    from hilagent.linux.facts import Facts
    from hilagent.linux.system import System
    from hilagent.payload import Payload


class Patient:
    """What the layers share.

    Args:
        settings: of the run.
        bench: not switched on yet; whoever made it switches it off.
        journal: of the run.

    Attributes:
        began: the console's position at power on.
        refused_el: the exception level at which a payload without EL2 was entered.
        facts: of the Linux that was reached.
    """

    def __init__(self, settings: Settings, bench: RealBench, journal: Journal) -> None:
        self.settings, self.bench, self.journal = settings, bench, journal
        self.board: Board = bench.board
        self.began = 0
        self.refused_el: int | None = None
        self.facts: Facts | None = None
        self.system: System | None = None
        self._uboot: UBoot | None = None
        self._payload: Payload | None = None

    @property
    def spec(self) -> UBootSpec:
        """What the board's file says of its U-Boot."""
        assert self.board.uboot is not None  # only asked where the layers are U-Boot's
        return self.board.uboot

    @property
    def uboot(self) -> UBoot:
        """U-Boot at its prompt."""
        if self._uboot is None:
            raise errors.StateError("U-Boot wasn't reached")
        return self._uboot

    @uboot.setter
    def uboot(self, uboot: UBoot) -> None:
        self._uboot = uboot

    @property
    def payload(self) -> Payload:
        """The payload that runs."""
        if self._payload is None:
            raise errors.StateError("the payload wasn't started")
        return self._payload

    @payload.setter
    def payload(self, payload: Payload) -> None:
        self._payload = payload

    def line_of(self, field: str) -> str:
        """Return where the board's files say ``field``: ``'uboot.prompt', FILE:LINE``."""
        folders = self.settings.request.boards
        tree = examine(self.board.source, names(folders)).tree if self.board.source else None
        if tree is None:
            return f"'{field}' of the board's file"
        node = nearest(tree, field)
        line = f":{node.line}" if node.line is not None else ""
        return f"'{field}', {node.path}{line}"
