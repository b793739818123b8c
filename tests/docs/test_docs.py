# SPDX-License-Identifier: Apache-2.0
"""Each command of the pages is executed, and what they say is shown is what it shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hilagent.link import wire
from hilagent.link.frame import Packet, encode
from tests import tree
from tests.docs import pages, picture
from tests.docs.lab import ELSEWHERE, LONG, QUICK, Lab

IN_CI = ("--vectors reference-kvm -o smp=1",)
"""Of the commands whose output is shown, those that take seconds."""


def test_each_command_is_executed_by_some_test() -> None:
    known = [*QUICK, *LONG, *ELSEWHERE]
    assert len(known) == len(set(known))
    found = {command for _, command in pages.commands()}
    assert found - set(known) == set(), "a command that nobody executes"
    assert set(known) - found == set(), "a command that no page has"


def test_the_tests_that_execute_the_others_exist() -> None:
    for where in set(ELSEWHERE.values()):
        path, _, name = where.partition("::")
        assert (tree.TOP / path).exists(), where
        assert f"def {name}(" in (tree.TOP / path).read_text() if name else True, where


def test_each_block_of_output_says_what_shows_it() -> None:
    assert pages.unexplained() == []
    assert list(pages.shown())


def test_the_picture_is_one_and_nothing_else() -> None:
    text = (tree.TOP / "tests/docs/report.svg").read_text()
    said = picture.words(text)
    assert {"FAIL", "What went wrong", "HVC_GET_VECTORS", "X"} <= set(said)
    assert any(picture.SHOWS.split()[-1] in each for each in said)
    tags = {each.tag.rpartition("}")[2] for each in ElementTree.fromstring(text).iter()}
    assert tags == {"svg", "rect", "text"}
    assert "(tests/docs/report.svg)" in pages.text("README.md")


def test_the_packet_that_is_shown_is_one() -> None:
    echo = Packet(wire.Kind.REQUEST, wire.Op.ECHO, seq=7, run_id=0x1234, body=b"hi")
    page = pages.text("CONTRIBUTING.md")
    assert f"raw       {encode(echo).hex(' ')}\n" in page
    armoured = encode(dataclasses.replace(echo, armoured=True))
    assert f"armoured  {armoured.decode().strip()}\n" in page
    assert f"at most {wire.MAX_BODY:,} bytes" in page
    assert f"The head is {wire.HEAD.size} bytes" in page


@pytest.mark.hil
def test_the_commands_do_what_the_pages_say(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    wrong = [text for command, step in QUICK.items() if (text := lab.wrong(command, step))]
    assert wrong == []


@pytest.mark.hil
def test_what_is_shown_is_what_it_says(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    chosen = [each for each in pages.shown() if each.command.endswith(IN_CI)]
    assert chosen
    for each in chosen:
        assert each.missing_in(lab.does(each.command).stdout) == "", each.command


def test_a_page_that_went_stale_is_noticed() -> None:
    block = pages.Shown("README.md", "x", True, ("PASS  rock, 4.2 s", "", "58 pass"))
    assert block.missing_in("before\nPASS  rock, 17.9 s\n\n  58 pass\nafter") == ""
    assert block.missing_in("PASS  rock, 17.9 s\n57 pass").startswith("58 pass")
    assert block.missing_in("PASS  rock, 17.9 s\nmore\n58 pass").startswith("58 pass")
    some = pages.Shown("README.md", "x", False, ("one", "two"))
    assert some.missing_in("one\nmore\ntwo") == ""
    assert some.missing_in("two\none") == "two"
