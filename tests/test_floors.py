# SPDX-License-Identifier: Apache-2.0
"""Data flows one way: a room imports only rooms above it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tree

ROOMS = (
    *("errors", "data", "setup", "limits", "clock", "text", "document", "shape"),  # leaves
    *("result", "records", "journal", "abi", "elf", "audit", "link", "board", "place"),
    *("transport", "power", "console"),
    *("build", "deploy", "payload", "linux", "session", "probe", "suites", "report"),
    *("bringup", "plugin", "cli", "testing"),
)
HEAVY = (
    *("paramiko", "fabric", "invoke", "pydantic", "rich", "jinja2", "capstone", "elftools"),
    *("fdt", "serial", "yaml", "pytest", "hypothesis"),
)
SOURCES = [path for path in tree.files(".py") if path.is_relative_to(tree.TOP / "hilagent")]


def _room(path: Path) -> str:
    return path.relative_to(tree.TOP / "hilagent").with_suffix("").parts[0]


def _imported(tree_: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, also inside functions and for types only."""
    for node in ast.walk(tree_):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _breaches(room: str, source: str) -> Iterator[str]:
    floor = ROOMS.index(room)
    for line, name in _imported(ast.parse(source)):
        top, _, rest = name.partition(".")
        wanted = rest.split(".")[0]
        if top != "hilagent" or wanted.startswith("__"):
            continue
        if wanted not in ROOMS or ROOMS.index(wanted) > floor:
            yield f"{line}: {room} imports {wanted or 'hilagent'}"


@pytest.mark.parametrize("path", SOURCES, ids=tree.name)
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    if _room(path) not in {"__init__", "__main__"}:
        assert list(_breaches(_room(path), path.read_text())) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("result", "import hilagent.journal"),
        ("link", "from hilagent import board"),
        ("link", "from hilagent.board import Board"),
        ("errors", "def f():\n    from hilagent.cli import main"),
        ("cli", "from hilagent import nowhere"),
    ],
)
def test_a_breach_of_the_order_is_seen(room: str, source: str) -> None:
    assert list(_breaches(room, source))


def test_rooms_import_across_by_full_name_only() -> None:
    for path in SOURCES:
        nodes = ast.walk(ast.parse(path.read_text()))
        assert not [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level > 1], path


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hilagent.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.TOP, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_setup_is_one_file_of_the_standard_library() -> None:
    source = (tree.TOP / "hilagent/setup.py").read_text()
    names = {name.split(".")[0] for _, name in _imported(ast.parse(source))}
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("name", ["__init__", "setup"])
def test_what_an_old_python_reads_first_it_can_parse(name: str) -> None:
    ast.parse((tree.TOP / f"hilagent/{name}.py").read_text(), feature_version=(3, 8))
