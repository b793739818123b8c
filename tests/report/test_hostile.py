# SPDX-License-Identifier: Apache-2.0
"""Whatever a board says or is called, no report does anything but show it."""

from __future__ import annotations

import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hilagent import journal, report
from hilagent.report.html import html
from hilagent.report.junit import junit
from hilagent.report.kcidb import kcidb
from hilagent.report.ktap import ktap
from hilagent.report.markdown import markdown
from hilagent.report.results import suite_of
from hilagent.result import Finding, Outcome, Verdict
from tests.report import made

BAD = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07\x1b]52;c;AAAA\x07",
    "\u202egnp.exe\u2066\u200b",
    "nul\x00byte\x9b2J",
    "{{ 7 * 7 }}{% raw %}",
    "]]><evil/>&bogus;",
    "| a | b |\n|---|---|\n# head\n[link](javascript:alert(1)) @everyone `x`",
    "[[ATTACHMENT|/etc/passwd]]",
    "name # SKIP not really",
    "ok 1 forged\nnot ok 2 forged",
    "\ud800 alone",
    "x" * (1 << 20),
)


def hostile(folder: Path, bad: str) -> journal.Run:
    finding = Finding("clobber", bad, bad, bad, bad, (0,), ((1, 1),), bad, evidence=bad)
    said = bad.encode("utf-8", "surrogatepass") + b"\xff\xfe\r\n"
    about = {"subject": bad, "server": bad, "origin": bad}

    def more(log: journal.Journal) -> None:
        log.observation("dispatch", **about, ranges=[[0, 0xFFFF, bad, bad, False]])
        rows = [{"hcall": bad, "cells": [bad] * len(made.REGISTERS)}]
        log.observation("clobber", **about, registers=made.REGISTERS, rows=rows)
        log.observation("leg", boot=bad, way=bad, receiver=bad, number=1, verdict=bad,
                        message=bad, notes=[bad], times={"ready_s": 1.0}, el=2, server=bad,
                        rules=[[bad, bad, bad]])  # fmt: skip
        log.observation("live", boot=bad, server=bad, refused=bad, cpus=[0], abi=bad,
                        evidence=[bad], left_out=[[bad, 0, bad]],
                        cells=[[bad, bad, bad, bad]])  # fmt: skip
        log.note(bad, blame="infra")

    return made.run(
        folder,
        Outcome(f"dispatch[{bad[:500]}]", Verdict.FAIL, bad, bad, (finding,)),
        Outcome(bad[:500], Verdict.UNSUPPORTED, bad, bad),
        Outcome(f"own.py::{bad[:500]}", Verdict.INFRA, bad, bad),
        said=((0.5, said * 3),),
        more=more,
        end={"lab": bad},
        board=bad[:500],
        vectors=[bad],
        description=bad,
        command=["hilagent", bad],
        kernels_vectors=[
            dict.fromkeys(("name", "server", "abi", "place"), bad)
            | {"evidence": [bad], "left_out": [bad], "notes": [bad]}
        ],
        other={f"kernel {bad[:200]}": {"release": bad}},
    )


@pytest.fixture(params=range(len(BAD)), ids=lambda n: f"bad{n}")
def run(request: pytest.FixtureRequest, tmp_path: Path) -> journal.Run:
    return hostile(tmp_path / "run", BAD[request.param])


def inert(text: str) -> None:
    """Assert that text has nothing which moves a terminal or turns what is read."""
    for char in set(text) - set("\n\t"):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}, repr(char)


class Tags(HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


def test_the_page_has_no_tag_and_no_attribute_but_its_own(run: journal.Run, tmp_path: Path) -> None:
    text = html(run)
    inert(text)
    good = Tags()
    good.feed(html(made.run(tmp_path / "good", *made.all_classes(), more=made.observed)))
    found = Tags()
    found.feed(text)
    assert found.tags <= good.tags
    assert {name for name, _ in found.attributes} <= {name for name, _ in good.attributes}
    assert not [v for n, v in found.attributes if n == "href" and v.lower().startswith("java")]
    assert text.count("<script") == 1
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|>49<", text)


def test_the_files_of_the_run_are_whole(run: journal.Run) -> None:
    report.write(run.run_dir)
    assert "No page" not in (run.run_dir / "report.html").read_text()
    suite = ET.parse(run.run_dir / "junit.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 3
    assert json.loads((run.run_dir / "results.json").read_text())["counts"]["fail"] == 1


def test_junit_attaches_nothing_but_the_runs_own_files(run: journal.Run) -> None:
    found = re.findall(r"\[\[ATTACHMENT\|(.*?)\]\]", junit(run))
    assert found
    assert {Path(each).parent for each in found} == {run.run_dir}


def test_terminal_and_ktap_are_inert_and_forge_nothing(run: journal.Run) -> None:
    text = report.summary(run)
    inert(text)
    assert all(len(line) <= 80 for line in text.splitlines()), max(text.splitlines(), key=len)
    tap = ktap([run])
    inert(tap)
    results = [line.split(" # ")[0] for line in tap.splitlines() if re.match(r" *(not )?ok ", line)]
    suites = {suite_of(outcome.test) for outcome in run.all_outcomes()}
    assert len(results) == 3 + len(suites) + 1  # tests, suites, the run
    assert sum(line.startswith("    ok") for line in results) == 1  # what was skipped
    directives = re.findall(r" # (\w+)", "\n".join(x for x in tap.splitlines() if "ok " in x[:12]))
    assert sorted(directives) == ["ERROR", "SKIP"]


def test_markdown_shows_it_as_it_is(run: journal.Run) -> None:
    text = markdown([run])
    inert(text)
    for line in text.splitlines():
        kept = re.sub(r"&#\d+;", "", line.replace("<pre>", "").replace("</pre>", ""))
        assert "<" not in kept
        assert "](" not in kept
        assert "`" not in kept
        assert "@" not in kept
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert len(heads) == 1


def test_kcidb_has_text_alone(run: journal.Run) -> None:
    for test in kcidb([run])["tests"]:
        inert(json.dumps(test, ensure_ascii=False))
        assert re.fullmatch(r"[\w-]+(\.[\w-]+)*", test["path"], re.ASCII)
