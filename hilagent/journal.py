# SPDX-License-Identifier: Apache-2.0
"""The run directory, and the journal in it: what everything else is told from.

``runs_dir()`` is ``$HILAGENT_RUNS``, else ``hilagent-runs`` in the current
folder. A run is ``<utc>-<board>-<short id>/`` in it, and holds ``journal.jsonl``:
one JSON object a line, in this order of first appearance:

* ``run``: the facts that are known at once (id, board, emulated or real, host);
* ``facts``: facts that are learnt later (build ids, CPUs), merged into them;
* ``plan``: the id of every test, before the first one starts;
* ``step``, ``progress``, ``state``, ``note``, ``observation``: what happened;
* ``outcome``: how a test ended;
* ``end``: that the run ended by itself, why if it was cut short, and how many records
  there are before it (``records``).

``t`` is seconds since the run began, by the monotonic clock; what that showed then is
``monotonic_s`` of the ``run`` record.

**Durability.** Every line is written with one ``write`` as soon as it happens,
so it survives ``kill -9`` of the agent. ``run``, ``plan``, ``end`` and every
outcome that accuses are also fsynced, and whatever else is written more than a
second after the last fsync: a power loss of this host costs no accusation and
the lines of about a second, and tests whose outcome is lost count as unfinished.
A line that doesn't fit the disk is taken back whole. The reader drops a torn
last line; a journal that lost others, or has some that can't be read, is no pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import errno
import glob
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilagent import errors, records, result
from hilagent.clock import SYSTEM, Clock

NAME = "journal.jsonl"
VERSION = records.VERSION
Record = Mapping[str, Any]
Listener = Callable[[Record], None]
_DURABLE = frozenset({"run", "plan", "end"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def runs_dir() -> Path:
    """Return the folder that holds the runs: ``$HILAGENT_RUNS`` or ``./hilagent-runs``."""
    return Path(os.environ.get("HILAGENT_RUNS") or "hilagent-runs").absolute()


def new_run_dir(board: str, runs: Path | None = None) -> Path:
    """Create ``<utc>-<board>-<short id>`` in ``runs`` and return it.

    Raises:
        errors.HostError: it can't be made (no space, no permission).
    """
    utc = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", board).strip(".") or "board"
    path = (runs or runs_dir()) / f"{utc}-{safe[:60]}-{secrets.token_hex(3)}"
    with _disk(path):
        path.mkdir(parents=True, mode=0o755)
        link = path.parent / "latest"
        if link.is_symlink() or not link.exists():
            link.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(path.name)
    return path


class Journal:
    """Writes a run's journal; safe to call from several threads."""

    def __init__(self, run_dir: Path, *, clock: Clock = SYSTEM) -> None:
        """Begin the journal in ``run_dir``, which must not hold one yet.

        Raises:
            errors.LabError: the file can't be made.
        """
        self.run_dir = run_dir
        self.listeners: list[Listener] = []
        self._clock, self._start = clock, clock.now_s()
        self._lock = threading.Lock()
        self._size = self._steps = self._records = 0
        self._synced_s = self._start
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        with _disk(run_dir / NAME):
            self._fd = os.open(run_dir / NAME, flags, 0o644)

    def close(self) -> None:
        """Sync and close; may be called again."""
        with self._lock:
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    os.fsync(self._fd)
                os.close(self._fd)
                self._fd = -1

    def write(self, kind: str, **values: object) -> None:
        """Append one record and tell the listeners.

        Raises:
            errors.LabError: the disk doesn't take it; nothing of it is kept.
        """
        with self._lock:
            record = {"kind": kind, "t": round(self._clock.now_s() - self._start, 6)}
            record |= {name: plain(value) for name, value in values.items()}
            record |= {"records": self._records} if kind == "end" else {}
            line = json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"
            if self._fd >= 0:
                self._append(line.encode(), self._is_durable(record))
        for listener in self.listeners:
            listener(record)

    def run(self, **facts: object) -> None:
        """Write the first record."""
        utc = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self.write(
            "run",
            version=VERSION,
            id=self.run_dir.name,
            utc=utc,
            monotonic_s=round(self._start, 6),  # by the same clock as console.idx
            **facts,
        )

    def plan(self, tests: Sequence[str]) -> None:
        """Write the id of every test that is going to run."""
        self.write("plan", tests=list(tests))

    def outcome(self, outcome: result.Outcome) -> None:
        """Write how one test ended."""
        self.write("outcome", **plain(outcome))

    def observation(self, what: str, **values: object) -> None:
        """Write what was measured: raw data, or a table made from it."""
        self.write("observation", what=what, **values)

    def note(self, text: str, **values: object) -> None:
        """Write something that a reader of the run will want to know."""
        self.write("note", text=text, **values)

    @contextlib.contextmanager
    def step(self, what: str, **values: object) -> Iterator[Callable[[float], None]]:
        """Write that ``what`` begins, and how it ended; yields a progress callback.

        The callback takes the share done, 0 to 1, and may be called often: it
        is written at most once a second, and told to the listeners each time.
        """
        self._steps += 1
        step, began = self._steps, self._clock.now_s()
        self.write("step", step=step, what=what, phase="begin", **values)
        written = began

        def progress(share: float) -> None:
            nonlocal written
            if self._clock.now_s() - written >= 1:
                written = self._clock.now_s()
                self.write("progress", step=step, what=what, share=round(share, 4))

        try:
            yield progress
        except BaseException as exc:
            self._end_step(step, what, began, error=f"{type(exc).__name__}: {exc}")
            raise
        self._end_step(step, what, began)

    def _end_step(self, step: int, what: str, began: float, **values: object) -> None:
        took_s = round(self._clock.now_s() - began, 6)
        self.write("step", step=step, what=what, phase="end", took_s=took_s, **values)

    def _is_durable(self, record: Record) -> bool:
        accuses = record["kind"] == "outcome" and result.Verdict(record["verdict"]).accuses
        return accuses or record["kind"] in _DURABLE or self._clock.now_s() - self._synced_s >= 1

    def _append(self, line: bytes, durable: bool) -> None:
        with _disk(self.run_dir / NAME):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
                if durable:
                    os.fsync(self._fd)
                    self._synced_s = self._clock.now_s()
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._size)
                raise
        self._size += len(line)
        self._records += 1


