# SPDX-License-Identifier: Apache-2.0
"""``hilagent shell``: a Python prompt with the payload at hand."""

from __future__ import annotations

import code
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hilagent import errors
from hilagent.cli import hvc as hvc_verb
from hilagent.cli import using
from hilagent.cli.ending import say, told
from hilagent.result import EXIT_OK, Exchange
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings
from hilagent.session.sweeps import start

BANNER = """\
hvc(2, x0=0x1000)   issue one hvc; also cpu=1, origin="EL2h"
mrs("ESR_EL2")      read a system register; msr("TPIDR_EL2", 1) writes one
read64(addr)        read memory; write64(addr, value); 8, 16 and 32 bits too
payload, session    everything else; Ctrl-D ends and switches the board off"""


class Shown:
    """One exchange that prints itself as a person reads it."""

    def __init__(self, exchange: Exchange, lines: list[str]) -> None:
        self.exchange, self._lines = exchange, lines

    def __repr__(self) -> str:
        return "\n".join(self._lines)


class Prompt(code.InteractiveConsole):
    """Shows numbers in hexadecimal, and errors of ours as one message."""

    def showtraceback(self) -> None:
        """Show a mistake, or what the board did, without a traceback of ours."""
        exc = sys.exc_info()[1]
        if isinstance(exc, errors.HilagentError):
            say(*told(exc))
        else:
            super().showtraceback()


def shell(request: Request, run_dir: Path | None) -> int:
    """Give the prompt; return when its input ends."""
    with using.session(request, run_dir) as (session, settings):
        payload = session.payload(settings.subjects[0])
        start(session, payload)
        prompt = Prompt(names(session, settings))
        banner = f"{settings.board.name}: {settings.subjects[0].name}\n{BANNER}"
        before, sys.displayhook = sys.displayhook, _display
        try:
            if sys.stdin.isatty():
                import readline  # noqa: F401  (gives the prompt its history)
            else:
                banner, sys.ps1, sys.ps2 = "", "", ""
            prompt.interact(banner=banner, exitmsg="")
        finally:
            sys.displayhook = before
    return EXIT_OK


def names(session: Session, settings: Settings) -> dict[str, Any]:
    """Return what the prompt knows by name."""
    subject = settings.subjects[0]

    def hvc(imm: int, *, cpu: int = 0, origin: str = "EL1h", **x: int) -> Shown:
        """Issue one hvc; x0=..., x1=... give registers."""
        given = {int(name[1:]): value for name, value in x.items()}
        ways = {"cpu": cpu, "origin": origin}
        done = hvc_verb.issue(session, settings, subject, imm, x=given, **ways)  # type: ignore[arg-type]
        return Shown(done, hvc_verb.told(session, settings, subject, done, **ways))  # type: ignore[arg-type]

    known: dict[str, Any] = {"session": session, "hvc": hvc}
    for name in ("mrs", "msr", "call", "read", "write"):
        known[name] = _asks(session, settings, name)
    for bits in (8, 16, 32, 64):
        for verb in ("read", "write"):
            known[f"{verb}{bits}"] = _asks(session, settings, f"{verb}{bits}")
    known["payload"] = session.payload(subject)
    return known


def _asks(session: Session, settings: Settings, name: str) -> Callable[..., Any]:
    """Return what asks the payload of now, also after it was booted anew."""

    def ask(*args: Any, **options: Any) -> Any:
        return getattr(session.payload(settings.subjects[0]), name)(*args, **options)

    ask.__name__ = name
    return ask


def _display(value: object) -> None:
    if value is not None:
        shown = hex(value) if isinstance(value, int) and not isinstance(value, bool) else value
        print(shown if isinstance(shown, str) and shown is not value else repr(shown))
