# SPDX-License-Identifier: Apache-2.0
"""KCIDB's JSON, schema version 5.3: a checkout, a build and the tests of each run.

It is written for whoever wants to submit it; nothing here ever does. A payload without a
kernel is a build too: KCIDB knows no test without one.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hilagent.journal import Run
from hilagent.report.results import outcomes, suite_of
from hilagent.result import RENDERINGS, Outcome
from hilagent.text import scrub_line

VERSION = {"major": 5, "minor": 3}
ORIGIN = "hilagent"
_MOST_EXCERPT = 16_000
_NOT_A_PATH = re.compile(r"[^\w-]+", re.ASCII)


def kcidb(runs: Sequence[Run], origin: str = ORIGIN) -> dict[str, Any]:
    """Return the runs as one object.

    Args:
        origin: the name under which KCIDB knows the lab.
    """
    return {
        "version": VERSION,
        "checkouts": [_checkout(run, origin) for run in runs],
        "builds": [_build(run, origin) for run in runs],
        "tests": [test for run in runs for test in _tests(run, origin)],
    }


def _id(run: Run, origin: str, *more: str) -> str:
    return ":".join([origin, scrub_line(str(run.facts.get("id", run.run_dir.name))), *more])


def _checkout(run: Run, origin: str) -> dict[str, Any]:
    return {
        "id": _id(run, origin),
        "origin": origin,
        "comment": f"hilagent {scrub_line(str(run.facts.get('hilagent', '')))}",
        "valid": True,
    }


def _build(run: Run, origin: str) -> dict[str, Any]:
    facts = run.facts
    misc = {
        name: scrub_line(str(facts[name]))
        for name in ("payload_build_id", "kernel_build_id", "abi", "uboot", "qemu")
        if facts.get(name)
    }
    kernels = [name.partition(" ")[2] for name in facts if name.startswith("kernel ")]
    return {
        "id": _id(run, origin),
        "checkout_id": _id(run, origin),
        "origin": origin,
        "architecture": "arm64",
        "comment": scrub_line(", ".join(kernels) or "hilagent's EL2 payload"),
        "misc": misc,
    }


def _tests(run: Run, origin: str) -> Iterator[dict[str, Any]]:
    paths: set[str] = set()
    ended_s = {each["test"]: each["t"] for each in run.records if each["kind"] == "outcome"}
    for number, outcome in enumerate(outcomes(run)):
        path = _path(outcome.test)
        while path in paths:
            path += f"_{number}"
        paths.add(path)
        yield _test(run, origin, outcome, path, ended_s.get(outcome.test))


def _test(
    run: Run, origin: str, outcome: Outcome, path: str, ended_s: float | None
) -> dict[str, Any]:
    compatible = [scrub_line(str(each)) for each in _compatible(run)]
    test = {
        "id": _id(run, origin, path),
        "build_id": _id(run, origin),
        "origin": origin,
        "path": path,
        "status": RENDERINGS[outcome.verdict].kcidb,
        "environment": {
            "comment": scrub_line(str(run.facts.get("description", run.facts.get("board", "")))),
            **({"compatible": compatible} if compatible else {}),
            "misc": {"board": scrub_line(str(run.facts.get("board", ""))),
                     "emulated": bool(run.facts.get("emulated"))},
        },
        "duration": outcome.duration_s,
        "misc": {"verdict": outcome.verdict.value, "name": scrub_line(outcome.test)},
    }  # fmt: skip
    if outcome.message:
        test["comment"] = scrub_line(outcome.message, limit=1000)
    if outcome.details:
        test["log_excerpt"] = "\n".join(
            scrub_line(line, limit=400) for line in outcome.details.splitlines()
        )[:_MOST_EXCERPT]
    if ended_s is not None and (begun := _begun(run)):
        start = begun + datetime.timedelta(seconds=max(0.0, ended_s - outcome.duration_s))
        test["start_time"] = start.isoformat(timespec="milliseconds")
    return test


def _compatible(run: Run) -> Sequence[object]:
    definition = run.facts.get("definition")
    return definition.get("compatible") or () if isinstance(definition, dict) else ()


def _begun(run: Run) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(str(run.facts.get("utc")))
    except ValueError:
        return None


def _path(test: str) -> str:
    suite = suite_of(test) or "own"
    rest = test[len(suite) :] if test.startswith(suite) else test
    parts = [ORIGIN, suite, *rest.strip("[]").split("::")]
    return ".".join(filter(None, (_NOT_A_PATH.sub("_", part).strip("_") for part in parts)))
