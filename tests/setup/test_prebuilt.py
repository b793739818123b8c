# SPDX-License-Identifier: Apache-2.0
"""What a wheel was built with is used as long as it is what would be built, and no longer."""

import json
import os
import re
from pathlib import Path

import pytest

from hilagent.build import cache
from tests.setup import packaged

_HOME = "hilagent/_data/prebuilt"
_IMAGE = f"{_HOME}/payload/*/payload.bin"


def _one(site: Path, pattern: str) -> Path:
    (found,) = site.glob(pattern)
    return found


def _payload(site: Path, **env: str) -> tuple[int, str]:
    done = packaged.command(site, ["build", "payload"], **env)
    return done.returncode, done.stdout + done.stderr


def _with_compiler(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HILAGENT_CACHE": str(tmp_path / "cache")}


def test_nothing_that_a_run_without_kernels_compiles_is_missing(unpacked: Path) -> None:
    code = "from hilagent.build import pack\nfor made in pack.results(): print(made)"
    done = packaged.python(unpacked, code)
    assert done.returncode == 0, done.stderr
    homes = [Path(line) for line in done.stdout.splitlines()]
    assert len(homes) > 60
    assert {home.parent.parent for home in homes} == {unpacked / _HOME}
    listed = json.loads((unpacked / _HOME / "manifest.json").read_text())["entries"]
    assert {f"{home.parent.name}/{home.name}" for home in homes} == set(listed)


def test_a_host_with_a_compiler_uses_it_too(unpacked: Path, tmp_path: Path) -> None:
    status, said = _payload(unpacked, **_with_compiler(tmp_path))
    assert status == 0
    assert said.startswith(str(_one(unpacked, _IMAGE)))
    assert not (tmp_path / "cache").exists()


def test_the_compiler_that_was_chosen_is_used_and_gets_the_same(
    unpacked: Path,
) -> None:
    chosen = {"HILAGENT_CROSS_COMPILE": "aarch64-linux-gnu-", "HILAGENT_CACHE": str(cache.root())}
    status, said = _payload(unpacked, **chosen, PATH=os.environ["PATH"])
    assert status == 0
    image = Path(said.split()[0])
    assert image.is_relative_to(cache.root())
    assert image.read_bytes() == _one(unpacked, _IMAGE).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "hilagent/_data/firmware/payload/mem.c",
        "hilagent/_data/firmware/payload/link.ld",
        "hilagent/_data/firmware/vectors/iss.S",
        "hilagent/abi/profiles/iss-2015.yaml",
        "hilagent/abi/header.py",
        "hilagent/build/payload.py",
        "hilagent/build/compile.py",
    ],
)
def test_a_stale_payload_is_never_used(copy: Path, name: str) -> None:
    with (copy / name).open("a") as source:
        source.write("\n")
    status, said = _payload(copy)
    assert status == 2
    assert "the payload isn't among what was built with this installation: no arm64" in said
    assert "apt-get install gcc-aarch64-linux-gnu" in said
    assert "not built yet" in packaged.command(copy, ["--version"]).stdout


def test_changed_numbers_of_the_wire_make_it_stale(copy: Path) -> None:
    path = copy / "hilagent/link/wire.py"
    text = path.read_text()
    changed = re.sub(r"^(VERSION = )(\d+)", r"\g<1>99", text, flags=re.M)
    assert changed != text
    path.write_text(changed)
    assert _payload(copy)[0] == 2


def test_a_compiler_builds_anew_what_is_stale(copy: Path, tmp_path: Path) -> None:
    source = copy / "hilagent/_data/firmware/payload/mem.c"
    source.write_text(source.read_text() + "int hil_changed(void) { return 1; }\n")
    status, said = _payload(copy, **_with_compiler(tmp_path))
    assert status == 0
    assert said.startswith(f"{tmp_path}/cache/payload/")


def test_a_table_of_another_abi_needs_a_compiler_and_says_so(copy: Path, tmp_path: Path) -> None:
    profile = (copy / "hilagent/abi/profiles/iss-2015.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(profile.replace("profile: iss-2015", "profile: own").replace(
        "number: 3", "number: 7"))  # fmt: skip
    done = packaged.command(copy, ["audit", "reference-stub", "--abi", str(own)])
    assert done.returncode == 2
    assert "iss.S isn't among what was built with this installation" in done.stderr
    assert "gcc-aarch64-linux-gnu" in done.stderr
    done = packaged.command(copy, ["audit", "reference-stub"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["payload.bin", "payload.elf", "build-id"])
def test_a_payload_that_was_altered_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    path = _one(copy, f"{_HOME}/payload/*/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for env in ({}, _with_compiler(tmp_path)):
        status, said = _payload(copy, **env)
        assert status == 125
        assert f"{path}: isn't what this hilagent was packaged with" in said
        assert "install hilagent again" in said
    done = packaged.command(copy, ["--version"])
    assert done.returncode == 0
    assert "hilagent, version 0.1.0\npayload, unknown: " in done.stdout


def test_a_payload_that_is_missing_is_told(copy: Path) -> None:
    path = _one(copy, _IMAGE)
    path.unlink()
    status, said = _payload(copy)
    assert (status, f"{path}: missing from this installation" in said) == (125, True)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"schema": 2, "entries": {}}', "\xff"])
def test_a_manifest_that_is_none_is_told(copy: Path, text: str | None) -> None:
    path = copy / _HOME / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    status, said = _payload(copy)
    assert (status, f"{path}: can't be read, so this installation" in said) == (125, True)


@pytest.mark.parametrize("name", ["firmware", "boards", "prebuilt"])
def test_a_folder_that_is_missing_is_told(copy: Path, name: str) -> None:
    (copy / "hilagent/_data" / name).rename(copy / "away")
    words = ["boards"] if name == "boards" else ["build", "payload"]
    done = packaged.command(copy, words)
    assert done.returncode == 125
    assert f"_data/{name}: missing from this installation of hilagent" in done.stderr
    assert "bug" not in done.stderr


@pytest.mark.parametrize("what", ["kernel", "rootfs"])
def test_what_can_only_be_compiled_says_so_before_it_fetches(
    unpacked: Path, tmp_path: Path, what: str
) -> None:
    done = packaged.command(unpacked, ["build", what], HILAGENT_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("no arm64 compiler: aarch64-linux-gnu-gcc")
    assert "apt-get install gcc-aarch64-linux-gnu" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_user_without_a_home_is_told(unpacked: Path) -> None:
    code = (
        "import pwd, sys\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from hilagent.cli import main\n"
        "print(main(['build', 'payload']), main(['build', 'kernel']))"
    )
    done = packaged.python(unpacked, code, PATH=os.environ["PATH"])
    assert done.stdout.splitlines()[-1] == "0 125"
    assert "this user has no home directory\n  set HOME, HILAGENT_CACHE" in done.stderr
