# SPDX-License-Identifier: Apache-2.0
"""How a command ends: one clear message, no traceback, the right exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import click

from hilagent import errors
from hilagent.result import EXIT_BUG, EXIT_SIGINT, EXIT_SIGTERM, EXIT_USAGE, RENDERINGS
from hilagent.text import scrub


def guarded(command: Callable[[], Any]) -> int:
    """Run ``command`` and return its exit code, whatever it raises."""
    try:
        code = command()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort) as exc:
        return _interrupted(exc.__cause__ if isinstance(exc, click.Abort) else exc)  # click's own
    except errors.UsageError as exc:
        say(*told(exc))
        return EXIT_USAGE
    except errors.WorldError as exc:
        return _verdict(exc)
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # whoever read our output has gone away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGTERM
    except Exception as exc:
        if isinstance(exc, OSError) and isinstance(exc.__context__, KeyboardInterrupt):
            return _interrupted(exc.__context__)  # click can't tell a terminal that hung up
        say(f"hilagent has a bug: {type(exc).__name__}: {exc}", f"the traceback is in {saved(exc)}")
        return EXIT_BUG


def _interrupted(signal: BaseException | None) -> int:
    say("interrupted")
    return EXIT_SIGTERM if getattr(signal, "name", "SIGINT") != "SIGINT" else EXIT_SIGINT


def _verdict(exc: errors.WorldError) -> int:
    from hilagent.session.verdict import verdict_of

    verdict = verdict_of(exc)
    say(*told(exc, verdict.name))
    return RENDERINGS[verdict].exit_code


def told(exc: errors.HilagentError, word: str = "") -> list[str]:
    """Return message and hint of ``exc``, fit for a terminal."""
    head = f"{word}: {exc.message}" if word else exc.message
    return [scrub(head), *([f"  {scrub(exc.hint)}"] if exc.hint else [])]


def say(*lines: str) -> None:
    """Write lines for a person to stderr."""
    with contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(line, file=sys.stderr)


def saved(exc: BaseException) -> str:
    """Save the traceback of a defect of ours; return the file."""
    try:
        fd, path = tempfile.mkstemp(prefix="hilagent-bug-", suffix=".txt")
        with os.fdopen(fd, "w") as out:
            out.writelines(traceback.format_exception(exc))
    except OSError as failure:
        return f"no file, for it can't be written: {failure.strerror}"
    return path