def find(word: str) -> Path:
    """Return the directory of a run.

    Args:
        word: the directory, the run's id, an unmistakable beginning of that, or ``latest``.

    Raises:
        errors.InputError: there is none, or several begin so.
    """
    path = Path(word)
    if (path / NAME).exists():
        return path
    if path.name == word and (runs_dir() / word / NAME).exists():
        return (runs_dir() / word).resolve()
    found: list[Path] = []
    if path.name == word:
        found = sorted(each.parent for each in runs_dir().glob(f"{glob.escape(word)}*/{NAME}"))
    if not found:
        hint = f"name the directory of a run, or one of those in {runs_dir()}"
        raise errors.InputError(path, "is no run", hint=hint)
    if len(found) > 1:
        said = f"{len(found)} runs begin so, e.g. {found[0].name} and {found[1].name}"
        raise errors.InputError(path, said, hint="give more of its id")
    return found[0]


def parts(share: Callable[[float], None]) -> Callable[[int, int], None]:
    """Return a progress in parts of a whole, such as bytes, for what `Journal.step` yields."""
    return lambda done, total: share(min(1.0, done / total) if total else 0.0)


@dataclass
class Run:
    """What a journal says, read back.

    Attributes:
        facts: the ``run`` record with every later ``facts`` record merged in.
        plan: the ids of all tests, in order; None when it was never written.
        outcomes: by test id; of a test with several, the worst, and of those the last.
        end: the ``end`` record, without ``records``; None for a run that was killed.
        torn: whether the last line was incomplete.
        damaged: how many others can't be read, or are missing.
    """

    run_dir: Path
    facts: dict[str, Any] = field(default_factory=dict)
    plan: list[str] | None = None
    outcomes: dict[str, result.Outcome] = field(default_factory=dict)
    end: dict[str, Any] | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    torn: bool = False
    damaged: int = 0

    def observations(self, what: str) -> list[dict[str, Any]]:
        """Return the ``observation`` records of one sort, in order."""
        return [r for r in self.records if r["kind"] == "observation" and r.get("what") == what]

    def all_outcomes(self) -> list[result.Outcome]:
        """Return one outcome a test, in the plan's order; UNFINISHED where it did not end."""
        order = dict.fromkeys([*(self.plan or []), *self.outcomes])
        message = "did not finish"
        unfinished = result.Verdict.UNFINISHED
        return [self.outcomes.get(t) or result.Outcome(t, unfinished, message) for t in order]

    @property
    def whole(self) -> bool:
        """Whether all that was written up to the end is there."""
        return self.end is not None and not self.damaged

    @property
    def exit_code(self) -> int:
        """The exit code of the run: interrupted, then usage, then the closed table.

        A run that did not end by itself is no pass, whatever its tests were; nor is one
        whose journal was damaged, for it may have lost an accusation.
        """
        end = self.end or {}
        if end.get("signal") in {"SIGINT", "SIGTERM"}:
            return result.EXIT_SIGINT if end["signal"] == "SIGINT" else result.EXIT_SIGTERM
        verdicts = {test: outcome.verdict for test, outcome in self.outcomes.items()}
        code = result.exit_code(self.plan or [], verdicts)
        if code == result.EXIT_ACCUSED:
            return code
        if end.get("usage"):
            return result.EXIT_USAGE
        if end.get("bug"):
            return result.EXIT_BUG
        cut = not self.whole or end.get("lab")
        return result.EXIT_LAB if cut and code == result.EXIT_OK else code


