# SPDX-License-Identifier: Apache-2.0
"""The helper as a process: asked by line, and heard by a thread."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hilagent.clock import Deadline
from hilagent.errors import LabError
from hilagent.text import scrub_line

PYTHON = "HILAGENT_LABGRID_PYTHON"
COORDINATOR = "LG_COORDINATOR"
USUAL = "127.0.0.1"
START_S = 60.0
END_S = 30.0
"""For a board to be switched off and a place to be released; a helper that hangs is killed."""
_HELPER = Path(__file__).with_name("helper.py")
_OURS = re.compile(r"(.+)/.+\+hilagent-(\d+)\.([0-9a-f]+)\.[0-9a-f]+")
_TAIL_BYTES = 2000

Said = Mapping[str, Any]


class Refused(LabError):
    """The coordinator or its exporter doesn't do it; ``kind`` says why, for a program.

    Attributes:
        by: who has the place instead.
    """

    def __init__(self, said: Said) -> None:
        super().__init__(_text(said, "error"), hint=_text(said, "hint"))
        self.kind, self.by = str(said.get("kind", "")), _text(said, "by")


def address_of(coordinator: str | None) -> str:
    """Return ``HOST:PORT`` of a coordinator, by default that of labgrid's own commands."""
    said = coordinator or os.environ.get(COORDINATOR) or USUAL
    bare = said.count(":") != 1 and not re.search(r"\]:\d+$", said)
    return f"{said}:20408" if bare else said


def python() -> str:
    """Return the Python that has labgrid: what was chosen, or that of ``labgrid-client``.

    Raises:
        LabError: there is none.
    """
    if chosen := os.environ.get(PYTHON):
        return chosen
    client = shutil.which("labgrid-client")
    if client is not None:
        with contextlib.suppress(OSError), Path(client).open("rb") as script:
            first = script.readline(500).decode("utf-8", "replace").strip()
            if first.startswith("#!") and "python" in first:
                return first[2:].split()[0]
    raise LabError(
        "a place needs labgrid, which wants an environment of its own",
        hint=f"python3 -m venv ~/labgrid; ~/labgrid/bin/pip install labgrid; "
        f"export {PYTHON}=~/labgrid/bin/python",
    )


def own_name() -> tuple[str, str]:
    """Return host and user that this process acquires as: labgrid's lock is theirs alone.

    So that two processes of one user are two, the user has a part that is this one's.
    """
    user = os.environ.get("LG_USERNAME") or os.environ.get("USER") or str(os.getuid())
    return _host(), f"{_word(user)}+hilagent-{os.getpid()}.{_pids():x}.{secrets.token_hex(2)}"


def is_dead(name: str) -> bool:
    """Return whether ``name`` is that of a process of ours, on this host, which is no more.

    False for one whose number can't be looked up here, for it is in another container.
    """
    match = _OURS.fullmatch(name)
    if match is None or match[1] != _host() or int(match[3], 16) != _pids():
        return False
    return not Path("/proc", match[2]).exists()


def _host() -> str:
    return _word(os.environ.get("LG_HOSTNAME") or socket.gethostname())


def _word(text: str) -> str:
    """Return ``text`` as a part of a name: labgrid takes those apart at the slash."""
    return re.sub(r"[^\w.@-]", "_", text)


def _pids() -> int:
    """Return which namespace this host's, or container's, process ids are of."""
    return Path("/proc/self/ns/pid").stat().st_ino


class _Box:
    """Takes one answer, and keeps it until it is asked for.

    Waits in one call of a lock: no signal leaves it half done. SimpleQueue doesn't do, for
    in CPython 3.11 its ``get`` waits for ever where a signal comes just as its time is up.
    """

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._empty = threading.Lock()
        self._empty.acquire()

    def put(self, said: Said) -> None:
        """Put the answer in; one that comes after another is too late."""
        self._said.append(said)
        with contextlib.suppress(RuntimeError):  # nobody has to be woken twice
            self._empty.release()

    def take(self, deadline: Deadline) -> Said | None:
        """Wait for the answer; None at the deadline."""
        came = self._empty.acquire(timeout=min(deadline.left_s(), threading.TIMEOUT_MAX))
        return self._said[0] if came else None


class Helper:
    """A running helper, from construction on: it has found the coordinator.

    Args:
        address: of the coordinator.
        heard: takes each event, in a thread of this class.

    Raises:
        LabError: labgrid isn't there, or no coordinator answers.
    """

    def __init__(
        self, address: str, heard: Callable[[Said], None], start_s: float = START_S
    ) -> None:
        host, user = own_name()
        self.name, self.address = f"{host}/{user}", address
        self._heard, self._numbers = heard, itertools.count(1)
        self._boxes = {0: _Box()}
        self._last: Said | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._python = python()
        try:
            self._child = subprocess.Popen(
                [self._python, "-I", _HELPER, address],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
                env={**os.environ, "LG_HOSTNAME": host, "LG_USERNAME": user},
            )  # fmt: skip
        except OSError as exc:
            self._errors.close()
            hint = f"look at ${PYTHON}"
            raise LabError(f"can't run {self._python}: {exc.strerror}", hint=hint) from exc
        self._listener = threading.Thread(target=self._listen, name="labgrid helper", daemon=True)
        self._listener.start()
        try:
            self._answer(0, Deadline.after(start_s), "start")
        except BaseException:
            self.close(0)  # it has nothing yet
            raise

    def ask(self, do: str, deadline: Deadline, **arguments: object) -> Said:
        """Return the helper's answer.

        Raises:
            Refused: it can't be done.
            LabError: the helper is gone, or doesn't answer in time.
        """
        number = next(self._numbers)
        self._boxes[number] = _Box()
        line = json.dumps({"number": number, "do": do, **arguments}) + "\n"
        assert self._child.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended: the listener says so
            os.write(self._child.stdin.fileno(), line.encode())
        if self._last is not None:  # or it has said so, before there was this box
            self._boxes[number].put(self._last)
        return self._answer(number, deadline, do)

    def close(self, patience_s: float = END_S) -> None:
        """End the helper: it releases what it has. Harmless a second time."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._listener.join()
        self._errors.close()

    def _answer(self, number: int, deadline: Deadline, do: str) -> Said:
        try:
            said = self._boxes[number].take(deadline)
        finally:
            self._boxes.pop(number, None)
        if said is None:
            late = f"labgrid didn't {do} within {deadline.budget_s:g} s"
            raise LabError(late, hint="is the coordinator, or its exporter, overloaded?")
        if "error" in said:
            raise Refused(said)
        return said

    def _listen(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                self._take(_parsed(line))
        self._child.wait()
        self._last = self._epitaph()
        for box in list(self._boxes.values()):
            box.put(self._last)
        self._heard({"event": "lost", "kind": "helper", "text": self._last["error"]})

    def _take(self, said: Said) -> None:
        event = said.get("event")
        if event in {"ready", "failed"}:
            number, said = 0, {**said, "error": said["text"]} if event == "failed" else said
        elif event:
            return self._heard(said)
        else:
            number = said.get("number", -1)
        box = self._boxes.get(number)
        return box.put(said) if box is not None else None

    def _epitaph(self) -> Said:
        """Return what a question to a helper that is no more is answered."""
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        last = (tail.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
        ended = f"labgrid's helper ({self._python}) ended: {last or 'without a word'}"
        hint = f"${PYTHON} must name the Python that has labgrid" if "No module" in last else ""
        return {"error": ended, "kind": "helper", "hint": hint}


def _parsed(line: bytes) -> Said:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: Said, name: str) -> str:
    return scrub_line(str(said.get(name) or ""), limit=500)
