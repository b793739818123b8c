# SPDX-License-Identifier: Apache-2.0
"""Kernels of a page or two with hypervisor vectors like Linux's, and ways to break them."""

from __future__ import annotations

from pathlib import Path

from hilagent.build import compile

from .objects import assembled, linked

TEXT = 0xFFFF800080010000
PAGE = 0x1000

_COMMON = """
#ifndef BANNER
#define BANNER "Linux version 6.12.9-lab (us@lab)"
#endif
#ifndef UNKNOWN
#define UNKNOWN
#endif
#ifndef EVERY
#define EVERY
#endif
#ifndef LAST
#define LAST invalid
#endif
	.macro	entry label
	.balign	0x80
	b	\\label
	.endm
	.macro	table sync
	.irp	n, 0, 1, 2, 3
	entry	invalid
	.endr
	entry	\\sync
	.irp	n, 5, 6, 7
	entry	invalid
	.endr
	entry	\\sync
	.irp	n, 9, 10, 11
	entry	invalid
	.endr
	.irp	n, 12, 13, 14
	entry	invalid
	.endr
	entry	LAST
	.endm
	.macro	error
	mov	x0, #0xca11
	movk	x0, #0xbad, lsl #16
	.endm

	.text
	.globl	__hyp_stub_vectors, trans_pgd_stub_vectors
	.balign	0x1000
	.space	0x800		/* another's */
before:	b	.
	.balign	0x1000
#ifdef MISALIGNED
	.space	0x40
#endif
__hyp_stub_vectors:
	table	elx_sync
	.balign	0x800
"""

_AFTER = """
	.type	__finalise_el2, %function
__finalise_el2:
#ifndef FINALISE_IGNORED
	adrp	x1, override
	ldr	x1, [x1, :lo12:override]
	cbz	x1, 1f
	msr	hcr_el2, x1
	b	enter_vhe
1:
#endif
	error
	eret
	.type	invalid, %function
invalid:
	b	.
	.balign	8
	.ltorg

	.balign	0x800
trans_pgd_stub_vectors:
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	.balign	0x80
	b	.
	.endr
	.balign	0x80
el1_sync:
	copy
	.irp	n, 9, 10, 11, 12, 13, 14, 15
	.balign	0x80
	b	.
	.endr
	.balign	0x800

	.section .idmap.text, "ax"
	.space	0x20000
	.type	enter_vhe, %function
enter_vhe:
	eret
#ifdef COMPILED
	.file	"compiled.c"
	.type	compiled, %function
compiled:
	ret
#endif
#ifdef SHADOW
	.globl	irq_shadow_call_stack_ptr
irq_shadow_call_stack_ptr:
	nop
#endif
	.data
	.balign	0x1000
override:
	.quad	0
#ifndef NO_BANNER
	.globl	linux_banner
linux_banner:
	.asciz	BANNER
#endif
	.globl	_text, _end
	.set	_text, __hyp_stub_vectors - 0x1000
	.balign	0x1000
_end:
"""

X0 = (
    """
#ifndef SET
#define SET 0
#endif
#ifndef RESTART
#define RESTART 1
#endif
#ifndef RESET
#define RESET 2
#endif
#ifndef FINALISE
#define FINALISE 3
#endif
#ifndef SELECTOR
#define SELECTOR x0
#endif
"""
    + _COMMON
    + """
	.type	elx_sync, %function
elx_sync:
	EVERY
	cmp	SELECTOR, #SET
	b.ne	1f
#ifndef SET_IGNORED
	msr	vbar_el2, x1
#endif
	b	9f
1:	cmp	SELECTOR, #FINALISE
	b.eq	__finalise_el2
	cmp	SELECTOR, #RESTART
	b.ne	2f
	mov	x0, x2
	mov	x2, x4
	mov	x4, x1
	mov	x1, x3
	br	x4
2:	cmp	SELECTOR, #RESET
	b.eq	9f
	UNKNOWN
	error
	eret
9:	mov	x0, xzr
	eret
	.macro	copy
	cmp	x0, #SET
	b.ne	1f
	msr	vbar_el2, x1
	mov	x0, xzr
	eret
1:	cmp	x0, #RESTART
	b.ne	2f
	mov	x0, x2
	mov	x2, x4
	mov	x4, x1
	mov	x1, x3
	br	x4
2:	error
	eret
	.endm
"""
    + _AFTER
)
"""Speaks ``x0-mainline``. -D: a number (SET=4), SELECTOR=w0, SET_IGNORED, FINALISE_IGNORED,
EVERY and UNKNOWN (an instruction where every, or an unknown, hcall comes by), LAST (what the
last entry branches to), SHADOW, COMPILED (a function of C), BANNER, NO_BANNER, MISALIGNED."""

