# SPDX-License-Identifier: Apache-2.0
"""What README.md and CONTRIBUTING.md say is so."""

import ast
import re
from pathlib import Path

import pytest

from hilagent import board, setup
from tests import tree

README = (tree.TOP / "README.md").read_text()
PAGES = README + (tree.TOP / "CONTRIBUTING.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_its_boards_are_valid_boards(tmp_path: Path) -> None:
    """The one that stands there whole, with Linux on it, and as a board without a U-Boot;
    the one that extends a model; and each way to switch one."""
    rock, rock2, power, linux, own, _, placed = _blocks("yaml")
    server = own + rock[: rock.index("transfers:")].replace("name: rock", "name: server")
    kernels = rock + linux
    whole = [("rock", rock), ("rock2", rock2), ("kernels", kernels), ("server", server)]
    whole.append(("rock-a", placed))
    for number, line in enumerate(power.splitlines()):
        whole.append((f"power{number}", re.sub("^power: .*", line, rock, flags=re.M)))
    for name, text in whole:
        (tmp_path / f"{name}.yaml").write_text(
            re.sub("^name: .*", f"name: {name}", text, flags=re.M)
        )
        found = board.load(name, dirs=[tmp_path])
        assert not found.emulated
        assert found.console.baud == 1500000
        assert (found.os is None) == (name != "server")


def test_its_python_parses() -> None:
    for block in _blocks("python"):
        ast.parse(block)


@pytest.mark.parametrize(
    "line", re.findall(r"^    python3 -m hilagent\.setup ([^#\n]*)", PAGES, re.M)
)
def test_its_setup_commands_exist(line: str) -> None:
    options, rest = setup._arguments(line.split())
    assert options.job in ("run", "test")
    assert rest == []


def test_the_files_and_folders_that_it_names_are_there() -> None:
    named = re.findall(r"\(([A-Z]+(?:\.md)?)\)", PAGES)
    assert named
    assert [name for name in named if not (tree.TOP / name).exists()] == []


def test_its_mutants_exist() -> None:
    source = (tree.TOP / "firmware/vectors/mutants.h").read_text()
    named = re.findall(r"mutant:([a-z0-9_]+)", PAGES)
    assert named
    assert [name for name in named if f"MUTANT_{name})" not in source] == []
