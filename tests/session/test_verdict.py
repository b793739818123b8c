# SPDX-License-Identifier: Apache-2.0
"""Every exception has one verdict, every verdict one rendering: both tables whole."""

import errno
import inspect

import pytest

from hilagent import errors
from hilagent.result import RENDERINGS, SEVERITY, Verdict, exit_code, worst
from hilagent.session.verdict import VERDICTS, Accusation, Unfinished, message_of, verdict_of

RAISED = [
    (errors.UsageError("x"), Verdict.BUG),
    (errors.InputError("f", "x"), Verdict.BUG),
    (errors.StateError("x"), Verdict.BUG),
    (errors.WorldError("x"), Verdict.INFRA),
    (errors.LabError("x"), Verdict.INFRA),
    (errors.LinkError("x"), Verdict.INFRA),
    (errors.LinkStuck("x"), Verdict.INFRA),
    (errors.BoardReset("x"), Verdict.INFRA),
    (errors.PowerLied("x"), Verdict.INFRA),
    (errors.HostError("x"), Verdict.INFRA),
    (errors.HostOverloaded("x"), Verdict.INFRA),
    (errors.PreconditionError("x"), Verdict.PRECONDITION),
    (errors.TargetError("x"), Verdict.FAIL),
    (errors.TargetCrash("x"), Verdict.CRASH),
    (errors.TargetHang("x"), Verdict.HANG),
    (errors.NotBuilt("x"), Verdict.FAIL),
    (errors.Unsupported("x"), Verdict.UNSUPPORTED),
    (errors.AgentBug("x"), Verdict.BUG),
    (errors.HilagentError("x"), Verdict.BUG),
    (Accusation("x", ()), Verdict.FAIL),
    (Unfinished("x"), Verdict.UNFINISHED),
    (AssertionError("x"), Verdict.FAIL),
    (pytest.fail.Exception("x"), Verdict.FAIL),
    (pytest.skip.Exception("x"), Verdict.UNSUPPORTED),
    (pytest.exit.Exception("x"), Verdict.UNFINISHED),
    (KeyboardInterrupt(), Verdict.UNFINISHED),
    (SystemExit(0), Verdict.UNFINISHED),
    (KeyError("x"), Verdict.BUG),
    (ZeroDivisionError(), Verdict.BUG),
    (OSError(errno.EIO, "x"), Verdict.BUG),
    (OSError(errno.ENOSPC, "x"), Verdict.INFRA),
    (OSError(errno.EDQUOT, "x"), Verdict.INFRA),
]


@pytest.mark.parametrize(("exc", "verdict"), RAISED, ids=lambda v: type(v).__name__)
def test_an_exception_stands_for_one_verdict(exc: BaseException, verdict: Verdict) -> None:
    assert verdict_of(exc) is verdict


def test_no_class_of_the_error_tree_is_left_out() -> None:
    tree = {cls for _, cls in inspect.getmembers(errors, inspect.isclass)}
    shown = {type(exc) for exc, _ in RAISED}
    assert {cls for cls in tree if issubclass(cls, errors.HilagentError)} <= shown
    assert set(VERDICTS) <= shown


def test_of_a_group_the_worst_counts() -> None:
    group = BaseExceptionGroup("teardown", [errors.LabError("a"), errors.TargetCrash("b")])
    assert verdict_of(group) is Verdict.CRASH
    assert verdict_of(ExceptionGroup("x", [errors.LabError("a"), ValueError()])) is Verdict.BUG


def test_the_table_is_closed_and_is_what_the_design_says() -> None:
    shown = {
        verdict: (r.pytest, r.letter, r.junit, r.ktap, r.kcidb, r.exit_code)
        for verdict, r in RENDERINGS.items()
    }
    error = "not ok # ERROR"
    assert shown == {
        Verdict.PASS: ("passed", ".", "", "ok", "PASS", 0),
        Verdict.FAIL: ("failed", "F", "failure", "not ok", "FAIL", 1),
        Verdict.CRASH: ("failed", "C", "failure", "not ok", "FAIL", 1),
        Verdict.HANG: ("failed", "H", "failure", "not ok # TIMEOUT", "FAIL", 1),
        Verdict.UNSUPPORTED: ("skipped", "s", "skipped", "ok # SKIP", "SKIP", 0),
        Verdict.INFRA: ("error", "I", "error", error, "ERROR", 125),
        Verdict.PRECONDITION: ("error", "P", "error", error, "ERROR", 125),
        Verdict.UNFINISHED: ("error", "U", "error", error, "MISS", 125),
        Verdict.BUG: ("error", "B", "error", error, "ERROR", 3),
    }
    assert set(RENDERINGS) == set(Verdict) == set(SEVERITY)


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"a": Verdict.PASS}, 0),
        ({"a": Verdict.PASS, "b": Verdict.UNSUPPORTED}, 0),
        ({"a": Verdict.UNSUPPORTED}, 125),
        ({}, 125),
        ({"a": Verdict.PASS, "b": Verdict.INFRA}, 125),
        ({"a": Verdict.PASS, "b": Verdict.PRECONDITION}, 125),
        ({"a": Verdict.PASS, "b": Verdict.UNFINISHED}, 125),
        ({"a": Verdict.BUG, "b": Verdict.INFRA}, 3),
        ({"a": Verdict.FAIL, "b": Verdict.BUG, "c": Verdict.INFRA}, 1),
        ({"a": Verdict.CRASH, "b": Verdict.BUG}, 1),
        ({"a": Verdict.HANG, "b": Verdict.PASS}, 1),
    ],
)
def test_the_first_that_applies_is_the_exit_code(ended: dict[str, Verdict], code: int) -> None:
    assert exit_code(list(ended), ended) == code


def test_what_was_planned_and_did_not_end_is_never_a_pass() -> None:
    assert exit_code(["a", "b"], {"a": Verdict.PASS}) == 125
    assert exit_code(["a"], {"a": Verdict.PASS, "unplanned": Verdict.FAIL}) == 1


def test_the_worst_of_nothing_is_unfinished() -> None:
    assert worst([]) is Verdict.UNFINISHED
    assert worst([Verdict.PASS, Verdict.INFRA, Verdict.FAIL]) is Verdict.FAIL


def test_a_message_is_one_line_and_says_what_to_do() -> None:
    assert message_of(errors.LabError("no link", hint="look")) == "no link (look)"
    assert message_of(KeyError("k")) == "KeyError: 'k'"
    assert message_of(AssertionError("a\nb")) == "a"
    assert message_of(AssertionError()) == "AssertionError"
