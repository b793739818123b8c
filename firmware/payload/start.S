/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of the boot CPU (an arm64 Image, any exception level) and of the
 * secondaries. The entry state is read into registers before anything is
 * changed or written; then the MMU and the D-cache are off for good.
 *
 * The image must stand on a 4 KiB boundary (adrp); loaders use 2 MiB.
 */
#include "el.h"
#include "offsets.h"
#include "pcpu.h"

/* One character a boot stage, if an early UART was compiled in. Clobbers: x8, w9. */
.macro crumb char
#ifdef HIL_EARLY_UART
	ldr	x8, =HIL_EARLY_UART
	mov	w9, #\char
	str	w9, [x8]
#endif
.endm

/* In: \from, \to. Clobbers: \from, x8, x9, flags. */
.macro civac from, to
	mrs	x8, ctr_el0
	ubfx	x8, x8, #16, #4
	mov	x9, #4
	lsl	x9, x9, x8
	sub	x8, x9, #1
	bic	\from, \from, x8
1:	dc	civac, \from
	add	\from, \from, x9
	cmp	\from, \to
	b.lo	1b
	dsb	sy
.endm

/* In: \from, \to, both 16-byte aligned. Clobbers: \from, flags. */
.macro zero from, to
1:	stp	xzr, xzr, [\from], #16
	cmp	\from, \to
	b.lo	1b
.endm

.macro address register, symbol
	adrp	\register, \symbol
	add	\register, \register, :lo12:\symbol
.endm

/*
 * Reads the entry state: wire.ENTRY_REGS in order into x0-x3, x10-x28.
 * What the current level can't read is 0. Clobbers: x4, flags.
 */
.macro read_entry
	mrs	x10, CurrentEL
	mrs	x26, cntvct_el0
	mrs	x11, daif
	mrs	x12, SPSel
	mrs	x27, cntfrq_el0
	mov	x13, #0
	mov	x14, #0
	mov	x15, #0
	mov	x16, #0
	mov	x17, #0
	mov	x18, #0
	mov	x19, #0
	mov	x20, #0
	mov	x21, #0
	mov	x22, #0
	mov	x23, #0
	mov	x24, #0
	cmp	x10, #(2 << 2)
	b.lo	8f
	mrs	x26, cntpct_el0
	mrs	x13, sctlr_el2
	mrs	x14, hcr_el2
	mrs	x15, vbar_el2
	mrs	x16, esr_el2
	mrs	x17, elr_el2
	mrs	x18, spsr_el2
	mrs	x19, cptr_el2
	mrs	x20, mdcr_el2
	mrs	x21, cnthctl_el2
	mrs	x22, cntvoff_el2
	mrs	x23, vttbr_el2
	mrs	x24, tcr_el2
	b.hi	8f
	tbz	x14, #HCR_E2H_BIT, 8f
	mrs	x25, SCTLR_EL12		/* with E2H the EL1 name means EL2's */
	b	9f
8:	mrs	x25, sctlr_el1
9:
.endm

