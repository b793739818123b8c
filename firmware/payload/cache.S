/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache maintenance by address to the point of coherency; contract in cache.h.
 * The line size is CTR_EL0.DminLine, the smallest of all data caches.
 * No stack. Safe with the MMU and caches on or off, at any exception level.
 */

/* In: x0 start, x1 size. Out: x0 first line, x1 end, x2 line size. Clobbers: x3. */
.macro lines
	add	x1, x0, x1
	mrs	x3, ctr_el0
	ubfx	x3, x3, #16, #4
	mov	x2, #4
	lsl	x2, x2, x3
	sub	x3, x2, #1
	bic	x0, x0, x3
.endm

/* In: x0 start, x1 size. Clobbers: x0-x3, flags. */
	.section .text.cache_before_write, "ax"
	.global cache_before_write
	.type cache_before_write, %function
cache_before_write:
	cbz	x1, 2f
	lines
1:	dc	civac, x0
	add	x0, x0, x2
	cmp	x0, x1
	b.lo	1b
2:	dsb	sy
	ret

/*
 * In: x0 start, x1 size. Clobbers: x0-x5, flags. An edge line that the range
 * only shares is cleaned too: what stands beside our bytes is not ours to lose.
 */
	.section .text.cache_after_write, "ax"
	.global cache_after_write
	.type cache_after_write, %function
cache_after_write:
	dsb	sy
	cbz	x1, 3f
	mov	x4, x0
	add	x5, x0, x1
	lines
1:	add	x3, x0, x2
	cmp	x0, x4
	b.lo	2f
	cmp	x3, x5
	b.hi	2f
	dc	ivac, x0
	b	4f
2:	dc	civac, x0
4:	mov	x0, x3
	cmp	x0, x1
	b.lo	1b
3:	dsb	sy
	ret

/* In: x0 start, x1 size. Clobbers: x0-x5, x9, flags. */
	.section .text.cache_code_written, "ax"
	.global cache_code_written
	.type cache_code_written, %function
cache_code_written:
	mov	x9, x30
	bl	cache_after_write
	mov	x30, x9
	ic	ialluis
	dsb	ish
	isb
	ret
