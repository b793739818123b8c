# SPDX-License-Identifier: Apache-2.0
"""Small arm64 ELFs, assembled and linked on the spot."""

from __future__ import annotations

from pathlib import Path

from hilagent.build import compile

MACROS = """
	.macro	alternative_entry capability:req, last=664b-663b, other=663b
	.pushsection .altinstructions, "a"
	.word	661b - ., \\other - .
	.hword	\\capability
	.byte	662b-661b, \\last
	.popsection
	.endm
	.macro	alternative old:req, new:req, capability=7
661:	\\old
662:	.subsection 1
663:	\\new
664:	.previous
	alternative_entry \\capability
	.endm
	.macro	called old:req, callback:req
661:	\\old
662:	alternative_entry (1 << 15) | 7, 0, \\callback
	.endm
	.macro	static_key instruction:req, target:req
1:	\\instruction
	.pushsection __jump_table, "aw"
	.align	3
	.long	1b - ., \\target - .
	.quad	key - .
	.popsection
	.endm
	.macro	may_fault instruction:req, fixup:req
1:	\\instruction
	.pushsection __ex_table, "a"
	.align	2
	.long	1b - ., \\fixup - .
	.short	2, 0x3ff
	.popsection
	.endm
"""
"""What the kernel's macros of such names put into its tables (Linux 6.12)."""

SAMPLE = """
	.text
	.globl	__hyp_set_vectors, alt_cb_patch_nops, smccc_patch_fw_mitigation_conduit
	.type	__hyp_set_vectors, %function
__hyp_set_vectors:
	mov	x1, x0
	mov	x0, #0
	hvc	#0
	ret
	.type	patched, %function
patched:
	alternative "mov x2, #1", "mov x2, #2"
	called "b 9f", alt_cb_patch_nops
	called nop, smccc_patch_fw_mitigation_conduit
	static_key nop, 9f
	may_fault "ldr x3, [x1]", 9f
	mov	w0, #0x80000000
	smc	#0
9:	ret
	.type	alt_cb_patch_nops, %function
alt_cb_patch_nops:
	ret
	.type	smccc_patch_fw_mitigation_conduit, %function
smccc_patch_fw_mitigation_conduit:
	ret
	.word	0xd4000002
	.section .init.text, "ax"
	.globl	start
	.type	start, %function
start:
	bl	__hyp_set_vectors
	adrp	x0, table
	add	x0, x0, :lo12:table
	hvc	#0xea1
	ret
	.data
	.align	3
table:	.quad	start, patched
key:	.quad	0
"""
"""Every table, kind of site and relocation in less than a page."""


def assembled(folder: Path, text: str, name: str = "sample.S", *flags: str) -> Path:
    """Return the object of ``text``, which may use ``MACROS`` (not in C)."""
    source = folder / name
    source.write_text(text if name.endswith(".c") else f"{MACROS}\n{text}")
    out = source.with_suffix(".o")
    gcc = compile.toolchain().tool("gcc")
    compile.run([gcc, "-c", "-O2", *flags, source.name, "-o", out.name], folder)
    return out


def linked(
    folder: Path, *objects: Path, name: str = "vmlinux", flags: tuple[str, ...] = ()
) -> Path:
    """Return what the linker makes of the objects: a relocatable kernel, as far as it matters."""
    ld = compile.toolchain().tool("ld")
    options = ("-shared", "-Bsymbolic", "-Ttext=0x1000", "-z", "max-page-size=4096")
    names = [each.name for each in objects]
    compile.run([ld, *(flags or options), *names, "-o", name], folder)
    return folder / name
