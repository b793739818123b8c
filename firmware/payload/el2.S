/* SPDX-License-Identifier: Apache-2.0 */
/* EL2's controls, the way to another image, and the firmware's door. */
#include "el.h"

	.text
/*
 * Sets every EL2 control: no traps, nothing virtual. The lab adds its own on top;
 * the way out to another image calls it again. HCR_EL2 is read back by the caller.
 * Clobbers: x0-x9, flags. No stack.
 */
	.global el2_setup
	.type el2_setup, %function
el2_setup:
	ldr	x0, =SCTLR_EL2_OFF
	msr	sctlr_el2, x0
	mov	x0, #HCR_RW
	msr	hcr_el2, x0
	isb
	mrs	x1, id_aa64pfr0_el1
	mrs	x2, id_aa64pfr1_el1
	mrs	x3, id_aa64dfr0_el1
	mrs	x4, id_aa64mmfr0_el1
	mrs	x5, id_aa64mmfr1_el1

	mov	x0, #CPTR_EL2_RES1
	mov	x6, #(3 << 20)		/* CPACR_EL1: FPEN */
	mov	x7, #0xf
	ubfx	x8, x1, #32, #4
	cbz	x8, 1f
	bic	x0, x0, #(1 << 8)	/* TZ */
	orr	x6, x6, #(3 << 16)	/* ZEN */
1:	ubfx	x9, x2, #24, #4
	cbz	x9, 1f
	bic	x0, x0, #(1 << 12)	/* TSM */
	orr	x6, x6, #(3 << 24)	/* SMEN */
1:	msr	cptr_el2, x0
	msr	cpacr_el1, x6
	isb
	cbz	x8, 1f
	msr	ZCR_EL2, x7
1:	cbz	x9, 1f
	msr	SMCR_EL2, x7

1:	mov	x0, #0
	ubfx	x8, x3, #8, #4		/* PMUVer: 0 none, 0xf not the architecture's */
	cbz	x8, 1f
	cmp	x8, #0xf
	b.eq	1f
	mrs	x0, pmcr_el0
	ubfx	x0, x0, #11, #5		/* all counters are EL1's (HPMN = N) */
1:	msr	mdcr_el2, x0
	msr	mdscr_el1, xzr
	msr	hstr_el2, xzr
	mov	x0, #3			/* EL1 may use the physical counter and timer */
	msr	cnthctl_el2, x0
	msr	cntvoff_el2, xzr
	msr	vttbr_el2, xzr
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0

	ubfx	x8, x4, #56, #4		/* FEAT_FGT */
	cbz	x8, 1f
	msr	HFGRTR_EL2, xzr
	msr	HFGWTR_EL2, xzr
	msr	HFGITR_EL2, xzr
	msr	HDFGRTR_EL2, xzr
	msr	HDFGWTR_EL2, xzr
	ubfx	x8, x1, #44, #4		/* FEAT_AMUv1 */
	cbz	x8, 1f
	msr	HAFGRTR_EL2, xzr
1:	ubfx	x8, x5, #40, #4		/* FEAT_HCX */
	cbz	x8, 1f
	msr	HCRX_EL2, xzr
1:	mrs	x0, ID_AA64MMFR3_EL1
	tst	x0, #0xf
	b.eq	1f
	msr	TCR2_EL2, xzr
1:	ubfx	x8, x1, #24, #4		/* GICv3 system registers */
	cbz	x8, 1f
	mrs	x0, ICC_SRE_EL2
	mov	x7, #9			/* SRE, Enable */
	orr	x0, x0, x7
	msr	ICC_SRE_EL2, x0
	isb
	mrs	x0, ICC_SRE_EL2
	tbz	x0, #0, 1f		/* EL3 kept it */
	msr	ICH_HCR_EL2, xzr
1:	ldr	x0, =SCTLR_EL1_OFF
	msr	sctlr_el1, x0
	isb
	ret

/*
 * Leaves for another image. In: x0 address, x1 struct wire_boot's x0-x3 in memory,
 * x2 1 for EL1h, else EL2h. Needs el2_setup done. Does not return.
 */
	.global jump_away
	.type jump_away, %function
jump_away:
	msr	elr_el2, x0
	mov	x3, #SPSR_EL2H
	mov	x4, #SPSR_EL1H
	cmp	x2, #1
	csel	x3, x4, x3, eq
	msr	spsr_el2, x3
	mov	x4, x1
	ldp	x0, x1, [x4]
	ldp	x2, x3, [x4, #16]
	ic	iallu
	dsb	sy
	isb
	eret

/* In: x0-x3 the SMCCC arguments. Out: x0. Clobbers: x1-x17. */
	.global smc_call
	.type smc_call, %function
smc_call:
	smc	#0
	ret
	.global hvc_call
	.type hvc_call, %function
hvc_call:
	hvc	#0
	ret

	.ltorg
