# SPDX-License-Identifier: Apache-2.0
"""The page of many boards: boards by suites, each leading to its own page."""

from __future__ import annotations

from collections import Counter

from hilagent.report.html import view
from hilagent.report.html.page import page
from hilagent.report.many import Many
from hilagent.result import SEVERITY, Verdict


def html(many: Many) -> str:
    """Return the page."""
    found = {board.name: dict(view.suites(board.run)) for board in many.boards}
    suites = list(dict.fromkeys(suite for each in found.values() for suite in each))
    rows = []
    for board in sorted(many.boards, key=lambda board: board.name):
        rows.append((board, [_cell(found[board.name].get(suite)) for suite in suites]))
    counts = Counter(board.verdict for board in many.boards)
    return page(
        "many.html",
        many=many,
        title=f"{len(many.boards)} boards: {many.verdict.name}",
        verdict=many.verdict,
        about=view.about(many.run),
        ends=view.ends(many.run),
        counts=[(each, counts[each]) for each in Verdict if counts[each]],
        suites=suites,
        rows=rows,
        order={each: number for number, each in enumerate(SEVERITY)},
        facts=view.facts(many.run),
    )


def _cell(
    found: Counter[Verdict] | None,
) -> tuple[Verdict | None, list[tuple[Verdict, int]]]:
    """Return the worst verdict and how often each was found, the worst first."""
    shown = [(each, found[each]) for each in SEVERITY if found and found[each]]
    return (shown[0][0] if shown else None), shown
