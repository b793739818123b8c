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
	bl	entry_read
	crumb	'1'
	address	x5, _head		/* what was loaded through a cache: out of it */
	address	x6, _data_end
	civac	x5, x6
	bl	caches_off
	crumb	'2'
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
	address	x19, pcpu_areas + PCPU_STATE
	bl	entry_store
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
	bl	entry_read
	bl	caches_off
	mrs	x4, mpidr_el1
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
3:	mov	x19, x6
	bl	entry_store
	add	x6, x19, #(PCPU_STACK_TOP - PCPU_STATE) & 0xff000
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
 * The part of the entry state that the way to EL2 with all caches off changes.
 * Then exceptions are masked. What the current level can't read is 0.
 * Out: x10-x16, in the order of wire.ENTRY_REGS but for x16, the counter. Clobbers: flags.
 */
entry_read:
	mrs	x10, CurrentEL
	mrs	x16, cntvct_el0
	mrs	x11, daif
	mrs	x12, SPSel
	mov	x13, #0
	mov	x14, #0
	mrs	x15, sctlr_el1		/* with E2H that is EL2's: entry_store reads again */
	cmp	x10, #(2 << 2)
	b.lo	1f
	mrs	x16, cntpct_el0
	mrs	x13, sctlr_el2
	mrs	x14, hcr_el2
1:	msr	daifset, #0xf
	msr	SPSel, #1
	ret

/*
 * In: x19 struct pcpu, its entry zero; x0-x3 as entered, what entry_read left, x28 PC.
 * Stores wire.ENTRY_REGS. Clobbers: x4-x6, x15, flags.
 */
entry_store:
	add	x4, x19, #PCPU_ENTRY_OFFSET
	stp	x0, x1, [x4]
	stp	x2, x3, [x4, #16]
	stp	x10, x11, [x4, #32]
	stp	x12, x13, [x4, #48]
	mrs	x5, CurrentEL
	cmp	x5, #(2 << 2)
	b.ne	4f
	cmp	x10, x5
	b.ne	1f
	mrs	x15, sctlr_el1
1:	mrs	x5, vbar_el2
	stp	x14, x5, [x4, #64]
	mrs	x5, esr_el2
	mrs	x6, elr_el2
	stp	x5, x6, [x4, #80]
	mrs	x5, spsr_el2
	mrs	x6, cptr_el2
	stp	x5, x6, [x4, #96]
	mrs	x5, mdcr_el2
	mrs	x6, cnthctl_el2
	stp	x5, x6, [x4, #112]
	mrs	x5, cntvoff_el2
	mrs	x6, vttbr_el2
	stp	x5, x6, [x4, #128]
	mrs	x5, tcr_el2
	str	x5, [x4, #144]
	mrs	x6, ID_AA64MMFR3_EL1	/* not SCTLR2_EL2: nobody promises its enable at EL3 */
	mov	x5, #0
	tst	x6, #0xf		/* TCRX: booting.rst demands SCR_EL3.TCR2En */
	b.eq	2f
	mrs	x5, TCR2_EL2
2:	mrs	x6, ttbr0_el2
	stp	x5, x6, [x4, #184]
	mrs	x6, id_aa64pfr0_el1
	tst	x6, #(0xf << 24)
	mov	x6, #0
	b.eq	3f
	mrs	x6, ICC_SRE_EL2
3:	str	x6, [x4, #200]
4:	mrs	x5, cntfrq_el0
	stp	x15, x16, [x4, #152]
	stp	x5, x28, [x4, #168]
	ret

/*
 * Returns at EL2 if there is one. MMU and D-cache of that level (and
 * of EL3, if we are there) are off then, the I-cache is on and clean.
 * Clobbers: x4-x9, flags.
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
	mrs	x9, ID_AA64MMFR3_EL1
	bit_if_field x4, 43, x9, 0	/* TCR2En */
	bit_if_field x4, 44, x9, 4	/* SCTLR2En */
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
	ret

	.ltorg