def read(run_dir: Path) -> Run:
    """Return what the journal in ``run_dir`` says, also that of a killed run.

    Raises:
        errors.InputError: there is no journal, or one of another version.
    """
    path = run_dir / NAME
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise errors.InputError(path, f"can't be read: {exc.strerror}") from exc
    run = Run(run_dir)
    *lines, last = raw.split(b"\n")
    run.torn = bool(last)
    for line in lines:
        try:
            _take(run, _parse(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            run.damaged += 1
    before = len(run.records) - 1
    if run.end is not None:
        written = run.end.pop("records", None)
        run.damaged += max(0, (before if written is None else written) - before - run.damaged)
    if run.facts and run.facts.get("version") != VERSION:
        found = run.facts.get("version")
        raise errors.InputError(path, f"journal version {found}, this program reads {VERSION}")
    return run


def _parse(line: bytes) -> dict[str, Any]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("not a record")
    records.check(record)
    return record


def _take(run: Run, record: dict[str, Any]) -> None:
    values = {name: value for name, value in record.items() if name not in {"kind", "t"}}
    match record["kind"]:
        case "run" | "facts":
            run.facts |= values
        case "plan":
            run.plan = list(record["tests"])
        case "outcome":
            outcome = _outcome(values)
            known = run.outcomes.get(outcome.test)
            if known is None or result.worst([known.verdict, outcome.verdict]) == outcome.verdict:
                run.outcomes[outcome.test] = outcome
        case "end":
            run.end = values
    run.records.append(record)


def _outcome(values: Mapping[str, Any]) -> result.Outcome:
    findings = tuple(
        result.Finding(
            **f
            | {
                "cpus": tuple(f.get("cpus", ())),
                "immediates": tuple((a, b) for a, b in f.get("immediates", ())),
                "x0": tuple((a, b) for a, b in f.get("x0", ())),
            }
        )
        for f in values.get("findings") or ()
    )
    return result.Outcome(
        test=values["test"],
        verdict=result.Verdict(values["verdict"]),
        message=values.get("message") or "",
        details=values.get("details") or "",
        findings=findings,
        measured=tuple(result.Verdict(v) for v in values.get("measured") or ()),
        duration_s=values.get("duration_s") or 0.0,
    )


def plain(value: object) -> Any:
    """Return ``value`` as JSON can hold it: dataclasses as objects, bytes as hex."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum) and not isinstance(value, int):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, str | bool | float) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    return str(value)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        full = exc.errno in _FULL
        hint = "free some space" if full else "set $HILAGENT_RUNS to a folder that can be written"
        raise errors.HostError(f"{path}: can't be written: {exc.strerror}", hint=hint) from exc
