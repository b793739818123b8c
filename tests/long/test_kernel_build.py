# SPDX-License-Identifier: Apache-2.0
"""What a kernel costs: from an empty cache, from a full one, and after one changed file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hilagent.build import cache, kernel, make, rootfs, series
from hilagent.build.kernel import Kernel
from tests import tree
from tests.long.conftest import Tell

OVER_MAKE, CACHED_S, CHANGED_S = 1.10, 2.0, 15.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own, empty at first."""
    with pytest.MonkeyPatch.context() as patched:
        home = tmp_path_factory.mktemp("cache")
        patched.setenv(cache.ENV, str(home))
        yield home


@pytest.fixture(scope="module")
def times(home: Path) -> dict[str, float]:
    """Builds everything from nothing; the seconds that it and the making itself took."""
    spent = {"make": 0.0}
    run = make.run

    def timed(folder: Path, words: Any, **how: Any) -> int:
        began = time.monotonic()
        try:
            return run(folder, words, **how)
        finally:
            spent["make"] += time.monotonic() - began

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(make, "run", timed)
        began = time.monotonic()
        rootfs.build_rootfs(kernel=kernel.build_kernel())
        spent["all"] = time.monotonic() - began
    return spent


def test_from_an_empty_cache_it_takes_makes_own_time(times: dict[str, float], tell: Tell) -> None:
    found = f"{times['all']:.0f} s, of which make {times['make']:.0f} s"
    tell("kernel and root file system, empty cache", "make + 10 %", found)
    assert times["all"] < times["make"] * OVER_MAKE


def test_from_a_full_cache_it_takes_no_time(times: dict[str, float], tell: Tell) -> None:
    began = time.monotonic()
    argv = [sys.executable, "-m", "hilagent", "build", "kernel"]
    subprocess.run(argv, cwd=tree.TOP, check=True, stdout=subprocess.DEVNULL)
    took_s = time.monotonic() - began
    tell("hilagent build kernel, full cache", f"{CACHED_S:.0f} s", f"{took_s:.2f} s")
    assert took_s < CACHED_S


@pytest.mark.parametrize("name", series.broken()[:3])
def test_one_changed_assembler_file_takes_seconds(
    times: dict[str, float], tell: Tell, name: str
) -> None:
    began = time.monotonic()
    built: Kernel = kernel.build_kernel(f"broken:{name}")
    took_s = time.monotonic() - began
    tell(f"one changed file ({name})", f"{CHANGED_S:.0f} s", f"{took_s:.1f} s")
    assert built.image.is_file()
    assert took_s < CHANGED_S


def test_the_same_inputs_give_the_same_kernel(times: dict[str, float], tell: Tell) -> None:
    """After another kernel's objects, and over the tree's own time: the bytes are the same."""
    first = kernel.build_kernel()
    kept = first.image.read_bytes()
    (first.image.parent).rename(first.image.parent.with_name("away"))
    kernel.build_kernel("unpatched")
    again = kernel.build_kernel()
    tell("the same kernel, by another way", "same bytes", again.digest[:16])
    assert again.image.read_bytes() == kept
