# SPDX-License-Identifier: Apache-2.0
"""A board at a place: waiting for it, having it, and giving it back."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from hilagent import errors
from hilagent.board import Board
from hilagent.board import Place as Spec
from hilagent.place import Coordinator, Place, Refused, address_of
from hilagent.place.client import Listed, Reservation
from hilagent.place.process import is_dead
from hilagent.session import lock, signals


@contextlib.contextmanager
def placed(
    board: Board, queue: lock.Queue | None, told: Callable[[str], object]
) -> Iterator[tuple[Board, Place]]:
    """Have the place of ``board`` for the ``with`` block.

    Gives the board with the name of the place, and with the console that is there.

    Args:
        queue: for somebody who waits; None: a place that is taken is refused at once.
        told: hears what becomes of the coordinator, and what couldn't be given back.

    Raises:
        errors.LabError: it is in use (says by whom), or can't be had.
    """
    spec = board.place
    assert spec is not None
    with contextlib.ExitStack() as stack:
        # Last, and whatever signals come: the helper ends, and releases what it still has.
        lab = stack.enter_context(_undisturbed(address_of(spec.coordinator)))
        place = _acquired(lab, board, queue, told)
        stack.callback(_give_back, place, told)
        own = dataclasses.replace(spec, name=place.name, tags={})
        yield _wired(dataclasses.replace(board, place=own), place), place


@contextlib.contextmanager
def _undisturbed(address: str) -> Iterator[Coordinator]:
    """The coordinator at ``address``; leaving it is not interrupted."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Coordinator.at(address))
        try:
            yield lab
        finally:
            with signals.quiet():
                stack.close()


def _give_back(place: Place, told: Callable[[str], object]) -> None:
    with signals.quiet():
        try:
            place.release()
        except errors.LabError as exc:
            told(f"place {place.name} may not be released: {exc.message}")


def _acquired(
    lab: Coordinator, board: Board, queue: lock.Queue | None, told: Callable[[str], object]
) -> Place:
    """Return the place, once it can be had."""
    assert board.place is not None
    if queue is None and board.place.name:
        try:
            return lab.acquire(board.place.name, told)
        except Refused as exc:
            if not exc.by:
                raise
            raise _in_use(lab, board, board.place.name, exc.by) from None
    return _in_turn(lab, board, board.place, queue, told)


def _in_turn(
    lab: Coordinator, board: Board, spec: Spec, queue: lock.Queue | None,
    told: Callable[[str], object],
) -> Place:  # fmt: skip
    """Wait in the coordinator's own queue, which is fair, for a place by name or tags."""
    waiting = lock.Waiting(queue) if queue is not None else None
    wanted = {"name": spec.name} if spec.name else dict(spec.tags)
    turn: Reservation | None = None
    while True:
        try:
            turn = lab.poll(turn.token) if turn else lab.reserve(wanted)
            if turn.place:
                place = lab.acquire(turn.place, told)
                lab.cancel(turn.token)  # or it would be kept for us when we have left
                return place
            taken = _taken(lab, board, spec, turn.candidates)
        except Refused as exc:  # a coordinator that was restarted knows no turns any more
            if exc.kind not in {"gone", "refused"} or waiting is None:
                raise
            if turn is not None:  # what is kept for us would keep us waiting
                with contextlib.suppress(errors.LabError):
                    lab.cancel(turn.token)
            turn, taken = None, lock.Taken(board.name, str(spec), f"nobody knows: {exc.message}")
        if waiting is None:
            raise taken
        waiting.wait(taken)


def _taken(lab: Coordinator, board: Board, spec: Spec, candidates: Sequence[Listed]) -> lock.Taken:
    """Return who has what would do; raises LabError where nothing would."""
    if not candidates:
        known = "; ".join(
            f"{each.name} {' '.join(f'{k}={v}' for k, v in sorted(each.tags.items()))}".strip()
            for each in lab.places()
        )
        hint = f"its places: {known or 'none'}"
        raise errors.LabError(f"the coordinator at {lab.address} has not {spec}", hint=hint)
    if len(candidates) == 1:
        only = candidates[0]
        taken = _in_use(lab, board, only.name, only.acquired or "somebody who reserved it")
        if is_dead(only.acquired):  # nobody will give it back
            raise taken
        return taken
    holders = [f"{each.name} by {each.acquired or 'a reservation'}" for each in candidates]
    return lock.Taken(board.name, f"each of its places ({spec})", ", ".join(holders))


def _in_use(lab: Coordinator, board: Board, name: str, by: str) -> lock.Taken:
    taken = lock.Taken(board.name, f"place {name} of {lab.address}", by)
    if is_dead(by):
        taken.message += ", a run on this host that is no more"
        taken.args = (taken.message,)
        taken.hint = f"labgrid-client -x {lab.address} -p {name} release-from '{by}' frees it"
    return taken


def _wired(board: Board, place: Place) -> Board:
    """Return ``board`` with the console that the place says."""
    if board.console.kind != "labgrid":
        return board
    found = place.serial()
    at = dataclasses.replace(board.console, kind="tcp", host=found.host, port=found.port)
    console = at if found.protocol == "raw" else dataclasses.replace(at, kind="rfc2217")
    return dataclasses.replace(board, console=console)