/* In: \base and what read_entry left. */
.macro store_entry base
	stp	x0, x1, [\base]
	stp	x2, x3, [\base, #16]
	stp	x10, x11, [\base, #32]
	stp	x12, x13, [\base, #48]
	stp	x14, x15, [\base, #64]
	stp	x16, x17, [\base, #80]
	stp	x18, x19, [\base, #96]
	stp	x20, x21, [\base, #112]
	stp	x22, x23, [\base, #128]
	stp	x24, x25, [\base, #144]
	stp	x26, x27, [\base, #160]
	str	x28, [\base, #176]
.endm

/* Out: \bit set in \register, if the 4-bit field at \shift of \id is not 0. Clobbers: x8. */
.macro bit_if_field register, bit, id, shift
	ubfx	x8, \id, #\shift, #4
	cbz	x8, 1f
	orr	\register, \register, #(1 << \bit)
1:
.endm

	.section .head.text, "ax"
	.global _head
_head:
	b	primary_entry
	.long	0
	.quad	0			/* text_offset */
	.long	_image_size, 0		/* with BSS */
	.quad	0xa			/* little-endian, 4 KiB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

/*
 * Where a secondary started by spin-table waits while another image runs: it
 * stands in the image's first page, which the host reserves in the DTB that it
 * boots with. In: x0 the release address. No stack, no other memory.
 */
	.global pen
	.type pen, %function
pen:
	str	xzr, [x0]
	dsb	sy
	str	xzr, [x1]		/* tells the CPU that sent us here: we no longer need it */
	dsb	sy
1:	wfe
	ldr	x4, [x0]
	cbz	x4, 1b
	ic	iallu
	dsb	sy
	isb
	mov	x0, #0
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	br	x4

	.section .text.start, "ax"
primary_entry:
	adr	x28, _head
	read_entry
	msr	daifset, #0xf
	msr	SPSel, #1
	crumb	'1'
	address	x5, _head		/* what was loaded through a cache: out of it */
	address	x6, _data_end
	civac	x5, x6
	adr	x7, 1f
	b	caches_off
1:	crumb	'2'
	address	x5, _head
	address	x6, _bss_end
	civac	x5, x6
	address	x5, _bss_start
	zero	x5, x6
	address	x5, pcpu_areas
	add	x6, x5, #PCPU_SIZE
	civac	x5, x6
	address	x5, pcpu_areas
	zero	x5, x6
	mov	sp, x6
	address	x5, pcpu_areas + PCPU_STATE
	add	x4, x5, #PCPU_ENTRY_OFFSET
	store_entry x4
	mov	x19, x5
	mrs	x4, CurrentEL
	cmp	x4, #(2 << 2)
	b.ne	2f
	bl	el2_setup
2:	crumb	'3'
	mov	x0, x19
	mov	x29, #0
	bl	primary_main
	b	.

/*
 * A secondary, by PSCI CPU_ON or from a spin-table pen. Its area was prepared by
 * the CPU that started it; found by MPIDR, since a spin-table passes nothing.
 */
	.global secondary_entry
	.type secondary_entry, %function
secondary_entry:
	adr	x28, secondary_entry
	read_entry
	msr	daifset, #0xf
	msr	SPSel, #1
	adr	x7, 1f
	b	caches_off
1:	mrs	x4, mpidr_el1
	ldr	x5, =AFFINITY
	and	x4, x4, x5
	address	x5, cpu_mpidr
	address	x6, pcpu_areas + PCPU_STATE
	mov	x7, #NR_CPUS
2:	ldr	x8, [x5], #8
	cmp	x8, x4
	b.eq	3f
	add	x6, x6, #PCPU_SIZE
	subs	x7, x7, #1
	b.ne	2b
	b	4f
3:	add	x4, x6, #PCPU_ENTRY_OFFSET
	store_entry x4
	mov	x19, x6
	add	x6, x6, #(PCPU_STACK_TOP - PCPU_STATE) & 0xff000
	add	x6, x6, #(PCPU_STACK_TOP - PCPU_STATE) & 0xfff
	mov	sp, x6
	mrs	x4, CurrentEL
	cmp	x4, #(2 << 2)
	b.ne	5f
	bl	el2_setup
	mov	x0, x19
	mov	x29, #0
	bl	secondary_main
4:	wfe
	b	4b
5:	mov	w4, #CPU_FAILED		/* not at EL2: said, and no more */
	str	w4, [x19, #PCPU_CPU_STATE_OFFSET]
	dsb	sy
	sev
	b	4b

/*
 * In: x7 where to go on, at EL2 if there is one. MMU and D-cache of that level (and
 * of EL3, if we are there) are off then, the I-cache is on and clean.
 * Clobbers: x4-x9, flags; keeps what read_entry left.
 */
caches_off:
	mrs	x4, CurrentEL
	cmp	x4, #(2 << 2)
	b.lo	.Lel1_off
	b.eq	.Lel2_off
	ldr	x4, =SCTLR_EL2_OFF	/* the same bits at EL3 */
	msr	sctlr_el3, x4
	isb
	mrs	x5, id_aa64pfr0_el1
	mrs	x6, id_aa64pfr1_el1
	mov	x9, #0
	bit_if_field x9, 8, x5, 32	/* SVE: CPTR_EL3.EZ */
	bit_if_field x9, 12, x6, 24	/* SME: CPTR_EL3.ESM */
	msr	cptr_el3, x9
	isb
	mov	x4, #0xf
	tbz	x9, #8, 1f
	msr	ZCR_EL3, x4
1:	tbz	x9, #12, 1f
	msr	SMCR_EL3, x4
1:	msr	mdcr_el3, xzr
	ldr	x4, =SCR_EL3_VALUE
	bit_if_field x4, 26, x6, 8	/* MTE: ATA */
	bit_if_field x4, 41, x6, 24	/* SME: EnTP2 */
	mrs	x9, id_aa64mmfr0_el1
	bit_if_field x4, 27, x9, 56	/* FGTEn */
	mrs	x9, id_aa64mmfr1_el1
	bit_if_field x4, 38, x9, 40	/* HXEn */
	msr	scr_el3, x4
	isb
	ubfx	x8, x5, #24, #4
	cbz	x8, 1f
	mov	x4, #0xf
	msr	ICC_SRE_EL3, x4
1:	isb
	mov	x4, #SPSR_EL2H
	ubfx	x8, x5, #8, #4
	cbnz	x8, 1f
	mov	x4, #SPSR_EL1H
1:	msr	spsr_el3, x4
	adr	x4, caches_off
	msr	elr_el3, x4
	cbz	x8, 1f
	ldr	x4, =SCTLR_EL2_OFF
	msr	sctlr_el2, x4
	mov	x4, #HCR_RW
	msr	hcr_el2, x4
1:	ldr	x4, =SCTLR_EL1_OFF
	msr	sctlr_el1, x4
	isb
	eret
.Lel2_off:
	ldr	x4, =SCTLR_EL2_OFF
	msr	sctlr_el2, x4
	isb
	mov	x4, #HCR_RW		/* E2H and TGE off, before any EL1 name is used */
	msr	hcr_el2, x4
	b	1f
.Lel1_off:
	ldr	x4, =SCTLR_EL1_OFF
	msr	sctlr_el1, x4
1:	isb
	ic	iallu
	dsb	sy
	isb
	br	x7

	.ltorg
