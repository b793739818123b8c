# SPDX-License-Identifier: Apache-2.0
"""What a wheel was built with is used as long as it is what would be built, and no longer."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from hilagent import abi, cli, data
from hilagent.build import cache, compile, pack, payload, prebuilt, vectors
from hilagent.cli.version import version
from hilagent.errors import HostError, UsageError
from tests.setup import packaged

_IMAGE = "prebuilt/payload/*/payload.bin"


def _one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture
def installed(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process is that of an installation: its data, a cache that is empty, no compiler."""
    home = tmp_path / "_data"
    ignored = shutil.ignore_patterns("broken", "rootfs", "module")  # nothing here looks at them
    shutil.copytree(unpacked / "hilagent/_data", home, ignore=ignored)
    monkeypatch.setattr(data, "_DATA", home)
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return home


@pytest.fixture
def compiler(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and there is a compiler; where its cache is."""
    assert not compile.available()
    monkeypatch.setenv("PATH", os.defpath)
    assert compile.available()
    return cache.root()


def test_nothing_that_a_run_without_kernels_compiles_is_missing(installed: Path) -> None:
    homes = list(pack.results())
    assert len(homes) > 60
    assert {home.parent.parent for home in homes} == {installed / "prebuilt"}
    listed = json.loads((installed / "prebuilt/manifest.json").read_text())["entries"]
    assert {f"{home.parent.name}/{home.name}" for home in homes} == set(listed)
    assert not cache.root().exists()


def test_a_host_with_a_compiler_uses_it_too(installed: Path, compiler: Path) -> None:
    assert payload.build_payload().image == _one(installed, _IMAGE)
    assert not compiler.exists()


def test_the_compiler_that_was_chosen_is_used_and_gets_the_same(
    installed: Path, compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compile.CROSS_ENV, "aarch64-linux-gnu-")
    image = payload.build_payload().image
    assert image.is_relative_to(compiler)
    assert image.read_bytes() == _one(installed, _IMAGE).read_bytes()


@pytest.mark.parametrize(
    "name", ["payload/mem.c", "payload/link.ld", "payload/el.h", "vectors/iss.S"]
)
def test_a_stale_payload_is_never_used(installed: Path, name: str) -> None:
    assert payload.known_build_id()
    with (installed / "firmware" / name).open("a") as source:
        source.write("\n")
    with pytest.raises(UsageError, match="the payload isn't among what was built") as caught:
        payload.build_payload()
    assert "no arm64 compiler: aarch64-linux-gnu-gcc" in caught.value.message
    assert "apt-get install gcc-aarch64-linux-gnu" in caught.value.hint
    assert "payload, not built yet" in version()


@pytest.mark.parametrize("name", ["abi/profiles/iss-2015.yaml", "build/compile.py", "link/wire.py"])
def test_so_is_one_of_other_code_of_ours(copy: Path, name: str) -> None:
    path = copy / "hilagent" / name
    text = path.read_text()
    path.write_text(re.sub(r"^(VERSION = )\d+", r"\g<1>99", f"{text}\n", flags=re.M))
    done = packaged.command(copy, ["build", "payload"])
    assert done.returncode == 2
    assert "the payload isn't among what was built with this installation" in done.stderr


def test_a_compiler_builds_anew_what_is_stale(installed: Path, compiler: Path) -> None:
    vectors.build("reference-stub")
    assert not compiler.exists()
    with (installed / "firmware/vectors/iss.S").open("a") as source:
        source.write("nop\n")
    assert vectors.build("reference-stub").elf.is_relative_to(compiler)


def test_a_table_of_another_abi_needs_a_compiler_and_says_so(
    installed: Path, tmp_path: Path
) -> None:
    text = (Path(abi.__file__).parent / "profiles/iss-2015.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(re.sub(r"\bnumber: 3\b", "number: 7", text))
    with pytest.raises(UsageError, match=r"iss\.S isn't among what was built") as caught:
        vectors.build("reference-stub", abi.load(str(own)))
    assert "gcc-aarch64-linux-gnu" in caught.value.hint


@pytest.mark.parametrize("name", ["payload.bin", "payload.elf", "build-id"])
def test_a_payload_that_was_altered_is_refused(installed: Path, compiler: Path, name: str) -> None:
    path = _one(installed, f"prebuilt/payload/*/{name}")
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(HostError, match="isn't what this hilagent was packaged with") as caught:
        payload.build_payload()
    assert str(path) in caught.value.message
    assert "install hilagent again" in caught.value.hint
    assert version().startswith("hilagent, version 0.1.0\npayload, unknown: ")
    assert not compiler.exists()


def test_a_table_that_was_altered_is_refused(installed: Path) -> None:
    for path in installed.glob("prebuilt/blob/*/blob.bin"):
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(HostError, match=r"blob\.bin: isn't what"):
        vectors.build("reference-stub")


def test_a_payload_that_is_missing_is_told(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _one(installed, _IMAGE)
    path.unlink()
    assert cli.main(["build", "payload"]) == 125
    assert f"{path}: missing from this installation" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "[]", '{"schema": 2, "entries": {}}', "\xff"])
def test_a_manifest_that_is_none_is_told(installed: Path, text: str | None) -> None:
    path = installed / "prebuilt/manifest.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(HostError, match="can't be read, so this installation") as caught:
        prebuilt.find("payload", "0")
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["firmware", "boards", "prebuilt"])
def test_a_folder_that_is_missing_is_told(
    installed: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed / name).rename(installed / "away")
    words = ["boards"] if name == "boards" else ["build", "payload"]
    assert cli.main(words) == 125
    said = capsys.readouterr().err
    assert f"{installed / name}: missing from this installation of hilagent" in said


@pytest.mark.parametrize("what", ["kernel", "rootfs"])
def test_what_can_only_be_compiled_says_so_before_it_fetches(
    installed: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["build", what]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no arm64 compiler: aarch64-linux-gnu-gcc")
    assert "apt-get install gcc-aarch64-linux-gnu" in said
    assert not cache.root().exists()


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
