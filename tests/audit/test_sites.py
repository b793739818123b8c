# SPDX-License-Identifier: Apache-2.0
"""Every hvc and smc is found, and said to be what it is."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent import abi
from hilagent.audit.patches import read_patches
from hilagent.audit.sites import MOST_SITES, Site, find_sites, unaccounted
from hilagent.build import compile
from hilagent.build.kernel import Kernel, cached
from hilagent.elf import Elf, Section, open_elf
from hilagent.errors import InputError
from tests.elf.objects import SAMPLE, assembled, linked

X0, ISS = abi.load("x0-mainline"), abi.load("iss-6.12")


def _sites(
    folder: Path, text: str, profile: abi.Profile | None = X0, *flags: str
) -> tuple[Site, ...]:
    elf = open_elf(linked(folder, assembled(folder, f"\t.text\n{text}", "sample.S", *flags)))
    return find_sites(elf, read_patches(elf), profile)


def _site(folder: Path, text: str, profile: abi.Profile | None = X0) -> Site:
    (site,) = _sites(folder, text, profile)
    return site


def test_the_sample_has_each_kind_in_its_place(tmp_path: Path) -> None:
    sites = _sites(tmp_path, SAMPLE, X0, "-g")
    assert [(e.place, e.issues, e.immediate, e.kind, e.hcall) for e in sites] == [
        ("__hyp_set_vectors+0x8", "hvc", 0, "hcall", "HVC_SET_VECTORS"),
        ("patched+0x8", "hvc or smc", 0, "smccc", ""),
        ("patched+0x18", "smc", 0, "smccc", ""),
        ("start+0xc", "hvc", 0xEA1, "xen", ""),
    ]
    assert {each.unit for each in sites} == {"sample.o"}
    lines = (tmp_path / "sample.S").read_text().splitlines()
    for each in sites:
        file, _, line = each.source.rpartition(":")
        assert file == "sample.S"
        assert re.search(r"hvc|smc", lines[int(line) - 1])
    assert "written at boot by smccc_patch_fw_mitigation_conduit" in sites[1].patched
    assert [each.patched for each in sites if each is not sites[1]] == ["", "", ""]


def _made(code: memoryview, address: int) -> Elf:
    text = Section(
        1, ".text", "SHT_PROGBITS", address, len(code), code, executable=True, loaded=True
    )
    return Elf(Path("made"), "vmlinux", (text,))


@given(st.integers(0, 0xFFFF), st.booleans(), st.integers(0, 6))
def test_every_immediate_is_found_at_every_place(imm: int, smc: bool, before: int) -> None:
    word = 0xD4000002 | imm << 5 | smc
    nops = 0xD503201F.to_bytes(4, "little")
    data = memoryview(nops * before + word.to_bytes(4, "little") + nops * 2)
    elf = _made(data, 0x1000)
    (site,) = find_sites(elf, read_patches(elf), X0)
    found = (site.address, site.issues, site.immediate)
    assert found == (0x1000 + 4 * before, "smc" if smc else "hvc", imm)


@given(st.integers(0, (1 << 32) - 1) | st.integers(0xD400_0000, 0xD47F_FFFF))
def test_no_other_word_is_a_site(word: int) -> None:
    elf = _made(memoryview(word.to_bytes(4, "little")), 0)
    is_one = word >> 21 == 0xD4000000 >> 21 and word & 0x1F in (2, 3)
    assert len(find_sites(elf, read_patches(elf), X0)) == is_one


def test_words_that_are_data_or_no_code_are_none(tmp_path: Path) -> None:
    text = "\tret\n\t.word 0xd4000002\n\tsvc #0\n\tbrk #0\n\t.data\n\t.word 0xd4000002\n"
    assert _sites(tmp_path, text) == ()


@pytest.mark.parametrize(
    ("before", "kind", "number"),
    [
        ("mov x0, #0", "hcall", 0),
        ("mov w0, #1", "hcall", 1),
        ("mov x0, xzr", "hcall", 0),
        ("mov x0, #3; mov x1, #7; str x1, [sp]", "hcall", 3),
        ("mov x0, #0xc6000000; movk x0, #5", "kvm", 0xC6000005),
        ("mov x0, #9; movk x0, #0xc600, lsl #16", "kvm", 0xC6000009),
        ("mov w0, #0x80000000", "smccc", 0x80000000),
        ("mov w0, #0x84000000", "smccc", 0x84000000),
        ("mov w0, #0x8600ff01 & 0xffff; movk w0, #0x8600, lsl #16", "smccc", 0x8600FF01),
        ("orr w0, wzr, #0x80000001", "smccc", 0x80000001),
        ("mov x0, #0x77", "unknown", 0x77),
        ("mov x0, #1 << 40", "unknown", 1 << 40),
        ("movn x0, #0", "unknown", (1 << 64) - 1),
        ("mov x0, #1; add x0, x0, #1", "unknown", None),
        ("mov x0, #1; ldr x0, [x1]", "unknown", None),
        ("mov x0, #1; ldp x1, x0, [x1]", "unknown", None),
        ("mov x0, #1; ldr x1, [x0], #8", "unknown", None),
        ("mov x0, #1; bl 1f; 1:", "unknown", None),
        ("mov x0, #1; blr x5", "unknown", None),
        ("mov x0, #1; svc #0", "unknown", None),
        ("mov x0, #1; ldadd x1, x0, [x2]", "unknown", None),
        ("mov x0, #1; swpal x1, x0, [x2]", "unknown", None),
        ("mov x0, #1; cas x0, x1, [x2]", "unknown", None),
        ("mov x0, #1; casal w0, w1, [x2]", "unknown", None),
        ("mov x0, #1; casp x0, x1, x2, x3, [x4]", "unknown", None),
        ("mov x0, #1; ldclrh w5, w0, [x2]", "unknown", None),
        ("mov x0, #1; stxr w0, x1, [x2]", "unknown", None),
        ("mov x0, #1; mrs x0, ctr_el0", "unknown", None),
        ("mov x0, #1; ret", "unknown", None),
        ("mov x0, #1; brk #1", "unknown", None),
        ("mov x0, x1", "unknown", None),
        ("movk x0, #1", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_x0_is_read_where_it_is_a_constant(
    tmp_path: Path, before: str, kind: str, number: int | None
) -> None:
    site = _site(tmp_path, f"\t.arch armv8.1-a\n\tret\nf:\t{before}\n\thvc\t#0\n\tret\n")
    assert (site.kind, site.number) == (kind, number), site.evidence
    assert number is None or f"{number:#x}" in site.evidence


def test_a_constant_kept_in_a_saved_register_is_followed(tmp_path: Path) -> None:
    text = """
