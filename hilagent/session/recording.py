# SPDX-License-Identifier: Apache-2.0
"""A run directory as a recording: which board it was, and what its replay must draw alike.

``hilagent run recorded:RUN`` replays one. Its board has the recorded console and switches
nothing; what the run drew by chance (its run id, the marks at U-Boot's prompt) is drawn
again from the seed in the journal. A replay measures nothing, and its report says so.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilagent import errors, journal
from hilagent.board import Board

if TYPE_CHECKING:
    from hilagent.session.settings import Request

PREFIX = "recorded:"


@dataclass(frozen=True)
class Recording:
    """A run that can be replayed.

    Attributes:
        folder: its directory.
        facts: of its journal.
        board: as it is replayed.
    """

    folder: Path
    facts: Mapping[str, Any]
    board: Board

    def request(self, request: Request) -> Request:
        """Return ``request`` with what the recorded run was asked, where it says nothing itself.

        Raises:
            errors.UsageError: it says something that only a board can do.
        """
        if request.options or request.kernels or request.own or request.modes:
            raise errors.UsageError("a recording has no options and no kernels but its own")
        if request.place is not None:
            raise errors.UsageError("a recording is at no place")
        return dataclasses.replace(
            request,
            vectors=request.vectors or tuple(self.facts["asked"]["vectors"]),
            abi=request.abi or self.facts["asked"]["abi"],
            transfer=request.transfer or self.facts["asked"]["transfer"],
        )

    def check_payload(self, build_id: str) -> None:
        """Raise LabError unless it was recorded with that payload."""
        if (then := self.facts.get("payload_build_id")) not in (None, build_id):
            hint = "a replay needs the payload of then: the same tree and compiler"
            said = f"the recording has the payload {then}, this tree builds {build_id}"
            raise errors.LabError(said, hint=hint)

    @property
    def label(self) -> str:
        """What every report of a replay has to say."""
        return f"{self.facts['id']} of {self.facts['utc']}"


def chance(seed: int) -> random.Random:
    """Return the chance of a run: nothing that it draws is a secret."""
    return random.Random(seed)


def facts(board: Board, asked: Mapping[str, object]) -> dict[str, object]:
    """Return what the journal must say for a replay, but for the seed."""
    definition = journal.plain(board)
    del definition["source"]
    return {"definition": definition, "asked": dict(asked)}


def load(folder: Path) -> Recording:
    """Return the recording in a run directory.

    Raises:
        errors.UsageError: there is none, or it can't be replayed.
    """
    from pydantic import TypeAdapter, ValidationError

    run = journal.read(folder)
    for name in ("definition", "asked", "chance", "parallel", "id", "utc"):
        if name not in run.facts:
            hint = "a run whose board was started, by a hilagent that records, and no replay"
            raise errors.InputError(
                folder, f"can't be replayed: its journal has no '{name}'", hint=hint
            )
    said = dict(run.facts["definition"])
    if said["os"] is not None:
        raise errors.InputError(folder, "can't be replayed: its board was started over SSH")
    said["console"] |= {
        "kind": "recorded", "path": str(folder), "host": None, "port": None, "argv": None,
    }  # fmt: skip
    said |= {"power": {"kind": "recorded"}, "qemu": None, "linux": None, "place": None}
    try:
        board = TypeAdapter(Board).validate_json(json.dumps(said))
    except ValidationError as error:
        found = f"can't be replayed: its board isn't one any more: {error.errors()[0]['msg']}"
        raise errors.InputError(folder, found) from error
    return Recording(folder, run.facts, board)
