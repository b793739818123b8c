# SPDX-License-Identifier: Apache-2.0
"""``hilagent build``: what it says, what it copies, and how it ends."""

from __future__ import annotations

import hashlib
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import cache
from hilagent.cli import main
from hilagent.cli.build import _place
from hilagent.result import EXIT_SIGTERM
from tests.build import kerneltree
from tests.build.test_given import IMAGE


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kerneltree.Tree]:
    yield from kerneltree.make_tree(tmp_path, monkeypatch)


def test_a_kernel_is_copied_and_its_digest_told(
    tree: kerneltree.Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "kernel", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    image = tmp_path / "out/Image"
    assert said.out.splitlines()[0] == "patched: Linux 6.12.117-test, ABI iss-6.12"
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert f"{image}  {image.stat().st_size} bytes  sha256 {digest}" in said.out
    assert "configuring" in said.err


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_secret_stays_one_when_it_is_copied(tmp_path: Path, mode: int) -> None:
    (tmp_path / "archive").write_text("key")
    (tmp_path / "archive").chmod(mode)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/archive").write_text("an older one")
    (tmp_path / "out/archive").chmod(0o644)
    _place(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out/archive").read_text() == "key"
    assert stat.S_IMODE((tmp_path / "out/archive").stat().st_mode) == mode
    _place(tmp_path / "archive", tmp_path / "new")
    assert (tmp_path / "new/archive").stat().st_mode & 0o077 == mode & 0o077


def test_a_build_that_is_told_to_end_ends_in_order(
    tree: kerneltree.Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def interrupted(*args: object, **words: object) -> None:
        try:
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
            signal.raise_signal(signal.SIGTERM)
        finally:
            ended.append("in order")

    monkeypatch.setattr(sys.modules[_place.__module__], "build_kernel", interrupted)
    assert main(["build", "kernel"]) == EXIT_SIGTERM
    assert ended == ["in order"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_one_that_does_not_build_is_exit_1(
    tree: kerneltree.Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.in_series("three", "ERROR")
    assert main(["build", "kernel"]) == 1
    assert "code.S:4: Error: unknown mnemonic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nonsense"], "no kernel named 'nonsense'"),
        (["--config", "moon"], "no kernel configuration 'moon'"),
        (["--image", "Image", "--source", "."], "exclude each other"),
        (["--dtb", "x"], "--dtb belongs to --image or --artifacts"),
        (["--artifacts", "."], "not an arm64 Image"),
    ],
)
def test_a_mistake_is_exit_2_and_named(
    tree: kerneltree.Tree,
    argv: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Image").touch()
    assert main(["build", "kernel", *argv]) == 2
    assert said in capsys.readouterr().err


def test_a_configuration_of_ones_own_is_laid_over(
    tree: kerneltree.Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.config").write_text("CONFIG_OWN=y\n")
    assert main(["build", "kernel", "--config", f"{tmp_path}/own.config",
                 "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    assert "CONFIG_OWN=y" in (tmp_path / "out/config").read_text()


def test_what_a_prebuilt_kernel_lacks_is_told_with_its_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    (tmp_path / "Image").write_bytes(IMAGE)
    assert main(["build", "kernel", "--image", str(tmp_path / "Image")]) == 0
    said = capsys.readouterr()
    assert "given: Linux 6.12.9-lab" in said.out
    assert "no headers: the probe module can't be built" in said.err
