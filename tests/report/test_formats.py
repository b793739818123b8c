# SPDX-License-Identifier: Apache-2.0
"""Each machine format before its consumer's own parser or validator."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import junitparser
import kcidb_io
import pytest

from hilagent import cli, journal, report
from hilagent.build import source
from hilagent.report import many, soak
from hilagent.report.junit import junit
from hilagent.report.kcidb import kcidb
from hilagent.report.ktap import ktap
from hilagent.report.markdown import markdown
from hilagent.report.results import results, schema
from hilagent.result import RENDERINGS, Outcome, Verdict
from tests.report import made
from tests.report.test_hostile import BAD, hostile
from tests.report.test_many import child, parent
from tests.report.test_soak import soaked


@pytest.fixture
def run(tmp_path: Path) -> journal.Run:
    return made.run(tmp_path / "run", *made.all_classes(), more=made.observed, plan=["live[x]"])


def validator() -> jsonschema.Draft202012Validator:
    found = json.loads(schema())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_results_are_what_their_schema_says(run: journal.Run) -> None:
    validator().validate(results(run))
    (incident,) = results(run)["incidents"]
    assert (incident["type"], incident["fatal"], incident["start"]) == ("panic", True, 0)


@pytest.mark.parametrize("missing", ["verdict", "tests", "counts"])
def test_the_schema_misses_what_is_missing(run: journal.Run, missing: str) -> None:
    bad = results(run)
    del bad[missing]
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(bad)
    (said, *_) = jsonschema.Draft202012Validator(
        {**json.loads(schema()), "oneOf": [{"$ref": "#/$defs/run"}]}
    ).iter_errors(bad)
    assert missing in said.context[0].message


def test_results_of_many_and_of_a_soak_are_what_the_schema_says(tmp_path: Path) -> None:
    child(tmp_path / "all/a", Verdict.PASS)
    parent(tmp_path / "all", "ab", {}, a=0, b=125)
    validator().validate(many.results(many.read(tmp_path / "all")))
    (tmp_path / "soak").mkdir()
    validator().validate(soak.results(soaked(tmp_path / "soak", "pass", "fail", end={"why": "x"})))


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--schema"]) == 0
    assert capsys.readouterr().out == schema()


def test_an_action_of_github_counts_in_junit_what_the_table_says(run: journal.Run) -> None:
    parsed = junitparser.JUnitXml.fromstring(junit(run).encode())
    (suite,) = parsed
    kinds = {"failure": junitparser.Failure, "error": junitparser.Error,
             "skipped": junitparser.Skipped}  # fmt: skip
    wanted = {o.test: RENDERINGS[o.verdict].junit for o in run.all_outcomes()}
    found = {case.name: case.result for case in suite}
    assert set(found) == set(wanted)
    for name, kind in wanted.items():
        assert [type(each) for each in found[name]] == ([kinds[kind]] if kind else [])
    assert (suite.failures, suite.errors, suite.skipped) == (4, 5, 1)


def test_kcidb_takes_it(run: journal.Run, tmp_path: Path) -> None:
    other = made.run(tmp_path / "other", Outcome("a.py::b", Verdict.PASS))
    data = kcidb([run, other], "lab")
    assert kcidb_io.schema.V5_3.is_valid_exactly(data)
    statuses = {test["misc"]["name"]: test["status"] for test in data["tests"]}
    assert statuses["live[x]"] == "MISS"
    assert statuses["dispatch[hyp-stub-hang]"] == "FAIL"
    assert statuses["dispatch[hyp-stub-infra]"] == "ERROR"
    assert len({test["id"] for test in data["tests"]}) == len(run.all_outcomes()) + 1
    assert data["tests"][0]["environment"]["compatible"] == ["linux,dummy-virt"]


def test_kcidb_refuses_what_is_wrong(run: journal.Run) -> None:
    data = kcidb([run])
    data["tests"][0]["status"] = "MAYBE"
    assert not kcidb_io.schema.V5_3.is_valid_exactly(data)


@pytest.mark.parametrize("bad", range(len(BAD)))
def test_hostile_content_is_valid_everywhere(tmp_path: Path, bad: int) -> None:
    made_of = hostile(tmp_path / "run", BAD[bad])
    assert kcidb_io.schema.V5_3.is_valid_exactly(kcidb([made_of]))
    assert len(list(next(iter(junitparser.JUnitXml.fromstring(junit(made_of).encode()))))) == 3
    assert results(made_of)["counts"]["fail"] == 1


@pytest.fixture(scope="module")
def kunit() -> Path:
    """The kernel's own parser, in Debian's source."""
    return source.unpacked(source.package()).folder / "tools/testing/kunit/kunit.py"


def parsed(kunit: Path, text: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-B", str(kunit), "parse"], input=text, capture_output=True, text=True,
        check=False, cwd=kunit.parents[3],
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_kernels_parser_takes_the_ktap_and_counts_the_same(
    kunit: Path, run: journal.Run
) -> None:
    code, said = parsed(kunit, ktap([run]))
    assert code == 1
    assert "[ERROR]" not in said.replace("[ERROR] Test: ", "")
    passed = sum(o.verdict is Verdict.PASS for o in run.all_outcomes())
    total = len(run.all_outcomes())
    assert f"Ran {total} tests: passed: {passed}, failed: {total - passed - 1}, skipped: 1" in said


def test_the_kernels_parser_sees_a_pass(kunit: Path, tmp_path: Path) -> None:
    good = made.run(tmp_path / "run", Outcome("dispatch[a]", Verdict.PASS))
    code, said = parsed(kunit, ktap([good]))
    assert (code, "passed: 1" in said) == (0, True), said


def test_the_kernels_parser_sees_a_run_that_finished_nothing(kunit: Path, tmp_path: Path) -> None:
    code, said = parsed(kunit, ktap([made.run(tmp_path / "run", ends=False)]))
    assert (code, "failed: 1" in said) == (1, True), said


def test_reports_are_made_again_alike(run: journal.Run, capsys: pytest.CaptureFixture[str]) -> None:
    report.write(run.run_dir)
    names = ("results.json", "junit.xml", "report.html")
    before = {name: (run.run_dir / name).read_text() for name in names}
    assert cli.main(["report", str(run.run_dir)]) == 0
    for name, text in before.items():
        assert (run.run_dir / name).read_text() == text
    for form, name in (("junit", "junit.xml"), ("html", "report.html"), ("json", "results.json")):
        capsys.readouterr()
        assert cli.main(["report", str(run.run_dir), "--format", form]) == 0
        assert capsys.readouterr().out == before[name]


def test_a_run_is_found_by_its_id_and_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HILAGENT_RUNS", str(tmp_path))
    for name in ("20260101-a", "20260102-a"):
        made.run(tmp_path / name, Outcome("a", Verdict.PASS))
    for word in ("20260101-a", "20260101", str(tmp_path / "20260102-a")):
        assert cli.main(["report", word, "--format", "markdown"]) == 0
    assert cli.main(["report", "2026", "--format", "ktap"]) == 2
    assert "2 runs begin so" in capsys.readouterr().err
    assert cli.main(["report", "nothing"]) == 2
    assert "is no run" in capsys.readouterr().err
    assert cli.main(["report", "../20260101-a"]) == 2


def test_several_runs_go_into_one_document_but_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        made.run(tmp_path / name, Outcome("dispatch[x]", Verdict.PASS), board=name)
    both = [str(tmp_path / name) for name in "ab"]
    assert cli.main(["report", *both, "--format", "html"]) == 2
    capsys.readouterr()
    for form, wanted in (("junit", "<testsuite "), ("ktap", "# Subtest: hilagent-"),
                         ("kcidb", '"build_id"'), ("markdown", "## "), ("text", "PASS  "),
                         ("json", '"hilagent-results"')):  # fmt: skip
        assert cli.main(["report", *both, "--format", form]) == 0
        assert capsys.readouterr().out.count(wanted) == 2, form


def test_many_boards_are_reported_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, verdict in (("a", Verdict.PASS), ("b", Verdict.FAIL)):
        child(tmp_path / "all" / name, verdict)
    parent(tmp_path / "all", "ab", {}, a=0, b=1)
    for form, wanted in (("junit", "<testsuite "), ("ktap", "# Subtest: hilagent-"),
                         ("markdown", "## "), ("kcidb", '"build_id"')):  # fmt: skip
        assert cli.main(["report", str(tmp_path / "all"), "--format", form]) == 0
        assert capsys.readouterr().out.count(wanted) == 2, form
    many.write(tmp_path / "all")
    before = (tmp_path / "all/report.html").read_text()
    assert cli.main(["report", str(tmp_path / "all"), "--format", "html"]) == 0
    assert capsys.readouterr().out == before


def test_the_step_summary_says_it_at_once(run: journal.Run) -> None:
    text = markdown([run])
    assert text.splitlines()[0].endswith("CRASH: qemu&#45;virt (emulated)")
    assert "| dispatch | 1 | 1 |" in text
    assert "<pre>hilagent run qemu&#45;virt</pre>" in text


def test_a_defect_in_the_page_costs_no_verdict(
    run: journal.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilagent.report.html.html", lambda run: 1 / 0)
    report.write(run.run_dir)
    assert json.loads((run.run_dir / "results.json").read_text())["exit_code"] == 1
    assert "ZeroDivisionError" in (run.run_dir / "report.html").read_text()


def test_junit_names_its_files_as_gitlab_wants_them(
    run: journal.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.write(run.run_dir)
    assert f"[[ATTACHMENT|{run.run_dir}/report.html]]" in junit(run)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_PROJECT_DIR", str(run.run_dir.parent))
    assert "[[ATTACHMENT|run/report.html]]" in junit(run)
    assert "[[ATTACHMENT|run/console.raw]]" in junit(run)
