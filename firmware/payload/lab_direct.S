/* SPDX-License-Identifier: Apache-2.0 */
/* A comparison that is quick enough for each hvc, and the EL1 code of a DIRECT job. */
#include "lab_save.h"

	.text
	.balign	4
/*
 * uint32_t lab_differs(const void *a, const void *b, uint64_t size).
 * In: x0, x1 16-byte aligned, x2 a multiple of 32. Out: w0 = 0 if they are the
 * same. Clobbers: x0-x3, v0-v4, NZCV.
 */
	.globl	lab_differs
	.type	lab_differs, %function
lab_differs:
	movi	v4.2d, #0
1:	ldp	q0, q1, [x0], #32
	ldp	q2, q3, [x1], #32
	eor	v0.16b, v0.16b, v2.16b
	eor	v1.16b, v1.16b, v3.16b
	orr	v4.16b, v4.16b, v0.16b
	orr	v4.16b, v4.16b, v1.16b
	subs	x2, x2, #32
	b.ne	1b
	mov	x0, v4.d[0]
	mov	x3, v4.d[1]
	orr	x0, x0, x3
	cmp	x0, #0
	cset	w0, ne
	ret

/*
 * Template of the EL1 code of a DIRECT job, copied to the CPU's page of
 * code with its two hvc patched: no help from EL2 until the second one.
 * In: the register file under test. Changes TPIDR_EL1, then everything.
 */
	.section .rodata
	.balign	4
	.globl	lab_direct_code
lab_direct_code:
	hvc	#0
	msr	tpidr_el1, x0
	adr	x0, lab_direct_code - LAB_DIRECT - PCPU_CODE + PCPU_SAVE + SAVE_DIRECT
	stp	x2, x3, [x0, #(FRAME_X + 0x10)]
	stp	x4, x5, [x0, #(FRAME_X + 0x20)]
	stp	x6, x7, [x0, #(FRAME_X + 0x30)]
	stp	x8, x9, [x0, #(FRAME_X + 0x40)]
	stp	x10, x11, [x0, #(FRAME_X + 0x50)]
	stp	x12, x13, [x0, #(FRAME_X + 0x60)]
	stp	x14, x15, [x0, #(FRAME_X + 0x70)]
	stp	x16, x17, [x0, #(FRAME_X + 0x80)]
	stp	x18, x19, [x0, #(FRAME_X + 0x90)]
	stp	x20, x21, [x0, #(FRAME_X + 0xa0)]
	stp	x22, x23, [x0, #(FRAME_X + 0xb0)]
	stp	x24, x25, [x0, #(FRAME_X + 0xc0)]
	stp	x26, x27, [x0, #(FRAME_X + 0xd0)]
	stp	x28, x29, [x0, #(FRAME_X + 0xe0)]
	str	x30, [x0, #(FRAME_X + 0xf0)]
	str	x1, [x0, #(FRAME_X + 0x08)]
	mov	x1, sp
	str	x1, [x0, #0xf8]
	mrs	x1, nzcv
	mrs	x2, daif
	orr	x1, x1, x2
	mrs	x2, currentel
	orr	x1, x1, x2
	mrs	x2, spsel
	orr	x1, x1, x2
	str	x1, [x0, #0x100]
	mrs	x1, tpidr_el1
	str	x1, [x0, #FRAME_X]
	mov	w1, #1
	str	x1, [x0, #0x108]
	ldr	x1, [x0, #0x118]
	ldr	x0, [x0, #0x110]
	dsb	sy
	.globl	lab_direct_home
lab_direct_home:
	hvc	#0
	brk	#BRK_STUB
	.globl	lab_direct_end
lab_direct_end:
