# SPDX-License-Identifier: Apache-2.0
"""libFuzzer on the payload's portable C: frames, armour, device trees; under sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.firmware.conftest import host_program
from tests.firmware.test_facts import tree
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


def _fuzzed(folder: Path, seconds: int, *defines: str) -> subprocess.CompletedProcess[str]:
    flags = ["-fsanitize=fuzzer", "-Wno-error", *defines]  # of whatever version it is
    program = host_program(folder, "fuzz.c", "clang", *flags)
    options = [f"-max_total_time={seconds}", "-seed=2015", "-timeout=5", "-rss_limit_mb=1024",
               f"-artifact_prefix={folder}/", "-print_final_stats=1"]  # fmt: skip
    argv = [str(program), *options, str(_seeds(folder / "seeds"))]
    return subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 120)


def test_nothing_is_found(tmp_path: Path) -> None:
    done = _fuzzed(tmp_path, round(SECONDS * TIMES))
    kept = sorted(tmp_path.glob("*-*"))
    found = [f"{path.name}: {path.read_bytes().hex()}" for path in kept]
    assert done.returncode == 0, "\n".join([done.stderr[-4000:], *found])
    executed = int(done.stderr.partition("number_of_executed_units: ")[2].split()[0])
    assert executed > 10_000


@pytest.mark.parametrize("what", ["-DPLANTED=1"])
def test_what_is_planted_is_found(tmp_path: Path, what: str) -> None:
    done = _fuzzed(tmp_path, PLANTED_S, what)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
