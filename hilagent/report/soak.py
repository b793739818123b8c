# SPDX-License-Identifier: Apache-2.0
"""A soak: one board, the same questions over and over, each round a run of its own.

All of it stands in the soak's journal, a record a round, so that the folders of rounds
that passed need not be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from hilagent.journal import Run
from hilagent.report.many import BoardRun
from hilagent.report.results import scrubbed
from hilagent.report.summary import paint, wrap
from hilagent.result import EXIT_LAB, EXIT_SIGINT, EXIT_SIGTERM, Verdict, worst, worst_exit

SCHEMA = "hilagent-soak-results"
VERSION = 1
MIB = 1 << 20
_LINE = ("rx_bytes", "tx_bytes", "damaged", "naks", "repeats")
"""Of the link's counters; what is sent again may have met a CPU in the middle of a sweep."""
_MOST = 8
"""Rounds that didn't pass, in the summary; results.json has all."""


def round_of(done: BoardRun) -> dict[str, Any]:
    """Return what the soak's journal says of a round."""
    lines = done.run.observations("link")
    counts = Counter(outcome.verdict.value for outcome in done.run.all_outcomes())
    return {
        "verdict": done.verdict.value,
        "exit_code": done.exit_code,
        "why": done.why,
        "took_s": done.ended["took_s"] if done.ended else 0.0,
        "tests": dict(counts),
        "boots": sum(
            1
            for record in done.run.records
            if record["kind"] == "step" and record["what"] == "power on" and "took_s" in record
        ),
        "link": {name: sum(int(each.get(name, 0)) for each in lines) for name in _LINE},
    }


def rounds(run: Run) -> list[dict[str, Any]]:
    """Return the rounds that a soak's journal tells of, in order."""
    return [record for record in run.records if record["kind"] == "round"]


def exit_code(run: Run) -> int:
    """Return that of the whole: interrupted, else the worst; 125 for none, or a killed one."""
    if signal := (run.end or {}).get("signal"):
        accused = [each["exit_code"] for each in rounds(run) if each["exit_code"] == 1]
        return accused[0] if accused else EXIT_SIGINT if signal == "SIGINT" else EXIT_SIGTERM
    codes = [each["exit_code"] for each in rounds(run)]
    return worst_exit(codes) if codes and run.whole else worst_exit([*codes, EXIT_LAB])


def verdict(run: Run) -> Verdict:
    """Return the worst of the rounds'; at best UNFINISHED for none, or a killed soak."""
    found = [Verdict(each["verdict"]) for each in rounds(run)]
    return worst(found if found and run.whole else [*found, Verdict.UNFINISHED])


def results(run: Run) -> dict[str, Any]:
    """Return all of it as one JSON object."""
    out = {
        "schema": SCHEMA,
        "version": VERSION,
        "run": run.facts,
        "verdict": verdict(run).value,
        "exit_code": exit_code(run),
        "finished": run.end is not None,
        "end": run.end or {},
        "link": _link(run),
        "rounds": [
            {name: value for name, value in each.items() if name not in {"kind", "t"}}
            for each in rounds(run)
        ],
    }
    return scrubbed(out)


def summary(run: Run, *, colour: bool = False) -> str:
    """Return what a person reads at the end, in at most 80 columns."""
    found, done = verdict(run), rounds(run)
    counts = Counter(each["verdict"] for each in done)
    said = ", ".join(f"{counts[v.value]} {v.value}" for v in Verdict if counts[v.value])
    minutes = run.records[-1]["t"] / 60 if run.records else 0.0
    tests = sum(sum(each["tests"].values()) for each in done)
    lines = [
        f"{paint(f'{found.name:<5}', found, colour)} {run.facts.get('soak', '')}, "
        f"{len(done)} round{'s' if len(done) != 1 else ''} in {minutes:.1f} min"
        + (f": {said}" if said else ""),
        f"      {tests} tests, {sum(each['boots'] for each in done)} starts from power",
        wrap(_said_of(_link(run)), "      "),
        *_bad(done, colour),
    ]
    if end := (run.end or {}).get("why") or (run.end or {}).get("signal"):
        lines += ["", wrap(f"It ended: {end}", "")]
    if run.end is None:
        lines += ["", "The soak did not end by itself: it was killed."]
    elif run.damaged:
        lines += ["", f"{run.damaged} lines of its journal are damaged or missing."]
    return "\n".join([*lines, "", f"Evidence: {run.run_dir}"]) + "\n"


def _link(run: Run) -> dict[str, int]:
    return {name: sum(each["link"].get(name, 0) for each in rounds(run)) for name in _LINE}


def _said_of(link: Mapping[str, int]) -> str:
    size = link["rx_bytes"] + link["tx_bytes"]
    rate = f", {link['damaged'] / (size / MIB):.2g} a MiB" if link["damaged"] else ""
    return (
        f"the payload's link: {size / MIB:.2f} MiB, {link['damaged']} damaged frames{rate}, "
        f"{link['naks']} NAKs, {link['repeats']} requests sent again"
    )


def _bad(done: list[dict[str, Any]], colour: bool) -> Iterator[str]:
    bad = [each for each in done if each["verdict"] != Verdict.PASS.value]
    if bad:
        yield ""
    for each in bad[-_MOST:]:
        found = Verdict(each["verdict"])
        yield f"{paint(found.name, found, colour)}  round {each['name']}, {each['took_s']:.1f} s"
        if each["why"]:
            yield wrap(each["why"], "  ")
    if len(bad) > _MOST:
        yield f"and {len(bad) - _MOST} more before them, see results.json"
