/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Code that EL2 is sent to, with its MMU off: position-independent, and each catch
 * table within 4 KiB, as the module's pages are scattered in physical memory. The
 * literals and the landing are written and read by EL1 through area.c.
 *
 * Offset 0 takes calls and restarts; +0x400 takes an hvc, if a catch table became
 * VBAR_EL2. Both dump what they find before they change anything.
 */
#include <linux/linkage.h>
#include <asm/assembler.h>
#include "hilhvc.h"

#define REG(n) (HIL_LANDING_REG + 8 * (n))
#define CURRENTEL_EL2 8
#define HCR_E2H_BIT 34

	.macro	dump reg, index
	mrs	x0, \reg
	str	x0, [x9, #REG(\index)]
	.endm

	.macro	literal reg, offset
	ldr	\reg, [x9, #(CATCH_LITERALS - CATCH_LANDING + \offset)]
	.endm

	/* x9 is kept where every EL can write, x10 says how this table was entered. */
	.macro	begin n, kind
	msr	tpidrro_el0, x9
	adr	x9, .Llanding\n
	str	x10, [x9, #REG(10)]
	mov	x10, #\kind
	.endm

	.macro	each_x do
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \
		   24, 25, 26, 27, 28, 29, 30
	\do	x\n, [x9, #REG(\n)]
	.endr
	.endm

	.macro	catch_table n
	.balign	CATCH_SIZE
.Lbase\n:
	b	.Lland\n
	.irp	v, 1, 2, 3, 4, 5, 6, 7
	.org	.Lbase\n + 0x80 * \v
	b	.Lfault\n
	.endr
	.org	.Lbase\n + 0x400
	b	.Lvectors\n
	.irp	v, 9, 10, 11, 12, 13, 14, 15
	.org	.Lbase\n + 0x80 * \v
	b	.Lfault\n
	.endr
	.org	.Lbase\n + 0x800

.Lland\n:
	begin	\n, HIL_LANDED_RESTARTED
	b	.Ldump\n
.Lvectors\n:
	begin	\n, HIL_LANDED_VECTORS
	b	.Ldump\n
.Lfault\n:
	begin	\n, HIL_LANDED_FAULT

.Ldump\n:
	each_x	str
	mrs	x0, tpidrro_el0
	str	x0, [x9, #REG(9)]
	literal	x0, LIT_TPIDRRO
	msr	tpidrro_el0, x0
	str	w10, [x9, #HIL_LANDING_KIND]
	ldr	x0, [x9, #HIL_LANDING_COUNT]
	add	x0, x0, #1
	str	x0, [x9, #HIL_LANDING_COUNT]
	mov	x0, sp
	str	x0, [x9, #REG(HIL_LAND_SP)]
	adr	x0, .Lbase\n
	str	x0, [x9, #REG(HIL_LAND_PC)]
	dump	daif, HIL_LAND_DAIF
	dump	spsel, HIL_LAND_SPSel
	dump	nzcv, HIL_LAND_NZCV
	dump	cntpct_el0, HIL_LAND_CNTPCT
	dump	cntfrq_el0, HIL_LAND_CNTFRQ
	dump	currentel, HIL_LAND_CurrentEL
	dsb	sy
	cmp	x0, #CURRENTEL_EL2
	b.ne	.Lpark\n

	dump	sctlr_el2, HIL_LAND_SCTLR_EL2
	dump	vbar_el2, HIL_LAND_VBAR_EL2
	dump	esr_el2, HIL_LAND_ESR_EL2
	dump	elr_el2, HIL_LAND_ELR_EL2
	dump	spsr_el2, HIL_LAND_SPSR_EL2
	dump	cptr_el2, HIL_LAND_CPTR_EL2
	dump	mdcr_el2, HIL_LAND_MDCR_EL2
	dump	cnthctl_el2, HIL_LAND_CNTHCTL_EL2
	dump	cntvoff_el2, HIL_LAND_CNTVOFF_EL2
	dump	vttbr_el2, HIL_LAND_VTTBR_EL2
	dump	vtcr_el2, HIL_LAND_VTCR_EL2
	dump	tcr_el2, HIL_LAND_TCR_EL2
	dump	ttbr0_el2, HIL_LAND_TTBR0_EL2
	dump	mair_el2, HIL_LAND_MAIR_EL2
	dump	tpidr_el2, HIL_LAND_TPIDR_EL2
	dump	hstr_el2, HIL_LAND_HSTR_EL2
	dump	vpidr_el2, HIL_LAND_VPIDR_EL2
	dump	vmpidr_el2, HIL_LAND_VMPIDR_EL2
	dump	sp_el1, HIL_LAND_SP_EL1
	dump	mpidr_el1, HIL_LAND_MPIDR_EL1
	dump	hcr_el2, HIL_LAND_HCR_EL2
	tbnz	x0, #HCR_E2H_BIT, 1f
	mrs	x0, sctlr_el1
	b	2f
1:	mrs	x0, s3_5_c1_c0_0	/* SCTLR_EL12 */
2:	str	x0, [x9, #REG(HIL_LAND_SCTLR_EL1)]

	cmp	x10, #HIL_LANDED_RESTARTED
	b.ne	.Lowned\n
	literal	x0, LIT_RETURNS
	cbz	x0, .Lhome\n
	literal	x0, LIT_X30		/* the caller's own: entered by no call */
	cmp	x0, x30
	b.eq	.Lhome\n
	mov	x10, #HIL_LANDED_CALLED
	str	w10, [x9, #HIL_LANDING_KIND]
	dsb	sy
	ldr	x0, [x9, #REG(HIL_LAND_NZCV)]
	msr	nzcv, x0
	ldp	x0, x1, [x9, #REG(0)]
	ldp	x9, x10, [x9, #REG(9)]
	ret

.Lowned\n:
	literal	x0, LIT_STUB
	cbz	x0, 1f
	msr	vbar_el2, x0
	isb
1:	cmp	x10, #HIL_LANDED_FAULT
	b.ne	.Lback\n

.Lhome\n:
	literal	x0, LIT_HOME
	msr	elr_el2, x0
	literal	x0, LIT_SPSR
	msr	spsr_el2, x0
.Lback\n:
	dsb	sy
	ldp	x0, x1, [x9, #REG(0)]
	ldp	x9, x10, [x9, #REG(9)]
	eret
	dsb	nsh
	isb

	/* At EL1 with the MMU off there is no way home; the landing tells. */
.Lpark\n:
	wfe
	b	.Lpark\n

	.org	.Lbase\n + CATCH_LITERALS	/* fails where the code is too long */
	.org	.Lbase\n + CATCH_LANDING
.Llanding\n:
	.org	.Lbase\n + CATCH_SIZE
	.endm

	.text
	.balign	CATCH_SIZE
SYM_CODE_START(hil_area)
	catch_table 0
	catch_table 1
	catch_table 2
	catch_table 3

/*
 * The slot: area.c writes the hvc, and the branch behind it in pass 1. A return to
 * another instruction than the next comes home by an svc too.
 */
	.rept	16
	svc	#0
	.endr
SYM_INNER_LABEL(hil_slot, SYM_L_GLOBAL)
	.rept	16
	svc	#0
	.endr
	.balign	CATCH_SIZE
SYM_INNER_LABEL(hil_area_end, SYM_L_GLOBAL)
SYM_CODE_END(hil_area)