ISS = (
    """
#ifndef SCRATCH
#define SCRATCH x18
#endif
#ifndef GET
#define GET 1
#endif
#ifndef SET
#define SET 2
#endif
#ifndef FINALISE
#define FINALISE 6
#endif
#ifndef CALL
#define CALL blr x17
#endif
"""
    + _COMMON
    + """
	.macro	immediate
	msr	far_el2, x17
	mrs	x17, esr_el2
	ubfx	x17, x17, #26, #6
	cmp	x17, #0x16
	b.ne	.
	mrs	x17, esr_el2
	and	x17, x17, #0xffff
	.endm
	.macro	moved
	mov	x17, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	.endm
	.type	elx_sync, %function
elx_sync:
	immediate
	EVERY
	cbz	x17, 3f
	cmp	x17, #SET
	b.ne	1f
	msr	vbar_el2, x0
	eret
1:	cmp	x17, #4
	b.ne	2f
	moved
	br	x17
2:	cmp	x17, #FINALISE
	b.eq	__finalise_el2
	cmp	x17, #5
	b.ne	4f
	mov	x0, xzr
	eret
4:	cmp	x17, #GET
	b.ne	5f
	mrs	x0, vbar_el2
	eret
5:	cmp	x17, #3
	b.ne	6f
	mov	SCRATCH, x30
	moved
	CALL
	mov	x30, SCRATCH
	eret
3:	mrs	x17, far_el2
6:	UNKNOWN
	error
	eret
	.macro	copy
	immediate
	cmp	x17, #SET
	b.ne	1f
	msr	vbar_el2, x0
	eret
1:	cmp	x17, #4
	b.ne	2f
	moved
	br	x17
2:	error
	eret
	.endm
"""
    + _AFTER
)
"""Speaks ``iss-6.12``; SCRATCH=x16 for its variant. -D as of ``X0``, with GET
and CALL (how a function is called)."""


def kernel(folder: Path, source: str, *defines: str, name: str = "vmlinux") -> Path:
    """Return a kernel of ``source``, assembled with these macros and linked where Linux is."""
    flags = [f"-D{each}" for each in defines]
    made = assembled(folder, source, "kernel.S", *flags)
    where = (f"-Ttext={TEXT:#x}", "-e", "0", "-z", "max-page-size=4096")
    return linked(folder, made, name=name, flags=where)


def stripped(path: Path) -> Path:
    """Return the kernel without its symbols."""
    out = path.with_name("stripped")
    compile.run([_tool("objcopy"), "--strip-all", path.name, out.name], path.parent)
    return out


def flat(path: Path) -> tuple[Path, Path]:
    """Return an Image of a kernel, and its System.map."""
    image, listing = path.with_name("Image"), path.with_name("System.map")
    compile.run([_tool("objcopy"), "-O", "binary", path.name, image.name], path.parent)
    names = compile.run([_tool("nm"), "-n", path.name], path.parent)
    named = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
    data = bytearray(image.read_bytes())
    data[16:24] = (named["_end"] - named["_text"]).to_bytes(8, "little")
    data[56:60] = b"ARM\x64"
    image.write_bytes(data)
    listing.write_text("".join(f"{line}\n" for line in names.splitlines() if " $" not in line))
    return image, listing


def _tool(name: str) -> str:
    return compile.toolchain().tool(name)