f:	str	x25, [sp, #-16]!
	mov	x25, #10
	movk	x25, #0xc600, lsl #16
1:	mov	x0, x25
	hvc	#0
	cbnz	x1, 1b
	ldr	x25, [sp], #16
	ret
"""
    site = _site(tmp_path, text)
    assert (site.kind, site.number) == ("kvm", 0xC600000A)
    assert _site(tmp_path, text.replace("cbnz	x1, 1b", "mov x25, #1")).number is None
    assert _site(tmp_path, text.replace("cbnz	x1, 1b", "add x25, x25, #1")).number is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mov x0, #1; cbz x1, 9f; mov x2, #3; 9: hvc #0; ret", ", on one path)"),
        ("cbz x1, 9f; mov x0, #1; mov x2, #3; 9: hvc #0; ret", ", on one path)"),
        ("9: mov x0, #1; mov x2, #3; hvc #0; cbz x1, 9b; ret", "):"),
        ("mov x0, #1; hvc #0; b 9f; 9: ret", "):"),
        ("mov x0, #1; mov x2, #3; 9: hvc #0; static_key nop, 9b; ret", ", on one path)"),
        ('called "mov x0, #1", writer; hvc #0; writer: ret', ", if it isn't changed at boot)"),
        (
            'mov x0, #1; alternative nop, "mov x0, #2"; hvc #0; ret',
            ", if it isn't changed at boot)",
        ),
    ],
)
def test_a_path_that_comes_in_between_is_told(tmp_path: Path, text: str, said: str) -> None:
    lines = text.replace("; ", "\n\t")
    site = _site(tmp_path, f"f:\t{lines}\n\t.data\n\t.align 3\nkey:\t.quad 0\n")
    assert re.search(r"\(set at 0x[0-9a-f]+" + re.escape(said), site.evidence)


@pytest.mark.parametrize(
    ("text", "profile", "kind", "hcall", "evidence"),
    [
        (
            "f: hvc #2; ret",
            ISS,
            "hcall",
            "HVC_SET_VECTORS",
            "hvc #2 is HVC_SET_VECTORS in iss",
        ),
        ("f: mov x0, #0; hvc #4; ret", ISS, "hcall", "HVC_SOFT_RESTART", "hvc #4"),
        ("f: hvc #9; ret", ISS, "unknown", "", "hvc #0x9: no immediate of iss-6.12"),
        ("f: hvc #2; ret", X0, "unknown", "", "hvc #0x2: no immediate of x0-mainline"),
        ("f: smc #2; ret", ISS, "unknown", "", "smc #0x2: no immediate"),
        ("f: smc #0xea1; ret", ISS, "unknown", "", "smc #0xea1"),
        ("f: mov x0, #2; hvc #0; ret", ISS, "unknown", "", "no hcall of iss-6.12"),
        ("f: hvc #0; ret", ISS, "smccc", "", "what is in x0 can't be told"),
        ("f: smc #0; ret", X0, "smccc", "", "what is in x0 can't be told"),
        ("f: mov x0, #2; smc #0; ret", X0, "smccc", "", "smc #0: a conduit; x0 is 0x2"),
        ("__arm_smccc_hvc: mov x0, #1; hvc #0; ret", X0, "smccc", "", "a conduit that is called"),
        ("__kvm_nvhe___arm_smccc_smc: smc #0; ret", X0, "smccc", "", "a conduit that is called"),
        ("cpu_soft_restart: hvc #0; ret", X0, "hcall", "", "which one can't be told"),
        ("pkvm_guest: mov x0, #0xc6000000; hvc #0; ret", X0, "smccc", "", "vendor hypervisor"),
    ],
)
def test_each_kind_has_its_evidence(
    tmp_path: Path, text: str, profile: abi.Profile, kind: str, hcall: str, evidence: str
) -> None:
    site = _site(tmp_path, f"{text}\n", profile)
    assert (site.kind, site.hcall) == (kind, hcall)
    assert evidence in site.evidence


def test_without_a_profile_the_abi_is_what_a_known_function_uses(tmp_path: Path) -> None:
    text = "__hyp_set_vectors: hvc #2; ret\n"
    assert _site(tmp_path, text, None).evidence.endswith("HVC_SET_VECTORS in iss-6.12")
    other = "__hyp_set_vectors: mov x0, #0; hvc #0; ret\n"
    assert _site(tmp_path, other, None).evidence.endswith("HVC_SET_VECTORS in x0-mainline")


def test_a_site_in_a_replacement_is_told_where_it_runs(tmp_path: Path) -> None:
    text = 'f:\tnop\n\talternative nop, "smc #0", 42\n\tret\ng:\tret\n'
    site = _site(tmp_path, text)
    assert site.runs_at != site.address
    assert site.place == "f+0x4"
    assert site.patched == f"replaces {site.runs_at:#x} with capability 42"


def test_a_site_that_may_be_replaced_is_told_by_what(tmp_path: Path) -> None:
    site = _site(tmp_path, 'f:\talternative "hvc #0", nop, 42\n\tret\n')
    assert site.runs_at == site.address
    assert re.fullmatch(r"replaced by 0x[0-9a-f]+ with capability 42", site.patched)


def test_callbacks_that_may_write_anything_are_listed(tmp_path: Path) -> None:
    text = """
	.text
f:	called nop, writer
	called nop, alt_cb_patch_nops
	called nop, smccc_patch_fw_mitigation_conduit
	ret
writer:	ret
alt_cb_patch_nops: ret
smccc_patch_fw_mitigation_conduit: ret
"""
    patches = read_patches(open_elf(linked(tmp_path, assembled(tmp_path, text))))
    assert [each.callback for each in unaccounted(patches)] == [("writer",)]


def test_a_module_is_read_like_a_kernel(tmp_path: Path) -> None:
    elf = open_elf(assembled(tmp_path, SAMPLE))
    sites = find_sites(elf, read_patches(elf), X0)
    assert [each.kind for each in sites] == ["hcall", "smccc", "smccc", "xen"]


def test_more_sites_than_any_kernel_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"more than {MOST_SITES} hvc and smc"):
        _sites(tmp_path, f"\t.rept {MOST_SITES + 1}\n\thvc #0\n\t.endr\n")


def _kernel(name: str) -> Kernel:
    found = cached(name)
    if found is None or found.vmlinux is None:
        pytest.skip(f"no kernel '{name}' was built here")
    return found


def _disassembled(path: Path) -> set[tuple[int, str, int]]:
    tool = compile.toolchain().tool("objdump")
    said = compile.run([tool, "-d", "--no-show-raw-insn", str(path)], path.parent)
    line = re.compile(r"^\s*([0-9a-f]+):\s+(hvc|smc)\s+#0x([0-9a-f]+)", re.MULTILINE)
    return {(int(m[1], 16), m[2], int(m[3], 16)) for m in line.finditer(said)}


def _in_file(sites: Sequence[Site]) -> set[tuple[int, str, int]]:
    return {(s.address, s.issues, s.immediate) for s in sites if s.issues != "hvc or smc"}


@pytest.mark.parametrize("name", ["patched", "unpatched", "scs"])
def test_a_kernels_sites_are_those_that_objdump_shows(name: str) -> None:
    path = _kernel(name).vmlinux
    assert path is not None
    started = time.monotonic()
    elf = open_elf(path)
    sites = find_sites(elf, read_patches(elf))
    took = time.monotonic() - started
    assert _in_file(sites) == _disassembled(path)
    assert took < 15, "seconds; 1.0 on an idle host"
    assert {"hcall", "smccc", "kvm"} <= {each.kind for each in sites}


def test_an_unpatched_kernels_hcalls_are_named_one_by_one() -> None:
    path = _kernel("unpatched").vmlinux
    assert path is not None
    elf = open_elf(path)
    hcalls = {e.function: e.hcall for e in find_sites(elf, read_patches(elf)) if e.kind == "hcall"}
    assert hcalls == {
        "__hyp_set_vectors": "HVC_SET_VECTORS", "__hyp_reset_vectors": "HVC_RESET_VECTORS",
        "finalise_el2": "HVC_FINALISE_EL2", "swsusp_arch_suspend_exit": "HVC_SET_VECTORS",
        "arm64_relocate_new_kernel": "HVC_SOFT_RESTART", "cpu_soft_restart": "HVC_SOFT_RESTART",
    }  # fmt: skip
