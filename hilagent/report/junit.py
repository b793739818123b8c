# SPDX-License-Identifier: Apache-2.0
"""JUnit XML, family xunit1: what GitLab, Jenkins and GitHub's actions read.

One ``<testcase>`` a test, with at most one element for its verdict in it, chosen by the
closed table in ``result``; a bad one names its files in ``<system-out>``. GitLab groups
by ``classname``, drops repeated names and ignores properties; all of them read the text.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from hilagent.journal import Run
from hilagent.report.results import REPORTS, outcomes
from hilagent.result import RENDERINGS, Outcome, Verdict
from hilagent.text import scrub, scrub_line

PROPERTIES = (
    "id", "replay_of", "board", "description", "emulated", "soc", "cpu_model", "cpu", "cpus",
    "abi", "vectors", "transfer", "payload_build_id", "kernel_build_id", "uboot", "hilagent",
    "host", "utc",
)  # fmt: skip
MAX_TEXT = 20_000
ATTACHED = ("report.html", "console.raw")
_ATTACHMENT = "[[ATTACHMENT|"
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
    found = [*run.all_outcomes(), *more] if more else outcomes(run)
    kinds = [RENDERINGS[outcome.verdict].junit for outcome in found]
    element = ET.Element(
        "testsuite",
        name=_clean(f"hilagent {run.facts.get('board', '')}".strip()),
        tests=str(len(found)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time=f"{sum(outcome.duration_s for outcome in found):.3f}",
        timestamp=_clean(str(run.facts.get("utc", ""))),
        hostname=_clean(str(run.facts.get("host", ""))),
    )
    properties = ET.SubElement(element, "properties")
    for name in PROPERTIES:
        if name in run.facts:
            ET.SubElement(properties, "property", name=name, value=_value(run.facts[name]))
    files = _attached(run)
    for outcome in found:
        element.append(_testcase(outcome, group, files))
    return element


def split(test: str) -> tuple[str, str]:
    """Return (classname, name) of a test id, which together are unique."""
    if "::" in test:
        place, _, name = test.rpartition("::")
        return place.replace(".py", "").replace("/", ".").replace("::", "."), name
    return "hilagent." + test.partition("[")[0], test


def _attached(run: Run) -> str:
    """Return the lines by which GitLab and Jenkins find a test's files.

    GitLab wants a path below the project, Jenkins an absolute one.
    """
    project = os.environ.get("CI_PROJECT_DIR") if os.environ.get("GITLAB_CI") else None
    lines = []
    for name in ATTACHED:
        path = (run.run_dir / name).absolute()
        if path.exists() or name in REPORTS:
            if project and path.is_relative_to(project):
                path = path.relative_to(project)
            lines.append(f"{_ATTACHMENT}{_NOT_XML.sub('', str(path))}]]")
    return "\n".join(lines)


def _testcase(outcome: Outcome, group: str, files: str) -> ET.Element:
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
        found.text = _text(scrub(outcome.details, limit=MAX_TEXT))
        if outcome.verdict is not Verdict.UNSUPPORTED:
            ET.SubElement(case, "system-out").text = files
    return case


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _clean(", ".join(str(item) for item in value))
    return _clean(str(value))


def _clean(text: str) -> str:
    return _text(scrub_line(text, limit=1000))


def _text(text: str) -> str:
    """Return what XML can hold; what would make a reader attach a file does not."""
    return _NOT_XML.sub("�", text).replace(_ATTACHMENT, "[ [ATTACHMENT|")
