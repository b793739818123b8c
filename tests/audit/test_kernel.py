# SPDX-License-Identifier: Apache-2.0
"""A whole kernel audited: recognised, held against its contract, and shown."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from hilagent import cli
from hilagent.audit.kernel import Audit, audit
from hilagent.build.progress import Progress
from hilagent.elf.mapped import open_kernel
from hilagent.report import code
from tests.elf.kernels import ISS, X0, flat, kernel, stripped
from tests.elf.objects import assembled, linked


def audited(folder: Path, source: str, *defines: str) -> Audit:
    return audit(kernel(folder, source, *defines))


@pytest.mark.parametrize(
    ("source", "profile"), [(ISS, "iss-6.12"), (X0, "x0-mainline")], ids=["iss", "x0"]
)
def test_a_sound_kernel_breaks_nothing(tmp_path: Path, source: str, profile: str) -> None:
    done = audited(tmp_path, source)
    assert done.profile is not None
    assert done.profile.name == profile
    assert [server.name for server in done.servers] == ["hyp-stub", "trans-pgd"]
    assert [str(each) for each in done.findings] == []
    assert code.text(done, "vmlinux").startswith("PASS  vmlinux\n")


@pytest.mark.parametrize(
    ("source", "defines", "found"),
    [
        (ISS, ("EVERY=mov x16, x17",), ("clobber", "HVC_GET_VECTORS", "x16")),
        (ISS, ("SHADOW",), ("clobber", "HVC_CALL_FUNC", "x18")),
        (ISS, ("GET=7",), ("result", "HVC_GET_VECTORS", "x0")),
        (X0, ("SET_IGNORED",), ("dispatch", "HVC_SET_VECTORS", "effect")),
        (X0, ("SET=4",), ("dispatch", "HVC_SET_VECTORS", "effect")),
        (ISS, ("FINALISE_IGNORED",), ("dispatch", "HVC_FINALISE_EL2", "effect")),
        (X0, ("FINALISE_IGNORED",), ("dispatch", "HVC_FINALISE_EL2", "effect")),
        (ISS, ("EVERY=msr daifclr, #3",), ("entry-daif", "HVC_SOFT_RESTART", "PSTATE.DAIF")),
        (ISS, ("EVERY=msr daif, x5",), ("entry-daif", "HVC_SOFT_RESTART", "PSTATE.DAIF")),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_is_wrong_is_accused(
    tmp_path: Path, source: str, defines: tuple[str, ...], found: tuple[str, str, str]
) -> None:
    done = audited(tmp_path, source, *defines)
    said = [(each.rule, each.hcall, each.what) for each in done.findings]
    assert found in said
    shown = code.text(done, "vmlinux")
    assert shown.startswith("FAIL  vmlinux\n")
    assert f"{found[0]}  {found[1]} by hyp-stub" in shown


def test_a_mask_at_el2_is_no_clobber_of_the_callers(tmp_path: Path) -> None:
    """What an ``eret`` gives back is in SPSR_EL2."""
    done = audited(tmp_path, ISS, "EVERY=msr daifclr, #3; msr daifset, #3; msr nzcv, x5")
    assert [str(each) for each in done.findings] == []


def test_the_abi_that_is_asked_for_is_the_one(tmp_path: Path) -> None:
    done = audit(kernel(tmp_path, ISS), profile="iss-6.12-scs")
    assert ("HVC_CALL_FUNC", "x18") in [(each.hcall, each.what) for each in done.findings]


def test_every_line_fits_a_terminal(tmp_path: Path) -> None:
    shown = code.text(audited(tmp_path, ISS, "EVERY=mov x16, x17"), "vmlinux")
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_the_command_says_it_and_its_exit_code_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = kernel(tmp_path, ISS)
    assert cli.main(["audit", str(sound)]) == 0
    assert "no breach of iss-6.12" in capsys.readouterr().out
    assert cli.main(["audit", "--json", "mutant:get_clobbers_x19"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["rule"], found["hcall"], found["what"]) == ("clobber", "HVC_GET_VECTORS", "x19")
    assert cli.main(["audit", "reference-kvm", "--abi", "iss-6.12"]) == 0


def test_debians_own_kernel_is_fetched_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetched(*, progress: Progress) -> Path:
        progress(1, 2, "of it fetched")
        return kernel(tmp_path, X0)

    monkeypatch.setattr("hilagent.cli.audit.debian_vmlinux", fetched)
    assert cli.main(["audit", "debian"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("PASS  debian\n")
    monkeypatch.chdir(tmp_path)
    kernel(tmp_path, ISS).rename(tmp_path / "debian")
    assert cli.main(["audit", "debian"]) == 0
    assert "iss-6.12" in capsys.readouterr().out


def test_garbage_is_collected_again_after_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[bool] = []

    def looks(path: Path, **how: Any) -> Audit:
        during.append(gc.isenabled())
        return audit(path, **how)

    monkeypatch.setattr("hilagent.cli.audit.look_at", looks)
    assert cli.main(["audit", str(kernel(tmp_path, ISS))]) == 0
    assert (during, gc.isenabled()) == ([False], True)


def test_a_kernel_without_symbols_needs_its_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Image").write_bytes(bytes(56) + b"ARM\x64" + bytes(4))
    assert cli.main(["audit", str(tmp_path / "Image")]) == 2
    assert "System.map" in capsys.readouterr().err


def test_a_plus_in_a_kernels_name_isnt_taken_for_a_system_map(tmp_path: Path) -> None:
    path = kernel(tmp_path, ISS).rename(tmp_path / "vmlinux-6.12.117+deb12-arm64")
    assert cli.main(["audit", str(path)]) == 0


def test_a_stripped_kernel_is_given_with_its_map(tmp_path: Path) -> None:
    path = kernel(tmp_path, ISS)
    _, listing = flat(path)
    assert cli.main(["audit", f"{stripped(path)}+{listing}"]) == 0


def test_without_symbols_it_says_what_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", str(stripped(kernel(tmp_path, ISS)))]) == 2
    said = capsys.readouterr().err
    assert "it has no symbols" in said
    assert "IMAGE+SYSTEM.MAP" in said


_MISTAKEN = """
	.text
	.globl	_text, _end, _etext, __hyp_stub_vectors
	.balign	0x1000
