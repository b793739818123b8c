/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leaving for an hvc and coming home from it, at EL1 with DAIF masked.
 *
 * hil_issue leaves by an svc to the vectors below, which takes PSTATE whole; they
 * load the register file and eret to the slot. Whatever happens there ends in an
 * exception to the same vectors: the svc behind the hvc, or something worse.
 */
#include <linux/linkage.h>
#include <asm/assembler.h>
#include "hilhvc.h"

	/* Registers that EL1 can read and write back. Not here: what an exception sets. */
	.macro	each_sysreg do
	\do	sctlr_el1, HIL_SYS_SCTLR_EL1
	\do	cpacr_el1, HIL_SYS_CPACR_EL1
	\do	ttbr0_el1, HIL_SYS_TTBR0_EL1
	\do	ttbr1_el1, HIL_SYS_TTBR1_EL1
	\do	tcr_el1, HIL_SYS_TCR_EL1
	\do	mair_el1, HIL_SYS_MAIR_EL1
	\do	vbar_el1, HIL_SYS_VBAR_EL1
	\do	sp_el0, HIL_SYS_SP_EL0
	\do	tpidr_el0, HIL_SYS_TPIDR_EL0
	\do	tpidr_el1, HIL_SYS_TPIDR_EL1
	\do	cntkctl_el1, HIL_SYS_CNTKCTL_EL1
	\do	contextidr_el1, HIL_SYS_CONTEXTIDR_EL1
	.endm

	.macro	save_one reg, index
	mrs	x3, \reg
	str	x3, [x0, #(HIL_FRAME_SYS + 8 * \index)]
	.endm

	/* What came home against the kernel's own value; written only if it differs. */
	.macro	restore reg, index
	ldr	x3, [x0, #(HIL_FRAME_SYS + 8 * \index)]
	ldr	x4, [x0, #(SAVE_OWN + 8 * \index)]
	cmp	x3, x4
	b.eq	9f
	msr	\reg, x4
9:
	.endm

	.macro	each_v do, base
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, \
		   21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	\do	q\n, [\base, #(16 * \n)]
	.endr
	.endm

	/* x5 to x30, and those named, at x0. */
	.macro	each_x do, others:vararg
	.irp	n, \others, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, \
		   23, 24, 25, 26, 27, 28, 29, 30
	\do	x\n, [x0, #(HIL_FRAME_X + 8 * \n)]
	.endr
	.endm

	.macro	context do, base
	\do	x18, x19, [\base, #0x00]
	\do	x20, x21, [\base, #0x10]
	\do	x22, x23, [\base, #0x20]
	\do	x24, x25, [\base, #0x30]
	\do	x26, x27, [\base, #0x40]
	\do	x28, x29, [\base, #0x50]
	.endm

	.text

/*
 * void hil_issue(struct hil_save *save): in.x, sp, pc, v and the patterned system
 * registers are set, own is the kernel's; comes back with out filled.
 * In: x0 = &hil_save, DAIF masked. Clobbers: as a call.
 */
SYM_FUNC_START(hil_issue)
	add	x1, x0, #SAVE_CTX
	context	stp, x1
	mov	x2, sp
	stp	x30, x2, [x1, #0x60]
	mov	x2, #STATE_LEAVING
	str	x2, [x0, #SAVE_STATE]
	str	xzr, [x0, #SAVE_DIRECT]
	adr_l	x2, hil_vectors
	msr	vbar_el1, x2
	isb
	svc	#0
	ret
SYM_FUNC_END(hil_issue)

	.macro	entry id
	.balign	0x80
	msr	tpidrro_el0, x0
	adr_l	x0, hil_save
	stp	x1, x2, [x0, #(HIL_FRAME_X + 8)]
	mov	x1, #\id
	b	came
	.endm

	.balign	0x800
SYM_CODE_START(hil_vectors)
	.irp	id, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	entry	\id
	.endr
	.balign	0x80
SYM_CODE_END(hil_vectors)

/* In: x0 = &hil_save, x1 = number of the vector, x1 and x2 saved. */
SYM_CODE_START_LOCAL(came)
	ldr	x2, [x0, #SAVE_STATE]
	cmp	x2, #STATE_AWAY
	b.eq	home
	cmp	x2, #STATE_LEAVING
	b.ne	own_fault

	mov	x2, #STATE_AWAY
	str	x2, [x0, #SAVE_STATE]
	mrs	x1, elr_el1
	str	x1, [x0, #SAVE_CONT]
	mrs	x1, spsr_el1
	str	x1, [x0, #SAVE_PSTATE]
	add	x3, x0, #SAVE_IN
	ldr	x2, [x0, #SAVE_NZCV]
	bfi	x1, xzr, #28, #4
	orr	x1, x1, x2
	str	x1, [x3, #HIL_FRAME_PSTATE]
	str	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_SPSR_EL1)]
	msr	spsr_el1, x1
	ldr	x1, [x3, #HIL_FRAME_PC]
	str	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_ELR_EL1)]
	msr	elr_el1, x1
	mrs	x1, esr_el1
	str	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_ESR_EL1)]
	mrs	x1, far_el1		/* UNKNOWN since the svc, and still so at the hvc */
	str	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_FAR_EL1)]
	ldr	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_SP_EL0)]
	msr	sp_el0, x1
	ldr	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_TPIDR_EL0)]
	msr	tpidr_el0, x1
	ldr	x1, [x3, #(HIL_FRAME_SYS + 8 * HIL_SYS_TPIDRRO_EL0)]
	msr	tpidrro_el0, x1
	add	x1, x3, #HIL_FRAME_V
	each_v	ldr, x1
	ldr	x1, [x3, #HIL_FRAME_SP]
	mov	sp, x1
	mov	x0, x3
	each_x	ldr, 2, 3, 4
	ldp	x0, x1, [x0, #HIL_FRAME_X]
	eret
	dsb	nsh
	isb

home:
	each_x	str, 3, 4
	mrs	x3, tpidrro_el0
	str	x3, [x0, #HIL_FRAME_X]
	mov	x3, sp
	str	x3, [x0, #HIL_FRAME_SP]
	str	x1, [x0, #SAVE_VECTOR]
	mrs	x3, esr_el1
	str	x3, [x0, #SAVE_ESR]
	mrs	x3, elr_el1
	str	x3, [x0, #SAVE_ELR]
	mrs	x3, spsr_el1
	str	x3, [x0, #SAVE_SPSR]
	mrs	x3, far_el1
	str	x3, [x0, #SAVE_FAR]
	each_sysreg save_one
	each_sysreg restore
	isb
	/* Cortex-A77 erratum 1508412: a read of PAR_EL1 wants barriers around it. */
	dmb	sy
	save_one par_el1, HIL_SYS_PAR_EL1
	dmb	sy
	save_one fpcr, HIL_SYS_FPCR
	save_one fpsr, HIL_SYS_FPSR
	add	x3, x0, #HIL_FRAME_V
	each_v	str, x3
	restore	fpcr, HIL_SYS_FPCR
	restore	fpsr, HIL_SYS_FPSR
	ldr	x3, [x0, #(SAVE_OWN + 8 * HIL_SYS_TPIDRRO_EL0)]
	msr	tpidrro_el0, x3
	str	xzr, [x0, #SAVE_STATE]
	ldr	x3, [x0, #SAVE_CONT]
	msr	elr_el1, x3
	ldr	x3, [x0, #SAVE_PSTATE]
	msr	spsr_el1, x3
	add	x3, x0, #SAVE_CTX
	context	ldp, x3
	ldp	x30, x4, [x3, #0x60]
	mov	sp, x4
	eret
	dsb	nsh
	isb

	/* An exception of the code above: the kernel shall report it, on its own stack. */
own_fault:
	ldr	x3, [x0, #(SAVE_OWN + 8 * HIL_SYS_SP_EL0)]
	msr	sp_el0, x3
	ldr	x3, [x0, #(SAVE_OWN + 8 * HIL_SYS_TPIDR_EL1)]
	msr	tpidr_el1, x3
	ldr	x3, [x0, #(SAVE_OWN + 8 * HIL_SYS_VBAR_EL1)]
	msr	vbar_el1, x3
	isb
	add	x3, x0, #SAVE_CTX
	context	ldp, x3
	ldp	x30, x4, [x3, #0x60]
	mov	sp, x4
	mrs	x0, esr_el1
	mrs	x1, elr_el1
	mrs	x2, far_el1
	brk	#0x800
SYM_CODE_END(came)

/*
 * The other way home, by a branch behind the hvc: sees what an exception to EL1
 * overwrites. In: anything. Clobbers: TPIDR_EL0.
 */
SYM_CODE_START(hil_home)
	msr	tpidr_el0, x0
	adr_l	x0, hil_save
	str	x1, [x0, #SAVE_SCRATCH]
	mrs	x1, esr_el1
	str	x1, [x0, #(HIL_FRAME_SYS + 8 * HIL_SYS_ESR_EL1)]
	mrs	x1, far_el1
	str	x1, [x0, #(HIL_FRAME_SYS + 8 * HIL_SYS_FAR_EL1)]
	mrs	x1, elr_el1
	str	x1, [x0, #(HIL_FRAME_SYS + 8 * HIL_SYS_ELR_EL1)]
	mrs	x1, spsr_el1
	str	x1, [x0, #(HIL_FRAME_SYS + 8 * HIL_SYS_SPSR_EL1)]
	mrs	x1, tpidrro_el0
	str	x1, [x0, #(HIL_FRAME_SYS + 8 * HIL_SYS_TPIDRRO_EL0)]
	mov	x1, #1
	str	x1, [x0, #SAVE_DIRECT]
	ldr	x1, [x0, #SAVE_SCRATCH]
	mrs	x0, tpidr_el0
	svc	#1
SYM_CODE_END(hil_home)

	.bss
	.balign	64
SYM_DATA_START(hil_save)
	.skip	SAVE_DIRECT + 8
SYM_DATA_END(hil_save)
