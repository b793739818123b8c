# SPDX-License-Identifier: Apache-2.0
"""The plugin tells pytest what the closed table says, whatever the phase."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilagent import journal
from hilagent.plugin import runs
from hilagent.result import RENDERINGS, Verdict
from tests.session import fakes

pytest_plugins = ["pytester"]
Bed = Callable[..., pytest.RunResult]


@pytest.fixture
def bench() -> fakes.FakeBench:
    return fakes.FakeBench()


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, bench: fakes.FakeBench) -> Bed:
    """Return what runs a test file with the plugin on a bench without a board."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(runs, "look_up", lambda request: fakes.settings())
    monkeypatch.setattr(runs, "open_session", lambda chosen, log: fakes.opened(bench, chosen, log))

    def go(source: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        out = ("-p", "hilagent.plugin", "--hilagent-run-dir", "run", "-rA", *args)
        return pytester.runpytest_inprocess(*out, no_reraise_ctrlc=True)

    return go


def ended(pytester: pytest.Pytester) -> journal.Run:
    return journal.read(pytester.path / "run")


def junit(pytester: pytest.Pytester, name: str = "run/junit.xml") -> ET.Element:
    return ET.parse(pytester.path / name).getroot()


RAISES = {
    Verdict.FAIL: "errors.TargetError('x')",
    Verdict.CRASH: "errors.TargetCrash('x')",
    Verdict.UNSUPPORTED: "errors.Unsupported('x')",
    Verdict.INFRA: "errors.LinkError('x')",
    Verdict.PRECONDITION: "errors.PreconditionError('x')",
    Verdict.BUG: "KeyError('x')",
}
PHASES = {
    "setup": "@pytest.fixture\ndef it(hilagent_session): raise {}\ndef test_a(it): pass",
    "call": "def test_a(hilagent_session): raise {}",
    "teardown": "@pytest.fixture\ndef it(hilagent_session):\n yield\n raise {}\n"
    "def test_a(it): pass",
}


@pytest.mark.parametrize("verdict", RAISES, ids=lambda v: v.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_verdict_is_the_same_in_every_phase(
    run: Bed, pytester: pytest.Pytester, verdict: Verdict, phase: str
) -> None:
    head = "import pytest\nfrom hilagent import errors\n"
    result = run(head + PHASES[phase].format(RAISES[verdict]), "--junitxml=own.xml")
    rendering = RENDERINGS[verdict]
    counts = result.parseoutcomes()
    category = {"error": "errors"}.get(rendering.pytest, rendering.pytest)
    assert counts.get(category) == 1
    assert result.ret == (0 if verdict is Verdict.UNSUPPORTED else 1)
    (outcome,) = ended(pytester).outcomes.values()
    assert outcome.verdict is verdict
    assert ended(pytester).exit_code in {rendering.exit_code, 125}
    for name in ("run/junit.xml", "own.xml"):
        (case,) = junit(pytester, name).iter("testcase")
        shown = [child.tag for child in case if child.tag not in {"properties", "system-out"}]
        assert shown == [rendering.junit], name


def test_a_crash_seen_in_a_fixture_is_a_failure_and_accuses(
    run: Bed, pytester: pytest.Pytester
) -> None:
    result = run("""
        import pytest
        from hilagent import errors

        @pytest.fixture
        def booted(hilagent_uboot):
            raise errors.TargetCrash("it oopsed")

        def test_it(booted): pass
    """)
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    assert ended(pytester).exit_code == 1


def test_a_lost_link_in_a_test_is_an_error_and_accuses_nobody(
    run: Bed, pytester: pytest.Pytester
) -> None:
    result = run("""
        from hilagent import errors
        def test_it(hilagent_session): raise errors.LinkError("cable")
    """)
    result.assert_outcomes(errors=1)
    assert ended(pytester).exit_code == 125


def test_unsupported_is_a_skip_with_its_reason(run: Bed, pytester: pytest.Pytester) -> None:
    result = run("""
        import pytest
        @pytest.mark.hilagent_needs(cpus=64)
        def test_big(hilagent_session): pass
        def test_small(hilagent_session): pass
    """)
    result.assert_outcomes(skipped=1, passed=1)
    outcome = next(iter(ended(pytester).outcomes.values()))
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert "needs cpus=64, qemu-virt declares 4" in outcome.message


def test_a_need_that_nobody_knows_is_a_usage_error(run: Bed) -> None:
    result = run("""
        import pytest
        @pytest.mark.hilagent_needs(colour="red")
        def test_big(hilagent_session): pass
    """)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*hilagent_needs(colour=...)*"])


def test_what_failed_is_measured_again_after_a_fresh_boot_and_both_are_shown(
    run: Bed, pytester: pytest.Pytester, bench: fakes.FakeBench
) -> None:
    result = run("""
        def test_twice(hilagent_payload): assert hilagent_payload.boot == 0
        def test_once(hilagent_payload): assert hilagent_payload.boot != 2
    """)
    result.assert_outcomes(failed=2)
    twice, once = ended(pytester).outcomes.values()
    assert (twice.times, once.times) == ("2 of 2", "1 of 2")
    assert once.verdict is Verdict.FAIL
    assert bench.boot == 3
    result.stdout.fnmatch_lines(["*Measured again after a fresh boot: 2 of 2.*"])
    result.stdout.fnmatch_lines(["*Measured again after a fresh boot: 1 of 2.*"])


def test_a_hang_that_does_not_come_again_is_the_labs(run: Bed, pytester: pytest.Pytester) -> None:
    result = run("""
        from hilagent import errors
        def test_once(hilagent_payload):
            if hilagent_payload.boot == 1: raise errors.TargetHang("no progress")
    """)
    result.assert_outcomes(errors=1)
    (outcome,) = ended(pytester).outcomes.values()
    assert outcome.verdict is Verdict.INFRA
    assert "hung once, and not again" in outcome.message


def test_a_hang_that_comes_again_accuses(run: Bed, pytester: pytest.Pytester) -> None:
    result = run("""
        from hilagent import errors
        def test_hangs(hilagent_payload): raise errors.TargetHang("no progress")
    """)
    result.assert_outcomes(failed=1)
    (outcome,) = ended(pytester).outcomes.values()
    assert (outcome.verdict, outcome.times) == (Verdict.HANG, "2 of 2")


def test_after_a_lost_link_the_next_test_begins_at_power(
    run: Bed, pytester: pytest.Pytester, bench: fakes.FakeBench
) -> None:
    result = run("""
        from hilagent import errors
        def test_a(hilagent_payload): raise errors.LinkError("cut")
        def test_b(hilagent_payload): assert hilagent_payload.boot == 2
    """)
    result.assert_outcomes(errors=1, passed=1)


def test_a_second_measurement_that_crashes_is_not_left_running(
    run: Bed, pytester: pytest.Pytester, bench: fakes.FakeBench
) -> None:
    run("""
        from hilagent import errors
        def test_a(hilagent_payload):
            if hilagent_payload.boot == 2: raise errors.TargetCrash("oops")
            assert False
        def test_b(hilagent_payload): assert hilagent_payload.boot == 3
    """)
    assert [o.verdict for o in ended(pytester).outcomes.values()] == [Verdict.FAIL, Verdict.PASS]


def test_a_run_directory_is_never_overwritten(run: Bed, pytester: pytest.Pytester) -> None:
    run("def test_a(hilagent_board): pass")
    result = run("def test_a(hilagent_board): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*already holds a run*"])


def test_an_xfail_hides_an_accusation_but_no_lost_link(run: Bed, pytester: pytest.Pytester) -> None:
    result = run("""
        import pytest
        from hilagent import errors
        @pytest.mark.xfail
        def test_known(hilagent_session): assert False
        @pytest.mark.xfail
        def test_lab(hilagent_session): raise errors.LinkError("x")
        @pytest.mark.xfail(strict=True)
        def test_better(hilagent_session): pass
    """)
    result.assert_outcomes(xfailed=1, errors=1, failed=1)
    verdicts = [o.verdict for o in ended(pytester).outcomes.values()]
    assert verdicts == [Verdict.UNSUPPORTED, Verdict.INFRA, Verdict.FAIL]


def test_the_plan_stands_before_the_first_outcome(run: Bed, pytester: pytest.Pytester) -> None:
    run("def test_a(hilagent_board): pass\ndef test_b(hilagent_board): pass")
    kinds = [r["kind"] for r in ended(pytester).records]
    assert kinds[:2] == ["run", "plan"]
    assert kinds.index("outcome") > kinds.index("plan")
    assert len(ended(pytester).plan or []) == 2


def test_tests_that_are_not_ours_are_left_alone(run: Bed, pytester: pytest.Pytester) -> None:
    result = run("def test_a(): raise KeyError('x')\ndef test_b(): pass")
    result.assert_outcomes(failed=1, passed=1)
    assert not (pytester.path / "run").exists()


def test_the_order_is_by_state_so_that_power_is_cycled_least(
    run: Bed, pytester: pytest.Pytester, bench: fakes.FakeBench
) -> None:
    run("""
        def test_a(hilagent_payload): pass
        def test_b(hilagent_uboot): pass
        def test_c(hilagent_payload): pass
        def test_d(hilagent_uboot): pass
        def test_e(hilagent_board): pass
    """)
    assert [test[-1] for test in ended(pytester).plan or []] == list("ebdac")
    assert bench.boot == 1


def test_the_board_is_off_at_the_end_whatever_happens(run: Bed, bench: fakes.FakeBench) -> None:
    run("def test_a(hilagent_uboot): raise KeyboardInterrupt")
    assert bench.did[-1] == "off"


def test_an_interrupted_run_says_so_and_counts_nothing_unfinished_as_passed(
    run: Bed, pytester: pytest.Pytester
) -> None:
    run("def test_a(hilagent_uboot): raise KeyboardInterrupt\ndef test_b(hilagent_uboot): pass")
    done = ended(pytester)
    assert done.exit_code == 130
    assert [o.verdict for o in done.all_outcomes()] == [Verdict.UNFINISHED] * 2


def test_a_stale_handle_is_a_mistake_of_the_test_and_accuses_nobody(
    run: Bed, pytester: pytest.Pytester
) -> None:
    run("""
        def test_a(hilagent_session, hilagent_payload):
            hilagent_session.taint("left")
            hilagent_payload.echo(b"x")
    """)
    (outcome,) = ended(pytester).outcomes.values()
    assert outcome.verdict is Verdict.BUG
    assert "was left" in outcome.message


def test_junit_names_board_run_and_whether_it_is_emulated(
    run: Bed, pytester: pytest.Pytester
) -> None:
    run("def test_a(hilagent_board): pass", "--junitxml=own.xml", "-o", "junit_family=xunit1")
    own = {p.get("name"): p.get("value") for p in junit(pytester, "own.xml").iter("property")}
    assert own["hilagent_board"] == "qemu-virt"
    assert own["hilagent_emulated"] == "True"
    ours = {p.get("name"): p.get("value") for p in junit(pytester).iter("property")}
    assert ours["board"] == "qemu-virt"
    assert ours["emulated"] == "true"
    assert ours["id"] == "run"


def test_results_json_has_a_version_and_every_test(run: Bed, pytester: pytest.Pytester) -> None:
    run("def test_a(hilagent_board): pass")
    data = json.loads((pytester.path / "run/results.json").read_text())
    assert (data["schema"], data["version"]) == ("hilagent-results", 1)
    assert [t["verdict"] for t in data["tests"]] == ["pass"]
    assert data["exit_code"] == 0


def test_every_name_of_ours_has_the_prefix(pytester: pytest.Pytester, run: Bed) -> None:
    import hilagent.plugin as plugin

    fixtures = [
        name
        for name, value in vars(plugin).items()
        if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert len(fixtures) >= 6
    assert all(name.startswith("hilagent_") for name in fixtures)
    helped = run("def test_a(): pass", "--help").stdout.str()
    section = helped.partition("hilagent: a board under test")[2].partition("\n\n")[0]
    assert len(re.findall(r"^  --", section, re.M)) == 8
    assert all(o.startswith("--hilagent-") for o in re.findall(r"^  (--\S+)", section, re.M))


def test_it_lives_beside_a_plugin_with_labgrids_fixture_names(run: Bed, tmp_path: Path) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def env(): return "env"
        @pytest.fixture(scope="session")
        def target(env): return env + "target"
        @pytest.fixture(scope="session")
        def strategy(target): return target
        def test_a(strategy, hilagent_board): assert hilagent_board.name == "qemu-virt"
        """
    )
    result.assert_outcomes(passed=1)


def test_a_board_output_in_a_message_can_not_drive_the_terminal(
    run: Bed, pytester: pytest.Pytester
) -> None:
    result = run(r"""
        from hilagent import errors
        def test_a(hilagent_session): raise errors.LinkError("\x1b[2Jlost\x07 <b>")
    """)
    assert "\x1b[2J" not in result.stdout.str()
    (error,) = junit(pytester).iter("error")
    assert "lost" in str(error.get("message"))


def test_options_are_handed_on(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look_up(request: Any) -> Any:
        seen.append(request)
        return fakes.settings()

    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(runs, "look_up", look_up)
    pytester.makepyfile("def test_a(hilagent_board): pass")
    pytester.runpytest_inprocess(
        *("-p", "hilagent.plugin", "--hilagent-board", "rpi4", "--hilagent-option", "cpu=max"),
        *("--hilagent-vectors", "mutant:x19", "--hilagent-abi", "iss-6.12"),
        *("--hilagent-transfer", "ymodem", "--hilagent-run-dir", "r"),
    )
    (request,) = seen
    assert (request.board, request.options) == ("rpi4", {"cpu": "max"})
    assert (request.vectors, request.abi, request.transfer) == (
        ("mutant:x19",), "iss-6.12", "ymodem",
    )  # fmt: skip
