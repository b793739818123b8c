# SPDX-License-Identifier: Apache-2.0
"""The hygiene of the tree: licences, sizes, names."""

import ast
import re
from pathlib import Path

import pytest

from tests import tree

TOP_LEVEL = {
    *("pyproject.toml", "hilagent", "firmware", "boards", "tests", "ansible"),
    *("README.md", "CONTRIBUTING.md", "LICENSE", "requirements.lock"),
}
SOURCES = tree.files(".py", ".c", ".h", ".S", ".ld", ".sh", ".yaml", ".yml", ".toml", ".j2")
KERNEL = ("firmware/kernel/", "firmware/module/")  # what is built into, or from, a GPL kernel
FORBIDDEN = (
    r"/work/(main|notes|shared)",
    r"/root/\.pyenv",
    r"/home/[a-z]+/",
    r"(files\.pythonhosted|pypi|registry\.npmjs|(deb|snapshot|security)\.debian)\.(org|net)",
)


def test_the_top_level_holds_only_what_it_should() -> None:
    found = {tree.name(path).split("/")[0] for path in tree.files()}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("path", SOURCES, ids=tree.name)
def test_a_source_says_its_licence_first(path: Path) -> None:
    licence = "GPL-2.0-only" if tree.name(path).startswith(KERNEL) else "Apache-2.0"
    head = "\n".join(path.read_text().splitlines()[:2])
    assert f"SPDX-License-Identifier: {licence}" in head


@pytest.mark.parametrize("path", SOURCES, ids=tree.name)
def test_a_source_can_be_read_at_a_sitting(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines < 400


def test_nothing_binary_is_bigger_than_a_page() -> None:
    binary = [path for path in tree.files() if b"\0" in path.read_bytes()]
    assert [tree.name(path) for path in binary if path.stat().st_size > 4096] == []


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_machine_and_no_registry_is_named(pattern: str) -> None:
    hits = [
        f"{tree.name(path)}: {found[0]}"
        for path in tree.files()
        if (found := re.search(pattern, path.read_text(errors="replace")))
    ]
    assert hits == []


def test_nine_functions_of_ten_fit_in_a_glance() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in tree.files(".py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) * 9 // 10] < 35


def test_no_test_waits_by_sleeping() -> None:
    sleep = re.compile(r"\btime\.sleep\(|\bfrom time import .*\bsleep\b")
    assert [tree.name(p) for p in tree.files(".py") if sleep.search(p.read_text())] == []
