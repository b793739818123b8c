# SPDX-License-Identifier: Apache-2.0
"""The one run of a pytest invocation: journal and session, made when first needed."""

from __future__ import annotations

import contextlib
import platform
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hilagent import __version__, errors
from hilagent import journal as journals
from hilagent.clock import SYSTEM, Clock
from hilagent.session import recording, signals
from hilagent.session.settings import Request, Settings, look_up

if TYPE_CHECKING:
    from hilagent.abi import Profile
    from hilagent.board import Board
    from hilagent.session.session import Session
    from hilagent.session.subject import Subject

KEY = pytest.StashKey["Run"]()
PROPERTIES = (
    "id", "replay_of", "board", "emulated", "cpu_model", "cpu", "payload_build_id",
    "kernel_build_id", "abi",
)  # fmt: skip
"""Facts of the run that go into the JUnit properties."""
Opener = Callable[[Settings, journals.Journal], contextlib.AbstractContextManager["Session"]]


def of(config: pytest.Config) -> Run:
    """Return the run that belongs to ``config``."""
    return config.stash[KEY]


def open_session(
    settings: Settings, journal: journals.Journal
) -> contextlib.AbstractContextManager[Session]:
    """Open the real session: the board's lock, power and console."""
    from hilagent.session.open import open as open_real

    return open_real(settings, journal)


