# SPDX-License-Identifier: Apache-2.0
"""Files that a user or a board hands over, spoilt: read, or refused in a sentence."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import abi, errors
from hilagent import board as boards
from hilagent.build import sources
from hilagent.deploy import devicetree
from hilagent.elf import open_elf
from tests import tree
from tests.audit.test_hostile import KINDS, sample
from tests.firmware.test_facts import tree as facts_tree
from tests.fuzz.mutate import fuzz, mutated

BOARDS = [path.read_bytes() for path in sorted((tree.TOP / "boards").glob("*.yaml"))]
PROFILES = [p.read_bytes() for p in sorted(Path(abi.__file__).parent.glob("profiles/*.yaml"))]
WORDS = [
    *(f"\n{name}: 1\n".encode() for name in ("console", "power", "payload", "extends", "options")),
    b"&a [*a]", b"<<: *a", b"!!python/object:os.system x", b"!!binary =", b"0x", b"1e999", b"~",
    b"2026-01-01", b"\xef\xbb\xbf", b"\xff", b"? ", b"- - - - ", b"'", b"|2\n", b"{{{{", b"%TAG",
]  # fmt: skip
YAML = st.builds(
    lambda text, word, share: text[: (at := int(len(text) * share))] + word + text[at:],
    mutated([*BOARDS, *PROFILES]), st.sampled_from([b"", *WORDS]), st.floats(0, 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def _refused(exc: errors.HilagentError, path: Path) -> None:
    """Assert that a person can act on what was said: one short text that names the file."""
    assert str(path) in exc.message or path.stem in exc.message, exc.message
    assert len(exc.message) < 20_000


@pytest.mark.parametrize("load", [boards.load, abi.load], ids=["board", "abi"])
@fuzz(250)
@given(YAML)
def test_a_yaml_file(folder: Path, load: Callable[[str], object], text: bytes) -> None:
    path = folder / "spoilt.yaml"
    path.write_bytes(text)
    try:
        load(str(path))
    except errors.UsageError as exc:
        _refused(exc, path)


@functools.cache
def elves() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [sample(Path(folder), kind) for kind in KINDS]


@fuzz(300)
@given(st.deferred(lambda: mutated(elves())))
def test_an_elf(folder: Path, data: bytes) -> None:
    path = folder / "spoilt.elf"
    path.write_bytes(data)
    try:
        elf = open_elf(path)
        for address, _ in elf.relocations[:50]:
            with contextlib.suppress(errors.InputError):
                elf.word(address)
        assert elf.symbols.functions is not None
    except errors.UsageError as exc:
        _refused(exc, path)


TREES = [facts_tree(), devicetree.build(devicetree.parse(facts_tree()))]


@fuzz(500)
@given(mutated(TREES))
def test_a_device_tree(blob: bytes) -> None:
    read = None
    with contextlib.suppress(errors.LabError):
        read = devicetree.parse(blob)
    assert read is None or devicetree.parse(devicetree.build(read)) == read


def test_the_seeds_are_good(folder: Path) -> None:
    """Else all of this would fuzz the first check alone."""
    assert len(BOARDS) > 15
    assert sources.firmware_dir().is_dir()
    for each in TREES:
        devicetree.parse(each)
    for number, each in enumerate(elves()):
        (folder / f"{number}.elf").write_bytes(each)
        assert open_elf(folder / f"{number}.elf").symbols.functions
    for each in PROFILES:
        (folder / "good.yaml").write_bytes(each)
        with contextlib.suppress(errors.UsageError):  # one extends another of its folder
            abi.load(str(folder / "good.yaml"))
