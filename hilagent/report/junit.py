# SPDX-License-Identifier: Apache-2.0
"""JUnit XML, family xunit1: what GitLab, Jenkins and GitHub's actions read.

One ``<testcase>`` a test, with at most one element in it, chosen by the closed
table in ``result``. GitLab groups by ``classname``, drops repeated names and
ignores properties; all of them read the text.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from hilagent.journal import Run
from hilagent.result import RENDERINGS, Outcome
from hilagent.text import scrub, scrub_line

PROPERTIES = (
    "id", "replay_of", "board", "description", "emulated", "soc", "cpu_model", "cpu", "cpus",
    "abi", "vectors", "transfer", "payload_build_id", "kernel_build_id", "uboot", "hilagent",
    "host", "utc",
)  # fmt: skip
MAX_TEXT = 20_000
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> str:
    """Return the run as JUnit XML."""
    return document([suite(run)])


def document(suites: Iterable[ET.Element]) -> str:
    """Return JUnit XML with ``suites`` in it."""
    root = ET.Element("testsuites", name="hilagent")
    root.extend(suites)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def suite(run: Run, more: Sequence[Outcome] = (), group: str = "") -> ET.Element:
    """Return the run as a ``<testsuite>``.

    Args:
        more: outcomes that its journal doesn't have.
        group: what the class names begin with, where several suites are in one file.
    """
    outcomes = [*run.all_outcomes(), *more]
    kinds = [RENDERINGS[outcome.verdict].junit for outcome in outcomes]
    element = ET.Element(
        "testsuite",
        name=_clean(f"hilagent {run.facts.get('board', '')}".strip()),
        tests=str(len(outcomes)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(outcome.duration_s for outcome in outcomes):.3f}",
        timestamp=_clean(str(run.facts.get("utc", ""))),
        hostname=_clean(str(run.facts.get("host", ""))),
    )
    properties = ET.SubElement(element, "properties")
    for name in PROPERTIES:
        if name in run.facts:
            ET.SubElement(properties, "property", name=name, value=_value(run.facts[name]))
    for outcome in outcomes:
        element.append(_testcase(outcome, group))
    return element


def split(test: str) -> tuple[str, str]:
    """Return (classname, name) of a test id, which together are unique."""
    if "::" in test:
        place, _, name = test.rpartition("::")
        return place.replace(".py", "").replace("/", ".").replace("::", "."), name
    return "hilagent." + test.partition("[")[0], test


def _testcase(outcome: Outcome, group: str) -> ET.Element:
    classname, name = split(outcome.test)
    classname = ".".join(filter(None, [group, classname]))
    case = ET.Element(
        "testcase",
        classname=_clean(classname),
        name=_clean(name),
        time=f"{outcome.duration_s:.3f}",
    )
    kind = RENDERINGS[outcome.verdict].junit
    if kind:
        times = f" ({outcome.times})" if outcome.times else ""
        message = f"{outcome.verdict.name}{times}: {outcome.message}"
        found = ET.SubElement(case, kind, type=outcome.verdict.value, message=_clean(message))
        found.text = _NOT_XML.sub("�", scrub(outcome.details, limit=MAX_TEXT))
    return case


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _clean(", ".join(str(item) for item in value))
    return _clean(str(value))


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", scrub_line(text, limit=1000))