class Run:
    """What ``hilagent run`` and the plugin share.

    Attributes:
        every_test: whether tests that use nothing of ours are in the plan too.
        run_dir: the run directory, once there is one.
        facts: what the journal's ``run`` and ``facts`` records said.
    """

    def __init__(
        self,
        request: Request,
        run_dir: Path | None = None,
        *,
        opener: Opener | None = None,
        every_test: bool = False,
        listeners: Sequence[journals.Listener] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._clock = clock
        self.request, self.every_test = request, every_test
        self._chosen_dir, self._opener, self._listeners = run_dir, opener, listeners
        self._stack = contextlib.ExitStack()
        self._session: Session | None = None
        self._journal: journals.Journal | None = None
        self._end: dict[str, object] = {}
        self.run_dir: Path | None = None
        self.facts: dict[str, object] = {}

    @cached_property
    def settings(self) -> Settings:
        """The request, looked up. Raises errors.UsageError."""
        return look_up(self.request)

    def journal(self) -> journals.Journal:
        """Return the journal, begun with the facts of the run."""
        if self._journal is None:
            settings = self.settings
            run_dir = self._chosen_dir or journals.new_run_dir(settings.board.name)
            self._journal = begun(run_dir, self._clock)
            self.run_dir = run_dir
            self._journal.listeners += [self._learn, *self._listeners]
            self._journal.run(**_facts(settings))
            for subject in settings.subjects:
                if subject.origin is not None:
                    self._journal.note(_spoken(subject))
        return self._journal

    def _learn(self, record: journals.Record) -> None:
        if record["kind"] in {"run", "facts"}:
            self.facts |= {k: v for k, v in record.items() if k not in {"kind", "t"}}

    def properties(self) -> list[tuple[str, str]]:
        """Return what JUnit says of each test: board, emulated or real, CPU, build ids, run."""
        known = [name for name in PROPERTIES if name in self.facts]
        return [(f"hilagent_{name}", str(self.facts[name])) for name in known]

    def plan(self, tests: Sequence[str]) -> None:
        """Write the plan."""
        self.journal().plan(tests)

    def session(self) -> Session:
        """Return the session, opened if it wasn't."""
        if self._session is None:
            journal, opener = self.journal(), self._opener or open_session
            self._stack.enter_context(signals.as_exceptions())
            self._session = self._stack.enter_context(opener(self.settings, journal))
        return self._session

    @property
    def opened(self) -> Session | None:
        """The session if it has been opened."""
        return self._session

    def note_end(self, **values: object) -> None:
        """Remember what the end record will say; the first to say something wins."""
        self._end = {**values, **self._end}

    def note_bug(self, exc: BaseException) -> Path | None:
        """Save the traceback of a defect of ours in the run directory; return where."""
        self.note_end(bug=f"{type(exc).__name__}: {exc}")
        if self.run_dir is None:
            return None
        path = self.run_dir / "traceback.txt"
        with contextlib.suppress(OSError), path.open("a") as out:
            out.writelines(traceback.format_exception(exc))
        return path

    def end(self) -> None:
        """Close the session (the board is off afterwards) and the journal; write the reports."""
        try:
            self._stack.close()
        except errors.WorldError as exc:
            if self._journal:
                self._journal.note(f"while ending: {exc}", blame="infra")
            self.note_end(lab=str(exc))
        finally:
            self._session = None
            if self._journal is not None:
                self._finish(self._journal)
                self._journal = None

    def _finish(self, journal: journals.Journal) -> None:
        from hilagent import report

        with contextlib.suppress(errors.LabError):
            journal.write("end", **self._end)
        journal.close()
        report.write(journal.run_dir)


class CutShort:
    """Tells a run how it was cut short; these hooks get no config, so each run has its own."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        exc = excinfo.value  # pytest has a subclass of its own, for files it can't collect
        if isinstance(exc, signals.Interrupted) or type(exc) is KeyboardInterrupt:
            self._run.note_end(signal=signals.signal_of(exc))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if isinstance(excinfo.value, errors.WorldError):  # a full disk under the journal
            self._run.note_end(lab=excinfo.value.message)
        else:
            self._run.note_bug(excinfo.value)


def begun(run_dir: Path, clock: Clock = SYSTEM) -> journals.Journal:
    """Return the journal of a new run in ``run_dir``; UsageError where that can't be."""
    if (run_dir / journals.NAME).exists():
        hint = "name a new one; a run is never overwritten"
        raise errors.UsageError(f"{run_dir} already holds a run", hint=hint)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.UsageError(f"{run_dir}: can't be made: {exc.strerror}") from exc
    return journals.Journal(run_dir, clock=clock)


def _facts(settings: Settings) -> dict[str, object]:
    board = settings.board
    replay, request = settings.recording, settings.request
    cpu = board.qemu.cpu if board.qemu else replay.facts["cpu_model"] if replay else ""
    asked = {"vectors": request.vectors, "abi": request.abi, "transfer": request.transfer}
    return {
        "hilagent": __version__,
        "host": platform.node(),
        "python": platform.python_version(),
        "board": board.name,
        "description": board.description,
        "soc": board.soc,
        "emulated": board.emulated,
        "started_by": started_by(board),
        "console": board.console.kind,
        "cpu_model": cpu,
        "cpus": board.cpus,
        "options": dict(settings.request.options),
        "abi": ", ".join(_spoken_by(settings)) or settings.profile.name,
        "vectors": [subject.name for subject in settings.subjects],
        "transfer": settings.transfer,
        **({"command": request.command} if request.command else {}),
        **({"replay_of": replay.label} if replay else recording.facts(board, asked)),
        **({"kernels_vectors": kernels} if (kernels := _kernels(settings)) else {}),
    }


def started_by(board: Board) -> str:
    """Return who starts the payload there: ``U-Boot``, ``kexec``, or ``QEMU`` itself."""
    if board.uboot is not None:
        return "U-Boot"
    return "kexec" if board.os is not None else "QEMU"


def _spoken_by(settings: Settings) -> list[str]:
    """Return the ABI of each subject, each once."""
    return list(dict.fromkeys(settings.profile_of(each).name for each in settings.subjects))


def _kernels(settings: Settings) -> list[dict[str, object]]:
    """Return what kernels' own vectors are, which ABI they speak, and why."""
    return [
        {
            "name": subject.name,
            "server": subject.server,
            "abi": _abi(found.profile),
            "place": found.place,
            "evidence": list(found.evidence),
            "left_out": list(found.left_out),
            "notes": list(found.notes),
        }
        for subject in settings.subjects
        if (found := subject.origin) is not None
    ]


def _abi(profile: Profile) -> str:
    return f"{profile.name}@{profile.kernel}" if profile.kernel else profile.name


def _spoken(subject: Subject) -> str:
    """Return the note that says which ABI a kernel's own vectors speak."""
    assert subject.origin is not None
    profile = subject.origin.profile
    return f"{subject.name} speaks {_abi(profile)}: {'; '.join(subject.origin.evidence)}"
