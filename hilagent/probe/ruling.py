# SPDX-License-Identifier: Apache-2.0
"""Rules as a table: an id, a sentence, where it stands, and a judge that never raises."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hilagent.result import Finding

T = TypeVar("T")


class State(enum.Enum):
    """What became of one rule at one handover."""

    HELD = "held"
    BROKEN = "broken"
    PRECONDITION = "precondition"  # broken, and nobody promised it here
    NOTE = "note"  # unusual, and no document forbids it here
    NOT_OBSERVABLE = "not observable"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Breach:
    """One breach of a rule, perhaps on several CPUs."""

    what: str
    expected: str
    found: str
    cpus: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Answer:
    """What a rule's judge says."""

    state: State
    reason: str = ""
    breaches: tuple[Breach, ...] = ()


@dataclass(frozen=True)
class Rule(Generic[T]):
    """One requirement. ``source``: the document and section that it stands in."""

    id: str
    text: str
    source: str
    judge: Callable[[T], Answer]


@dataclass(frozen=True)
class Ruling(Generic[T]):
    """One rule of one handover. ``findings`` are there if and only if it is broken."""

    rule: Rule[T]
    state: State
    findings: tuple[Finding, ...] = ()
    reason: str = ""


HELD = Answer(State.HELD)


def broken(what: str, expected: str, found: str, cpus: tuple[int, ...] = (0,)) -> Answer:
    """Return the answer of a single breach."""
    return Answer(State.BROKEN, breaches=(Breach(what, expected, found, cpus),))


def unseen(reason: str) -> Answer:
    """Return the answer that this can't be seen."""
    return Answer(State.NOT_OBSERVABLE, reason)


def judge(
    rules: Sequence[Rule[T]],
    subject: T,
    *,
    blame: Callable[[tuple[int, ...]], str],
    served: str,
) -> tuple[Ruling[T], ...]:
    """Return what became of each of ``rules``.

    Args:
        blame: whose name a breach on these CPUs bears (``Finding.hcall``).
        served: who served the restart, for the evidence; empty if nobody did.
    """

    def ruling(rule: Rule[T]) -> Ruling[T]:
        answer = rule.judge(subject)
        evidence = f"{f'served by {served}; ' if served else ''}{rule.source}"
        findings = tuple(
            Finding(
                rule.id, blame(each.cpus), each.what, each.expected, each.found, each.cpus,
                evidence=evidence,
            )
            for each in answer.breaches
        )  # fmt: skip
        return Ruling(rule, answer.state, findings, answer.reason)

    return tuple(ruling(rule) for rule in rules)


def findings(rulings: Sequence[Ruling[T]]) -> tuple[Finding, ...]:
    """Return every finding, in the order of the rules."""
    return tuple(finding for each in rulings for finding in each.findings)
