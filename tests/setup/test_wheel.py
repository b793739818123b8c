# SPDX-License-Identifier: Apache-2.0
"""An installed hilagent works outside a checkout: what isn't Python travels with it."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hilagent.build import hook
from tests import tree
from tests.setup import packaged

_HOOK = "hilagent/build/hook.py"
_PREBUILT = "hilagent/_data/prebuilt/"
PROJECT = tomllib.loads((tree.TOP / "pyproject.toml").read_text())


def _names(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


@pytest.mark.parametrize("name", ["boards", "firmware"])
def test_it_holds_the_whole_folder(unpacked: Path, name: str) -> None:
    wanted = [path for path in tree.files() if path.is_relative_to(tree.TOP / name)]
    assert wanted
    for path in wanted:
        found = unpacked / "hilagent/_data" / tree.name(path)
        assert found.read_bytes() == path.read_bytes()


def test_it_holds_the_package_its_data_and_nothing_else(wheel: Path) -> None:
    ours = {tree.name(path) for path in tree.files()}
    package = {name for name in ours if name.startswith("hilagent/")} - {_HOOK}
    data = {f"hilagent/_data/{name}" for name in ours if name.startswith(("boards/", "firmware/"))}
    names = {name for name in _names(wheel) if ".dist-info/" not in name}
    assert {name for name in names if not name.startswith(_PREBUILT)} == package | data


def test_what_was_built_is_what_a_run_without_kernels_compiles(wheel: Path) -> None:
    kinds = [name.removeprefix(_PREBUILT).split("/") for name in _names(wheel)
             if name.startswith(_PREBUILT)]  # fmt: skip
    files = {(each[0], each[-1]) for each in kinds}
    assert files == {
        ("manifest.json", "manifest.json"),
        *(("payload", name) for name in ("payload.bin", "payload.elf", "build-id")),
        *(("blob", name) for name in ("blob.bin", "blob.elf", "blob.sym")),
    }


def test_no_path_of_this_machine_is_in_what_was_built(unpacked: Path) -> None:
    built = [path for path in (unpacked / _PREBUILT).rglob("*") if path.is_file()]
    assert len(built) > 100
    for path in built:
        assert not re.search(rb"/(tmp|home|root|work|usr|build)/|GCC: ", path.read_bytes()), path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged.built("sdist", tmp_path_factory.mktemp("sdist"))


def test_a_wheel_is_the_same_from_an_sdist_elsewhere_with_nothing_cached(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "another folder", filter="data")
    (top,) = (tmp_path / "another folder").iterdir()
    again = packaged.built(
        "wheel",
        tmp_path / "again",
        top,
        {"HILAGENT_CACHE": str(tmp_path / "cache"), "TZ": "Asia/Tokyo"},
    )
    assert again.name == wheel.name == "hilagent-0.1.0-py3-none-any.whl"
    assert again.read_bytes() == wheel.read_bytes()


def test_an_sdist_has_the_sources_the_tests_and_the_licences(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [name for name in map(tree.name, tree.files()) if not name.startswith(".")]
    assert [name for name in wanted if name not in names] == []
    assert not [name for name in names if "__pycache__" in name or "prebuilt/" in name]


def test_it_says_its_licences_and_brings_them(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    said = message_from_bytes((info / "METADATA").read_bytes())
    assert said["License-Expression"] == "Apache-2.0 AND GPL-2.0-only"
    files = said.get_all("License-File") or []
    assert len(files) == 2
    for name in files:
        assert (info / "licenses" / name).read_bytes() == (tree.TOP / name).read_bytes()


def test_the_licences_are_those_that_the_sources_name() -> None:
    named = {
        found[1]
        for path in tree.files(".py", ".c", ".h", ".S", ".ld", ".sh", ".yaml", ".j2")
        if (found := re.search(r"SPDX-License-Identifier: (\S+)", path.read_text()[:200]))
    }
    assert set(PROJECT["project"]["license"].split(" AND ")) == named


def test_what_the_hook_needs_is_what_the_project_needs() -> None:
    """With the same bounds; and nothing else is imported where a wheel is built."""
    asked = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["dependencies"]
    assert set(asked) <= set(PROJECT["project"]["dependencies"])
    known = {Requirement(line).name.lower() for line in asked}
    assert known == {"pydantic", "pyelftools", "pyyaml"}
    code = (
        "import sys, tempfile, pathlib; before = set(sys.modules)\n"
        "from hilagent.build.pack import pack\n"
        "pack(pathlib.Path(tempfile.mkdtemp()) / 'out')\n"
        "print({name.split('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.TOP, capture_output=True, text=True, check=True
    )
    loaded = ast.literal_eval(done.stdout) - sys.stdlib_module_names
    own = {name for name in loaded if not name.startswith(("_", "pydantic"))}
    brought = {"annotated_types", "typing_extensions", "typing_inspection", "cython_runtime"}
    assert own - brought <= {"hilagent", "yaml", "elftools"}


def test_a_wheel_without_a_compiler_is_refused_or_asked_for(tmp_path: Path) -> None:
    path = {"PATH": str(tmp_path / "empty"), "HILAGENT_CACHE": str(tmp_path / "cache")}
    done = packaged.hatchling("wheel", tmp_path / "none", env=path)
    assert done.returncode != 0
    assert "gcc-aarch64-linux-gnu" in done.stderr + done.stdout
    assert not list(tmp_path.glob("none/*"))
    asked = packaged.built("wheel", tmp_path / "asked", env=path | {hook.WITHOUT: "1"})
    names = [name for name in _names(asked) if name.startswith(_PREBUILT)]
    assert names == [f"{_PREBUILT}manifest.json"]
    with zipfile.ZipFile(asked) as archive:
        archive.extractall(tmp_path / "site")
    done = packaged.command(tmp_path / "site", ["build", "payload"])
    assert done.returncode == 2
    assert "the payload isn't among what was built with this installation" in done.stderr


def test_an_editable_installation_needs_no_compiler(tmp_path: Path) -> None:
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree.TOP, env={"PATH": ""}, check=True)
    (made,) = tmp_path.glob("*.whl")
    assert not [name for name in _names(made) if "prebuilt" in name]


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


def test_a_wheel_in_the_folder_of_another_project_is_no_checkout(copy: Path) -> None:
    (copy / "pyproject.toml").write_text("")
    done = packaged.python(copy, "from hilagent import data; print(data.checkout())")
    assert done.stdout.split() == ["None"]


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


def test_setup_from_a_wheel_wants_no_compiler(unpacked: Path, tmp_path: Path) -> None:
    """It is named, for kernels; only what is missing for a run is an exit code."""
    code = (
        "import sys; from hilagent import setup\n"
        "setup._has_command = lambda name: name in ('qemu-system-aarch64', 'dtc')\n"
        "setup.glob.glob = lambda pattern: [pattern] if 'u-boot' in pattern else []\n"
        "sys.exit(setup.main(['--check']))"
    )
    done = packaged.python(unpacked, code)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert "ok      u-boot-qemu             boots it" in lines
    assert "kernels gcc-aarch64-linux-gnu   builds payload and kernel" in lines
    assert "missing" not in done.stdout