_text:
	.globl	f, g
	.type	f, %function
f:	hvc	#2
	ret
	.size	f, . - f
	.type	g, %function
g:	stp	x29, x30, [sp, #-16]!
	bl	f
	ENDS
	.size	g, . - g
	.balign	0x1000
_etext:
	.data
	.balign	0x1000
	mov	x0, x17		/* no instruction, though it looks like a call and a read */
	bl	f
	mov	x0, x17
	.balign	0x1000
_end:
"""


@pytest.mark.parametrize(
    ("ends", "x17"),
    [("mov x17, #0; ldp x29, x30, [sp], #16; ret", "may be live"),
     ("mov x0, x17; ldp x29, x30, [sp], #16; ret", "may be live")],
)  # fmt: skip
def test_nobody_is_accused_by_an_image(tmp_path: Path, ends: str, x17: str) -> None:
    """Its symbols tell neither data in code nor units, so that no standard is sure to hold."""
    made = assembled(tmp_path, _MISTAKEN, "image.S", f"-DENDS={ends}")
    path = linked(tmp_path, made, flags=("-Ttext=0xffff800080010000", "-e", "0"))
    image, listing = flat(path)
    done = audit(image, system_map=listing, profile="iss-6.12")
    (caller,) = done.callers
    assert caller.registers["x17"].state == x17
    assert done.relied_on == ()


def test_data_of_an_image_is_no_code(tmp_path: Path) -> None:
    made = assembled(tmp_path, _MISTAKEN, "image.S", "-DENDS=ret")
    path = linked(tmp_path, made, flags=("-Ttext=0xffff800080010000", "-e", "0"))
    image, listing = flat(path)
    elf = open_kernel(image, listing)
    assert [(s.address, s.end) for s in elf.code] == [(0xFFFF800080010000, 0xFFFF800080011000)]
    assert elf.at(0xFFFF800080011000) is not None


def test_what_is_no_kernel_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF" + bytes(100))
    assert cli.main(["audit", str(tmp_path / "vmlinux")]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "vmlinux") in said
    assert "Traceback" not in said


def test_code_that_can_not_be_followed_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kernel(tmp_path, ISS, "EVERY=.inst 0xc8df7c34")
    assert cli.main(["audit", str(path), "--abi", "iss-6.12"]) == 125
    said = capsys.readouterr().out
    assert said.startswith("UNFINISHED")
    assert "could not be followed to their end" in said


@pytest.mark.parametrize(
    ("text", "writes", "accused"),
    [
        ("smc #0", "x3", False),  # firmware may have kept it
        ("mov x18, x30; bl 7f; mov x30, x18; b 8f; 7: mov x20, #1; ret; 8:", "x20", True),
    ],
)
def test_calls_in_a_handler_are_followed(
    tmp_path: Path, text: str, writes: str, accused: bool
) -> None:
    done = audit(kernel(tmp_path, ISS, f"UNKNOWN={text}"), profile="iss-6.12")
    assert writes in {name for each in done.servers[0].served for name in each.writes}
    assert (writes in {each.what for each in done.findings}) is accused


def test_one_of_two_calls_is_missing(tmp_path: Path) -> None:
    done = audited(tmp_path, ISS, "CALL=cbz x5, 66f; blr x17; 66:")
    said = [(each.rule, each.hcall) for each in done.findings]
    assert ("dispatch", "HVC_CALL_FUNC") in said
    twice = audited(tmp_path, ISS, "CALL=blr x17; blr x17")
    assert ("dispatch", "HVC_CALL_FUNC") in [(e.rule, e.hcall) for e in twice.findings]


@pytest.mark.parametrize(("magic", "tool"), [("fd377a58", "unxz"), ("1f8b", "gunzip")])
def test_what_is_compressed_is_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], magic: str, tool: str
) -> None:
    (tmp_path / "trng.ko.xz").write_bytes(bytes.fromhex(magic) + bytes(100))
    assert cli.main(["audit", str(tmp_path / "trng.ko.xz")]) == 2
    assert f"it is compressed; unpack it ({tool})" in capsys.readouterr().err


def test_the_payloads_own_vectors_are_audited(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "payload", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [server["name"] for server in said["servers"]] == ["hyp-stub", "kvm"]
    for server in said["servers"]:
        named = {each["hcall"]: set(each["writes"]) for each in server["hcalls"]}
        assert named["HVC_GET_VECTORS"] == {"x0", "x17", "x18"}
        assert len(server["entries"]) == 1


def test_a_module_has_sites_and_no_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = assembled(tmp_path, "\t.text\nf:\tmov x0, #7\n\thvc #5\n\tret\n", "module.S")
    assert cli.main(["audit", str(module), "--abi", "iss-6.12"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("----")
    assert "no vectors in it; its hcalls by iss-6.12" in said
    assert "hvc #0x5  HVC_RESET_VECTORS" in said


_CALLER = """
	.text
	.globl	__hyp_set_vectors
	.type	__hyp_set_vectors, %function
__hyp_set_vectors:
	hvc	#2
	AFTER
	ret
	.size	__hyp_set_vectors, . - __hyp_set_vectors
"""


@pytest.mark.parametrize(
    ("after", "x17", "code_"),
    [
        ("add x0, x0, x17", "live", 1),
        ("mov x17, #0", "dead", 0),
        ("mov x17, #0; mov x18, #0", "dead", 0),
        ("br x9", "may be live", 0),
    ],
)
def test_who_relies_on_what_is_given_away(
    tmp_path: Path, after: str, x17: str, code_: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kernel(tmp_path, ISS + _CALLER.replace("AFTER", after))
    (caller,) = audit(path).callers
    assert (caller.site.hcall, list(caller.registers)) == ("HVC_SET_VECTORS", ["x17", "x18"])
    assert caller.registers["x17"].state == x17
    assert cli.main(["audit", str(path)]) == code_
    said = capsys.readouterr().out
    assert ("caller  HVC_SET_VECTORS, at __hyp_set_vectors" in said) == (x17 == "live")
    assert f"x17 {x17}" in said
