/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that the host loads into the payload's scratch memory and calls at EL2, with the
 * MMU and the D-cache off: bulk work that the payload has no room for. Position-independent,
 * no stack, no data. What an earlier stage left in a cache is written back or dropped, as
 * firmware/payload/cache.h says: before the first write dc civac, after it dc ivac.
 */
	.arch	armv8-a+crc
	.text

/* Out: \line the smallest data cache line, in bytes. Clobbers: \tmp. */
.macro line_size line, tmp
	mrs	\tmp, ctr_el0
	ubfx	\tmp, \tmp, #16, #4
	mov	\line, #4
	lsl	\line, \line, \tmp
.endm

/* Does \op by line over [\from, \to). In: \line. Clobbers: \from, \tmp, flags. */
.macro by_line op, from, to, line, tmp
	sub	\tmp, \line, #1
	bic	\from, \from, \tmp
1:	dc	\op, \from
	add	\from, \from, \line
	cmp	\from, \to
	b.lo	1b
	dsb	sy
.endm

/*
 * In: x0 to, on a page of which all is ours; x1 from, 64-byte aligned; x2 size, a
 * multiple of 64 and not 0. They must not overlap. Clobbers: x0-x16, flags.
 */
	.global	copy
	.type	copy, %function
copy:
	line_size x3, x4
	add	x5, x0, x2
	add	x6, x1, x2
	mov	x7, x1
	by_line	civac, x7, x6, x3, x4
	mov	x7, x0
	by_line	civac, x7, x5, x3, x4
	mov	x7, x0
2:	ldp	x8, x9, [x1], #16
	ldp	x10, x11, [x1], #16
	ldp	x12, x13, [x1], #16
	ldp	x14, x15, [x1], #16
	stp	x8, x9, [x0], #16
	stp	x10, x11, [x0], #16
	stp	x12, x13, [x0], #16
	stp	x14, x15, [x0], #16
	cmp	x0, x5
	b.lo	2b
	dsb	sy
	by_line	ivac, x7, x5, x3, x4
	ret

/* In: x0 start, x1 size, not 0: memory that somebody else will write. Clobbers: x0-x4, flags. */
	.global	clean
	.type	clean, %function
clean:
	line_size x3, x4
	add	x1, x0, x1
	by_line	civac, x0, x1, x3, x4
	ret

/*
 * CRC-32 as zlib's, by FEAT_CRC32. In: x0 the CRC so far (0 at first), x1 start, 8-byte
 * aligned, x2 size. Out: x0. Clobbers: x1-x4, flags.
 */
	.global	crc
	.type	crc, %function
crc:
	mvn	w0, w0
	and	x3, x2, #7
	sub	x2, x2, x3
	add	x2, x2, x1
1:	cmp	x1, x2
	b.hs	2f
	ldr	x4, [x1], #8
	crc32x	w0, w0, x4
	b	1b
2:	cbz	x3, 3f
	ldrb	w4, [x1], #1
	crc32b	w0, w0, w4
	sub	x3, x3, #1
	b	2b
3:	mvn	w0, w0
	ret
