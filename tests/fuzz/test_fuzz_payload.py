# SPDX-License-Identifier: Apache-2.0
"""libFuzzer on the payload's portable C: frames, armour, device trees, LZMA; under sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.firmware.conftest import host_program
from tests.firmware.loader.simulated import built
from tests.firmware.test_facts import tree
from tests.firmware.test_lzma import compressed, data
from tests.fuzz.mutate import TIMES
from tests.fuzz.test_fuzz_line import STREAMS

SECONDS = 10
PLANTED_S = 60
"""At most, until it finds what was planted; it takes a second or two."""


def _seeds(folder: Path) -> Path:
    folder.mkdir()
    for number, stream in enumerate(STREAMS):
        (folder / f"line{number}").write_bytes(b"\0" + stream[:2000])
    (folder / "tree").write_bytes(b"\1" + tree())
    for op in (2, 3, 4):
        (folder / f"code{op}").write_bytes(bytes([op]) + b"\x40\0\x03ab\x02c\x01")
    return folder


def _streams(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(12):
        plain = data(seed)[:20_000]
        (folder / f"{seed}").write_bytes(len(plain).to_bytes(2, "little") + compressed(plain))
    return folder


def _fuzzed(
    folder: Path, seconds: int, *defines: str, lzma: bool = False
) -> subprocess.CompletedProcess[str]:
    flags = ["-fsanitize=fuzzer", "-Wno-error", *defines]  # of whatever version it is
    if lzma:
        program = built(folder, "lzma_host.c", "clang", "-DFUZZED", *flags, names=["lzma"])
    else:
        program = host_program(folder, "fuzz.c", "clang", *flags)
    seeds = (_streams if lzma else _seeds)(folder / "seeds")
    options = [f"-max_total_time={seconds}", "-seed=2015", "-timeout=5", "-rss_limit_mb=1024",
               f"-artifact_prefix={folder}/", "-print_final_stats=1"]  # fmt: skip
    argv = [str(program), *options, str(seeds)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 120)


@pytest.mark.parametrize("lzma", [False, True], ids=["line", "lzma"])
def test_nothing_is_found(tmp_path: Path, lzma: bool) -> None:
    planted = ["-DPLANTED=0"] if lzma else []
    done = _fuzzed(tmp_path, round(SECONDS * TIMES), *planted, lzma=lzma)
    kept = sorted(tmp_path.glob("*-*"))
    found = [f"{path.name}: {path.read_bytes().hex()}" for path in kept]
    assert done.returncode == 0, "\n".join([done.stderr[-4000:], *found])
    executed = int(done.stderr.partition("number_of_executed_units: ")[2].split()[0])
    assert executed > (1000 if lzma else 10_000)


@pytest.mark.parametrize("lzma", [False, True], ids=["line", "lzma"])
def test_what_is_planted_is_found(tmp_path: Path, lzma: bool) -> None:
    done = _fuzzed(tmp_path, PLANTED_S, "-DPLANTED=1", lzma=lzma)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
