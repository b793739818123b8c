# SPDX-License-Identifier: Apache-2.0
"""What one run was asked to do, and what a test may ask of a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilagent import errors
from hilagent.board import Board

if TYPE_CHECKING:
    from hilagent import abi
    from hilagent.board import Place
    from hilagent.build.given import Absent, Paths
    from hilagent.session.linux import Boot
    from hilagent.session.recording import Recording
    from hilagent.session.subject import Subject

DEFAULT_BOARD = "qemu-virt"
DEFAULT_ABI = "iss-2015"
DEFAULT_SUITES = ("architecture", "dispatch", "clobber")
SUITES = (*DEFAULT_SUITES, "mutants", "live", "restart")
GROUPS = {"kernel": ("live", "restart")}
"""Names that stand for several suites."""
DEFAULT_KERNELS = ("patched",)


@dataclass(frozen=True)
class Request:
    """What the caller typed, not looked up yet.

    Attributes:
        vectors: names; empty for both reference flavours.
        abi: a profile; empty for ``DEFAULT_ABI``, or what a kernel's own vectors speak.
        transfer: ``tftp``, ``ymodem``, ``loader``, or empty for the board's first.
        kernels: that are booted by suites on a live kernel; empty for the patched one, or
            for that of ``own``, which is called ``given`` among others.
        own: where a kernel of the lab's own is.
        modes: how each is told to use EL2 (:data:`hilagent.session.linux.MODES`);
            empty for the kernel's own choice, nVHE, and KVM off.
        chain: how often in a row each way of restarting is taken.
        wait_s: how long to wait for a board that somebody else uses; 0: not at all.
        command: the words that were typed, for whoever wants to do it again.
        place: where the board is, instead of where its file says.
    """

    board: str = DEFAULT_BOARD
    options: Mapping[str, str] = field(default_factory=dict)
    boards: tuple[Path, ...] = ()
    vectors: tuple[str, ...] = ()
    abi: str = ""
    transfer: str = ""
    kernels: tuple[str, ...] = ()
    own: Paths | None = None
    modes: tuple[str, ...] = ()
    chain: int = 1
    wait_s: float = 0.0
    command: tuple[str, ...] = ()
    place: Place | None = None


@dataclass(frozen=True)
class Settings:
    """A request, looked up: everything that could be the caller's mistake is checked.

    Attributes:
        boots: every kernel in every mode that suites on a live kernel boot.
        absent: what the lab's own kernel came without.
        recording: what is replayed, instead of a board.
    """

    request: Request
    board: Board
    profile: abi.Profile
    subjects: tuple[Subject, ...]
    transfer: str
    boots: tuple[Boot, ...] = ()
    absent: tuple[Absent, ...] = ()
    recording: Recording | None = None

    def profile_of(self, subject: Subject) -> abi.Profile:
        """The ABI that ``subject`` is judged by: its own, else that of the run."""
        return subject.profile or self.profile

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of the kernels among ``boots``, each once."""
        return tuple(dict.fromkeys(boot.kernel for boot in self.boots))


def look_up(request: Request) -> Settings:
    """Return the settings of ``request``.

    Raises:
        errors.UsageError: an unknown board, option, ABI, transfer, vectors, kernel or mode;
            or a kernel of the lab's own that is none.
    """
    from hilagent import abi, board
    from hilagent.build.kernel import GIVEN
    from hilagent.session import built, linux, recording, subject

    replay = None
    if request.board.startswith(recording.PREFIX):
        replay = recording.load(Path(request.board.removeprefix(recording.PREFIX)))
        request = replay.request(request)
        found = replay.board
    else:
        found = board.load(
            request.board, options=request.options, dirs=request.boards, place=request.place
        )
    started = found.qemu is not None and found.qemu.starts_payload
    if found.uboot is None and found.os is None and not started:
        hint = "its file needs a block 'uboot', or 'os': the system that it boots by itself"
        raise errors.UsageError(f"{found.name} has no way in", hint=hint)
    transfer = request.transfer or found.transfers[0]
    if transfer not in found.transfers or (request.transfer and found.uboot is None):
        otherwise = "the emulator itself" if started else "kexec, from its own system"
        known = ", ".join(found.transfers if found.uboot else [otherwise])
        raise errors.UsageError(f"{found.name} can't load by {transfer}", hint=f"it can by {known}")
    profile = abi.load(request.abi or DEFAULT_ABI)
    names = request.vectors or subject.REFERENCES
    subjects = tuple(subject.resolve(name, profile, forced=bool(request.abi)) for name in names)
    if len({each.profile and each.profile.name for each in subjects}) == 1:
        profile = subjects[0].profile or profile
    own = request.own
    boots = linux.boots(
        request.kernels or ((GIVEN,) if own else DEFAULT_KERNELS), request.modes, own=bool(own)
    )
    built.fragments(found)
    absent = own.kernel().absent if own and not own.source else ()
    return Settings(request, found, profile, subjects, transfer, boots, absent, replay)


def _at_least(found: int, wanted: Any) -> bool:
    return found >= int(wanted)


_NEEDS: Mapping[str, tuple[Callable[[Board], Any], Callable[[Any, Any], bool]]] = {
    "cpus": (lambda board: board.cpus, _at_least),
    "emulated": (lambda board: board.emulated, lambda found, wanted: found is bool(wanted)),
    "soc": (lambda board: board.soc, lambda found, wanted: found == wanted),
    "tag": (lambda board: board.tags, lambda found, wanted: wanted in found),
    "transfer": (lambda board: board.transfers, lambda found, wanted: wanted in found),
    "uboot": (lambda board: board.uboot is not None, lambda found, wanted: found is bool(wanted)),
    "entry_el": (lambda board: board.payload.entry_el, lambda found, wanted: found == wanted),
    "psci": (lambda board: board.payload.psci, lambda found, wanted: found == wanted),
    "linux": (lambda board: board.linux is not None, lambda found, wanted: found is bool(wanted)),
}

NEEDS = (*_NEEDS, "vectors")
"""Arguments of the marker ``hilagent_needs``; ``vectors`` chooses what the
payload fixture has under test, the others are declared facts of the board."""


def unmet(board: Board, needs: Mapping[str, Any]) -> str:
    """Return which of ``needs`` the declared facts of ``board`` don't meet; "" for none.

    Raises:
        errors.UsageError: a need that nobody knows.
    """
    for name, wanted in needs.items():
        if name == "vectors":
            continue
        if name not in _NEEDS:
            known = ", ".join(NEEDS)
            raise errors.UsageError(f"hilagent_needs({name}=...): unknown", hint=f"known: {known}")
        of, meets = _NEEDS[name]
        found = of(board)
        if not meets(found, wanted):
            shown = (
                ", ".join(map(str, found))
                if isinstance(found, Sequence) and not isinstance(found, str)
                else found
            )
            return f"needs {name}={wanted}, {board.name} declares {shown}"
    return ""
