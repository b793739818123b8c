# SPDX-License-Identifier: Apache-2.0
"""Emulation has no caches and would never tell: every writer of memory that was not
prepared at boot calls the cache routines. Read from the source."""

from __future__ import annotations

import re

import pytest

from hilagent.build import sources

_FUNCTION = re.compile(r"^(?:[\w*]+[ \t*]+)+(\w+)\([^;{]*\)\n\{\n(.*?)^\}", re.M | re.S)
_CLEANED = re.compile(r"\bcache_before_write\(")
_AFTERWARDS = re.compile(r"\bcache_(after_write|code_written)\(")

_BEFORE_AND_AFTER = (
    re.compile(r"\*\(volatile uint\d+_t \*\)[^;=]*[^=!<>]=[^=]"),  # through a number
    re.compile(r"\bmem(?:cpy|set|move)\(\(void \*\)(?!to\b)"),
    re.compile(r"\bmemset\(pcpu_areas"),
    re.compile(r"\bmem(?:cpy|set)\(lab_slot"),
    re.compile(r"\blast_id = "),
)
_CODE = (
    re.compile(r"\blab_stubs\[\w+\]\[\d\] = "),
    re.compile(r"\bel1_vectors\[[^]]*\] = "),
    re.compile(r"\bcode\[[^]]*\] = "),
)
_EXCUSED = {
    ("uart.c", "put"): "registers of a device",
    ("access.c", "copy"): "between do_write's two calls; reads go the other way",
}


def functions() -> list[tuple[str, str, str]]:
    folder = sources.firmware_dir() / "payload"
    return [
        (file.name, found[1], found[2])
        for file in sources.files(folder, ".c")
        for found in _FUNCTION.finditer(file.read_text())
    ]


def writers(patterns: tuple[re.Pattern[str], ...]) -> list[tuple[str, str, str]]:
    return [f for f in functions() if any(p.search(f[2]) for p in patterns)]


def test_the_walk_sees_the_functions() -> None:
    found = {(file, name) for file, name, _ in functions()}
    assert {("access.c", "do_write"), ("smp.c", "prepare"), ("lab.c", "lab_init")} <= found
    assert len(found) > 150


def test_the_walk_finds_the_writers_that_we_know() -> None:
    found = {(file, name) for file, name, _ in writers(_BEFORE_AND_AFTER)}
    known = {("access.c", "do_write"), ("smp.c", "prepare"), ("smp.c", "write_release")}
    assert known | {("main.c", "choose_boot_id")} <= found


def test_every_writer_cleans_before_and_invalidates_after() -> None:
    wrong = [
        f"{file}: {name}"
        for file, name, body in writers(_BEFORE_AND_AFTER)
        if (file, name) not in _EXCUSED and not (_CLEANED.search(body) and _AFTERWARDS.search(body))
    ]
    assert wrong == []


def test_every_writer_of_code_says_so_to_the_instruction_cache() -> None:
    wrong = [f"{file}: {name}" for file, name, body in writers(_CODE)
             if "cache_code_written(" not in body]  # fmt: skip
    assert writers(_CODE)
    assert wrong == []


def test_the_entry_cleans_before_it_zeroes() -> None:
    start = (sources.firmware_dir() / "payload" / "start.S").read_text()
    primary = start[start.index("primary_entry:\n") : start.index("secondary_entry\n")]
    for zeroed in re.finditer(r"^\tzero\t", primary, re.M):
        assert re.search(r"^\tcivac\t", primary[: zeroed.start()], re.M)
    assert primary.index("\tcivac\t") < primary.index("caches_off")


def test_the_uploaded_copy_cleans_both_sides_before_and_invalidates_after() -> None:
    text = (sources.firmware_dir() / "uploaded" / "mover.S").read_text()
    copy = text[text.index("\ncopy:\n") : text.index("clean:\n")]
    steps = re.findall(r"^\t(?:2:\t)?(by_line\tcivac|by_line\tivac|stp|line_size)\b", copy, re.M)
    assert steps == ["line_size", "by_line\tcivac", "by_line\tcivac", *["stp"] * 4, "by_line\tivac"]
    assert "ctr_el0" in text


@pytest.mark.parametrize("routine", ["cache_before_write", "cache_after_write"])
def test_a_routine_takes_the_line_size_from_the_cpu(routine: str) -> None:
    text = (sources.firmware_dir() / "payload" / "cache.S").read_text()
    body = text[text.index(f"{routine}:\n") :]
    assert re.search(r"^\tlines$", body, re.M)
    assert "ctr_el0" in text
    assert re.search(r"^\tdsb\tsy$", body, re.M)
