/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference vectors of the ISS ABI, written for this project to the contracts
 * in hilagent/abi/profiles: the immediate of the hvc, ESR_EL2.ISS[15:0], names
 * the hcall. One source, position-independent, for two flavours (hyp-stub, and
 * -DFLAVOUR_KVM) and for each ISS profile (hcalls.h is made from the profile:
 * the numbers, HVC_ERROR where unknown hcalls are refused by value, KEEP_X18
 * where x18 is not the handler's). -DMUTANT_... breaks one rule: mutants.S.
 *
 * In:  x0-x3 as the contract says.
 * Out: x0 as the contract says.
 * Clobbers: x17 and SCRATCH (x18, or x16 where x18 must be left alone); no
 * stack, but for HVC_CALL_HYP.
 */
#include "hcalls.h"

#ifdef KEEP_X18
#define SCRATCH x16
#else
#define SCRATCH x18
#endif
#include "mutants.h"

	.text
	.globl	VECTORS_START
VECTORS_START:
#ifndef HANDLERS_ONLY
	.macro	entry to
	.balign	0x80, 0
	b	\to
	.endm

table:
	.irp	vector, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.if	\vector == 8		/* EL1, AArch64, synchronous */
	entry	handler
#ifdef SERVES_EL2
	.elseif	\vector == 4		/* EL2h, synchronous */
	entry	handler
#endif
	.else
	entry	.
	.endif
	.endr
	.balign	0x80, 0
#endif

	/* Goes to \label when the hcall is \number. Changes SCRATCH, NZCV. */
	.macro	serve number, label
	mov	SCRATCH, #\number
	cmp	x17, SCRATCH
	b.eq	\label
	.endm

handler:
	MUTANT_ENTRY
#ifdef HVC_ERROR
	/* Immediate 0 is SMCCC's too, and keeps x4-x17: only SCRATCH, put back. */
	msr	far_el2, SCRATCH
	mrs	SCRATCH, esr_el2
	ubfx	SCRATCH, SCRATCH, #26, #6
	sub	SCRATCH, SCRATCH, #0x16
	cbnz	SCRATCH, not_hvc
	mrs	SCRATCH, esr_el2
	MUTANT_ISS(SCRATCH)
	and	SCRATCH, SCRATCH, #0xffff
	cbz	SCRATCH, smccc
#else
	mrs	x17, esr_el2
	ubfx	x17, x17, #26, #6
	cmp	x17, #0x16
	b.ne	not_hvc
#endif
	mrs	x17, esr_el2
	MUTANT_ISS(x17)
	and	x17, x17, #0xffff
	MUTANT_HCALL
	serve	HVC_GET_VECTORS, get_vectors
	serve	HVC_SET_VECTORS, set_vectors
	serve	HVC_CALL_FUNC, call_func
#if defined(FLAVOUR_KVM) && !defined(HVC_ERROR)
	serve	HVC_CALL_HYP, call_hyp
#endif
#ifdef HVC_SOFT_RESTART
	serve	HVC_SOFT_RESTART, soft_restart
#endif
#if defined(HVC_RESET_VECTORS)
	serve	HVC_RESET_VECTORS, reset_vectors
#endif
#ifdef HVC_ERROR
	MUTANT_UNKNOWN
	ldr	w0, =HVC_ERROR
#else
	MUTANT_UNKNOWN
#endif
	b	done

#ifdef HVC_ERROR
smccc:
	mrs	SCRATCH, far_el2
#ifdef FLAVOUR_KVM
	mov	x0, #-1			/* SMCCC NOT_SUPPORTED */
#else
	ldr	w0, =HVC_ERROR
#endif
	b	done
not_hvc:
	mrs	SCRATCH, far_el2
	eret
#else
not_hvc:
	eret
#endif

get_vectors:
	MUTANT_GET
	mrs	x0, vbar_el2
	b	done

set_vectors:
	MUTANT_SET
	msr	vbar_el2, x0
	b	done

#ifdef HVC_RESET_VECTORS
reset_vectors:
	adr	x0, table
	msr	vbar_el2, x0
	mov	x0, #0
	b	done
#endif

/* The callee finds its arguments in x0-x2; it must preserve SCRATCH. */
call_func:
	MUTANT_CALL
	mov	SCRATCH, x30
	mov	x30, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	blr	x30
	mov	x30, SCRATCH
	b	done

#ifdef HVC_SOFT_RESTART
soft_restart:
	MUTANT_RESTART
	mov	SCRATCH, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	br	SCRATCH
#endif

#if defined(FLAVOUR_KVM) && !defined(HVC_ERROR)
/* A C function with KVM's context: needs a stack. */
call_hyp:
	stp	x29, x30, [sp, #-16]!
	mov	x30, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	blr	x30
	ldp	x29, x30, [sp], #16
#endif

done:
	MUTANT_DONE
	eret
	.ltorg
	MUTANT_DATA
	.balign	8
	.globl	VECTORS_END
VECTORS_END:
