# SPDX-License-Identifier: Apache-2.0
"""Broken ELFs end in an InputError or are read; neither takes long, nor much memory."""

from __future__ import annotations

import itertools
import resource
import struct
import time
from collections import Counter
from pathlib import Path

import pytest

from hilagent import abi
from hilagent.build import compile
from hilagent.elf import open_elf
from tests.elf.kernels import ISS, X0, kernel
from tests.elf.objects import SAMPLE, assembled, linked

from .hostile import audited, broken_code, mutations, outcome, read_all

PROFILE = abi.load("x0-mainline")
KINDS = ["linked", "object", "compressed", "no index"]
MOST_S, MOST_MB = 5.0, 300
"""CPU time for one file, and what the process may grow by."""
MOST_AUDIT_S = 60.0
"""Likewise for a whole audit."""
KERNELS = {"x0-mainline": X0, "iss-6.12": ISS}

DIAMONDS = """
	.macro	diamonds
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	tbz	x\\n, #0, 7f
	add	x19, x19, #(1 << (\\n % 12))
	add	x20, x20, x19, lsl #\\n
7:
	.endr
	.endm
"""
MANY_CALLERS = """
	.text
	.globl	calls
	.type	calls, %function
calls:	.rept	4000
	hvc	#2
	.endr
	.rept	60000
	cbz	x1, .+8
	.endr
	ret
	.size	calls, . - calls
"""
SLOW = {
    "ways that double": (DIAMONDS + ISS, ("EVERY=diamonds",)),
    "many hcalls before much code": (ISS + MANY_CALLERS, ()),
}
"""Kernels that are made to take long: source and macros. Bounded, but no matter of seconds."""


def sample(folder: Path, kind: str) -> bytes:
    """Return a small ELF with every table that is read."""
    path = assembled(folder, SAMPLE, "sample.S", "-g")
    if kind != "object":
        path = linked(folder, path)
    tool = compile.toolchain().tool("objcopy")
    if kind == "compressed":
        compile.run([tool, "--compress-debug-sections", path.name], folder)
    elif kind == "no index":
        compile.run([tool, "-R", ".debug_aranges", path.name], folder)
    return path.read_bytes()


def survive(folder: Path, kind: str, count: int, seed: int) -> tuple[int, float]:
    """Read ``count`` broken files; return how many were refused, and the longest time in s."""
    data, path = sample(folder, kind), folder / "broken"
    before, refused, longest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0.0
    for number, broken in enumerate(mutations(data, count, seed)):
        started = time.process_time()
        said = outcome(path, broken, PROFILE)
        longest = max(longest, time.process_time() - started)
        refused += said != "read"
        assert longest < MOST_S, f"{kind}, seed {seed}, file {number}: {longest:.1f} s"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MB, f"{kind}, seed {seed}: {grown:.0f} MB more than before"
    return refused, longest


def audit_them(
    folder: Path, source: str, profile: str, count: int, seed: int
) -> tuple[Counter[str], float]:
    """Audit ``count`` broken kernels; return what came of them, and the longest time in s."""
    path = kernel(folder, source)
    (text,) = (each for each in open_elf(path).code if each.name == ".text")
    data, found, longest = path.read_bytes(), Counter[str](), 0.0
    half = (
        mutations(data, count // 2, seed),
        broken_code(data, bytes(text.data), count // 2, seed),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, broken in enumerate(itertools.chain(*half)):
        started = time.process_time()
        said = audited(folder / "broken", broken, profile if number % 2 else "")
        longest = max(longest, time.process_time() - started)
        found[said if said in ("PASS", "FAIL", "None") else "refused"] += 1
        assert longest < MOST_AUDIT_S, f"seed {seed}, file {number}: {longest:.1f} s"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MB, f"seed {seed}: {grown:.0f} MB more than before"
    return found, longest


@pytest.mark.parametrize("profile", KERNELS)
def test_broken_kernels_are_audited_or_refused(tmp_path: Path, profile: str) -> None:
    found, _ = audit_them(tmp_path, KERNELS[profile], profile, 60, 2015)
    assert found.keys() >= {"PASS", "FAIL", "refused"}


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    refused, _ = survive(tmp_path, kind, 250, 2015)
    assert 50 < refused < 220, "half of them should get beyond the headers"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_at_any_byte_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    data = sample(tmp_path, kind)
    for size in range(0, len(data), 61):
        assert outcome(tmp_path / "cut", data[:size], PROFILE) != "read"


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_file_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "whole"
    path.write_bytes(sample(tmp_path, kind))
    sites = read_all(path, PROFILE)
    assert [each.kind for each in sites] == ["hcall", "smccc", "smccc", "xen"]
    assert all(each.source.startswith("sample.S:") for each in sites)


def _made(sections: list[tuple[int, int, int, bytes]], count: int = 0, kind: int = 3) -> bytes:
    """An ELF of (type, flags, address, data), and of ``count`` headers like the last one.

    Names and symbols are in the first section; relocations are for the second.
    """
    body, headers = bytearray(64), bytearray(64)
    for sort, flags, address, data in sections:
        body += bytes(-len(body) % 8)
        headers += struct.pack("<IIQQQQIIQQ", 0, sort, flags, address, len(body), len(data),
                               1, 2, 8, 0)  # fmt: skip
        body += data
    headers += headers[-64:] * count
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    fields = (kind, 183, 1, 0, 0, len(body), 0, 64, 56, 0, 64, len(headers) // 64, 1)
    body[:64] = ident + struct.pack("<HHIQQQIHHHHHH", *fields)
    return bytes(body + headers)


LOADED = 2 | 4
HOSTILE = {
    "many headers": _made([(3, 0, 0, bytes(8))], 65_000),
    "many sections with the same code": _made([(3, 0, 0, b"\0"), (1, LOADED, 0, bytes(1 << 20))],
                                              60_000),
    "many relocations of one section": _made(
        [(3, 0, 0, bytes(24)), (1, LOADED, 0, bytes(1 << 23)),
         (4, 0, 0, struct.pack("<QIIq", 0, 257, 0, 0))], 50_000, kind=1),
    "symbols with endless names": _made(
        [(3, 0, 0, b"x" * (1 << 20)),
         (2, 0, 0, b"".join(struct.pack("<IBBHQQ", n, 2, 0, 1, n, 0) for n in range(100_000)))]),
    "nothing but hvc": _made([(3, 0, 0, b"\0"), (1, LOADED, 0, b"\x02\0\0\xd4" * (1 << 20))]),
    "maps of maps": _made([(3, 0, 0, b"\0"), (19, 2, 0, b"\xff" * (1 << 22))]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_take_long_doesnt(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile"
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    said = outcome(path, HOSTILE[name], PROFILE)
    assert said == "read" or said.startswith(f"{path}: ")
    assert time.process_time() - started < MOST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_MB
