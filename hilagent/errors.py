# SPDX-License-Identifier: Apache-2.0
"""One tree for everything that hilagent raises on purpose.

::

    HilagentError
      UsageError            the caller's mistake: arguments, files, YAML       exit 2
        InputError          a file is wrong: file, line, field, found, expected
        StateError          a handle of a state that was left, a nested session
      WorldError            the world's: carries the Verdict that it stands for
        LabError            INFRA: link, power, host key, disk, lock, U-Boot
          LinkError         the link to the payload is lost or too bad
            LinkStuck       it takes no more bytes
          PowerLied         power was cycled, it was said, and the board ran on
          BoardReset        the boot id changed: the board restarted by itself
          HostError         this host's own: a full disk, a folder that can't be written
            HostOverloaded  a wait can't accuse, the host itself was late
        PreconditionError   PRECONDITION: undeclared, e.g. entered at EL1
        TargetError         accuses what is under test
          TargetCrash       CRASH
          TargetHang        HANG
          NotBuilt          FAIL: it doesn't even build
        Unsupported         UNSUPPORTED: a declared fact says it can't be asked
      AgentBug              BUG: ours; anything unknown is treated as this

Every message says what happened and what to do next. ``hint`` holds the
second part where it is known.
"""

from __future__ import annotations

from pathlib import Path


class HilagentError(Exception):
    """Root of the tree. ``str()`` is one clear message; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HilagentError):
    """The caller's mistake; exit code 2."""


class InputError(UsageError):
    """A file holds something wrong: names file, line, field, found and expected."""

    def __init__(
        self,
        path: Path | str,
        message: str,
        *,
        line: int | None = None,
        field: str = "",
        hint: str = "",
    ) -> None:
        place = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{place}: {field + ': ' if field else ''}{message}", hint=hint)
        self.path, self.line, self.field = Path(path), line, field


class StateError(UsageError):
    """A handle was used after the state that it belongs to had been left."""


class WorldError(HilagentError):
    """Something outside this program went wrong; subclasses say whose it is."""


class LabError(WorldError):
    """The lab's: link, power, host key, disk, lock, U-Boot never reached (INFRA)."""


class LinkError(LabError):
    """The link to the payload is lost, or too bad to carry a verdict."""


class LinkStuck(LinkError):
    """The line takes no more bytes: flow control somewhere, or a board that reads none."""


class PowerLied(LabError):
    """Power was switched, as far as was said, and the board proves that it was not."""


class BoardReset(LabError):
    """The boot id changed in the middle of an operation: the board restarted."""


class HostError(LabError):
    """This host's own, and no board's: its disk is full, a folder can't be written."""


class HostOverloaded(HostError):
    """This host, or the emulator, was too late for a time-out to mean anything."""


class PreconditionError(WorldError):
    """An undeclared precondition is not met, e.g. the payload was entered at EL1."""


class TargetError(WorldError):
    """Accuses what is under test."""


class TargetCrash(TargetError):
    """What is under test crashed (CRASH)."""


class TargetHang(TargetError):
    """What is under test stopped making progress, with evidence of time (HANG)."""


class NotBuilt(TargetError):
    """The sources of what is under test don't build; every message begins with ``SAYS``."""

    SAYS = "the kernel doesn't build"


class Unsupported(WorldError):
    """A declared fact of board or kernel says that this can't be asked."""


class AgentBug(HilagentError):
    """A defect of hilagent itself; exit code 3."""
