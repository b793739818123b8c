# SPDX-License-Identifier: Apache-2.0
"""Broken ELFs by the thousand: read or refused, in bounded time and memory; and Debian's kernel."""

from __future__ import annotations

import json
import lzma
import posixpath
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from hilagent.audit.kernel import audit
from hilagent.build import compile, debian
from hilagent.build.kernel import build_kernel
from hilagent.build.vmlinux import debian_vmlinux, extract
from tests.audit.test_hostile import KERNELS, KINDS, MOST_AUDIT_S, SLOW, audit_them, survive
from tests.elf.kernels import kernel
from tests.long.conftest import Tell

SEEDS = 4
MOST_DEBIAN_S, MOST_DEBIAN_KIB = 60.0, 2 << 20
_HCALLS = {
    "__hyp_set_vectors": "HVC_SET_VECTORS", "__hyp_reset_vectors": "HVC_RESET_VECTORS",
    "finalise_el2": "HVC_FINALISE_EL2", "swsusp_arch_suspend_exit": "HVC_SET_VECTORS",
    "arm64_relocate_new_kernel": "HVC_SOFT_RESTART", "cpu_soft_restart": "HVC_SOFT_RESTART",
}  # fmt: skip
_ISSUED = re.compile(r"^\s*([0-9a-f]+):\s+(hvc|smc)\s+#0x([0-9a-f]+)")


@pytest.mark.parametrize("count", [10_000])
def test_broken_kernels_are_read_or_refused(tmp_path: Path, tell: Tell, count: int) -> None:
    started, refused, longest = time.monotonic(), 0, 0.0
    share = count // (len(KINDS) * SEEDS)
    for kind in KINDS:
        for seed in range(SEEDS):
            more, slowest = survive(tmp_path, kind, share, seed)
            refused, longest = refused + more, max(longest, slowest)
    took = time.monotonic() - started
    total = share * len(KINDS) * SEEDS
    tell(
        f"{total} broken ELFs", "an error or an answer, no traceback",
        f"{refused} refused, {total - refused} read, {took:.0f} s, longest {longest * 1000:.0f} ms",
    )  # fmt: skip
    assert refused > total // 4


@pytest.mark.parametrize("count", [2_000])
def test_broken_kernels_are_audited_or_refused(tmp_path: Path, tell: Tell, count: int) -> None:
    started, longest, found = time.monotonic(), 0.0, Counter[str]()
    for profile, source in KERNELS.items():
        for seed in range(SEEDS):
            share = count // (len(KERNELS) * SEEDS)
            more, slowest = audit_them(tmp_path, source, profile, share, seed)
            found, longest = found + more, max(longest, slowest)
    took = time.monotonic() - started
    said = ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
    tell(
        f"audits of {found.total()} broken kernels", "an error or an answer, no traceback",
        f"{said}; {took:.0f} s, longest {longest * 1000:.0f} ms",
    )  # fmt: skip
    assert min(found["PASS"], found["FAIL"], found["refused"]) > count // 50


@pytest.mark.parametrize("name", SLOW)
def test_a_kernel_that_is_made_to_take_long_is_given_up(
    tmp_path: Path, tell: Tell, name: str
) -> None:
    source, defines = SLOW[name]
    path = kernel(tmp_path, source, *defines)
    started = time.process_time()
    done = audit(path)
    took = time.process_time() - started
    tell(f"audit of {name}", f"{MOST_AUDIT_S:.0f} s", f"{took:.1f} s")
    unproven = {why for server in done.servers for each in server.served for why in each.unproven}
    why = {found.why for caller in done.callers for found in caller.registers.values()}
    assert any(said.startswith("too many") for said in unproven | why)
    assert took < MOST_AUDIT_S


def test_debians_own_kernel_is_audited_in_a_minute(tell: Tell) -> None:
    path = debian_vmlinux()
    started = time.monotonic()
    argv = [sys.executable, "-m", "hilagent", "audit", "--json", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    took = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    said = json.loads(done.stdout)
    tell(
        f"audit of {said['evidence'][0]}", f"exit 0, {MOST_DEBIAN_S:.0f} s, 2 GB",
        f"exit {done.returncode}, {len(said['sites'])} sites, {took:.0f} s, {peak >> 10} MB",
    )  # fmt: skip
    assert (done.returncode, said["abi"], said["findings"]) == (0, "x0-mainline", []), done.stderr
    assert took < MOST_DEBIAN_S
    assert peak < MOST_DEBIAN_KIB
    assert [line.split(" s  ")[1] for line in done.stderr.splitlines()] == [
        "symbols and tables", "sites", "handlers of hyp-stub", "handlers of trans-pgd",
        "handlers of kvm", "callers",
    ]  # fmt: skip
    hcalls = [site for site in said["sites"] if site["kind"] == "hcall"]
    assert {site["place"].partition("+")[0]: site["hcall"] for site in hcalls} == _HCALLS


def test_debians_sites_and_lines_are_those_of_binutils(tell: Tell) -> None:
    path = debian_vmlinux()
    sites = audit(path).sites
    written = {(s.address, s.issues, s.immediate) for s in sites if s.issues != "hvc or smc"}
    assert written == _disassembled(path)
    lines = _lines(path, [site.address for site in sites])
    for site, (file, line) in zip(sites, lines, strict=True):
        if file == "??":
            assert site.source == ""  # code in assembler that no unit has
        else:
            assert f"{file}:{line}".endswith(f"/{site.source}"), site
    known = sum(bool(site.source) for site in sites)
    tell("sites of Debian's kernel", "objdump's, with addr2line's lines",
         f"{len(written)} sites, {known} of {len(sites)} with a line")  # fmt: skip
    assert known > len(sites) * 0.9


def _disassembled(path: Path) -> set[tuple[int, str, int]]:
    argv = [compile.toolchain().tool("objdump"), "-d", "--no-show-raw-insn", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        found = [_ISSUED.match(line) for line in tool.stdout]
    assert tool.returncode == 0
    return {(int(m[1], 16), m[2], int(m[3], 16)) for m in found if m}


def _lines(path: Path, addresses: list[int]) -> list[tuple[str, str]]:
    """Return the file, its path made plain, and the line that addr2line has for each."""
    tool = compile.toolchain().tool("addr2line")
    argv = [tool, "-e", str(path), *(f"{address:#x}" for address in addresses)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    parts = [line.partition(" (")[0].rpartition(":") for line in said.splitlines()]
    return [(posixpath.normpath(file), line) for file, _, line in parts]


def test_the_sites_of_debians_modules_are_those_of_objdump(tmp_path: Path, tell: Tell) -> None:
    """One of its 4,351 modules issues calls itself: arm_smccc_trng. Others have none."""
    (package,) = debian.fetch([f"linux-image-{build_kernel('debian').release}"])
    found: dict[str, int] = {}
    for name in ("arm_smccc_trng", "optee", "af_key"):
        packed, module = tmp_path / f"{name}.ko.xz", tmp_path / f"{name}.ko"
        extract(package.deb, f"*/{packed.name}", packed)
        module.write_bytes(lzma.decompress(packed.read_bytes()))
        sites = audit(module).sites
        written = _disassembled(module)
        assert {(site.issues, site.immediate) for site in sites} == {each[1:] for each in written}
        assert len(sites) == len(written)
        found[name] = len(sites)
    said = ", ".join(f"{name} {count}" for name, count in found.items())
    tell("sites of Debian's modules", "objdump's", said)
    assert found["arm_smccc_trng"] == 2
