# SPDX-License-Identifier: Apache-2.0
"""An installed hilagent works outside a checkout: what isn't Python travels with it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import tree


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=tree.TOP, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("name", ["boards", "firmware"])
def test_it_holds_the_whole_folder(unpacked: Path, name: str) -> None:
    wanted = [path for path in tree.files() if path.is_relative_to(tree.TOP / name)]
    assert wanted
    for path in wanted:
        packed = unpacked / "hilagent/_data" / tree.name(path)
        assert packed.read_bytes() == path.read_bytes()


def test_data_of_a_room_is_in_it(unpacked: Path) -> None:
    wanted = [p for p in tree.files(".yaml", ".j2") if tree.name(p).startswith("hilagent/")]
    assert wanted
    assert [tree.name(p) for p in wanted if not (unpacked / tree.name(p)).is_file()] == []


def test_no_test_and_no_cache_is_in_it(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"hilagent"}
    assert not list(unpacked.rglob("__pycache__"))


def test_the_data_is_found_outside_a_checkout(unpacked: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from hilagent import data\n"
        "print(data.checkout(), data.data_dir('boards'), data.data_dir('firmware'))"
    )
    argv = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    here = unpacked / "hilagent/_data"
    assert done.stdout.split() == ["None", str(here / "boards"), str(here / "firmware")]


def test_the_command_and_the_plugin_are_announced(unpacked: Path) -> None:
    (points,) = unpacked.glob("*.dist-info/entry_points.txt")
    said = points.read_text()
    assert "hilagent = hilagent.cli:main" in said
    assert "[pytest11]\nhilagent = hilagent.plugin" in said


def test_setup_from_a_wheel_only_checks(unpacked: Path, tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(unpacked), "PATH": str(tmp_path)}
    argv = [sys.executable, "-S", "-m", "hilagent.setup"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "not a checkout" in done.stderr
    done = subprocess.run([*argv, "--check"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert ".venv" not in done.stdout
