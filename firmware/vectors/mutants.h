/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * The hooks of iss.S (assembler), each broken in one way by -DMUTANT_<name>. What each must
 * be accused of stands in hilagent/build/mutants.py.
 *
 * MUTANT_ENTRY before anything is read; MUTANT_ISS(reg) with reg = ESR_EL2;
 * MUTANT_HCALL with x17 = number; MUTANT_<hcall> as it is served; MUTANT_UNKNOWN;
 * MUTANT_DONE before the eret. SCRATCH is free in all but MUTANT_ENTRY.
 */

	/* Runs the lines between only for hcall \number; x17 still holds it. */
	.macro	only number
	mov	SCRATCH, #\number
	cmp	x17, SCRATCH
	b.ne	9f
	.endm

	.macro	mutant_iss reg
#if defined(MUTANT_iss_8bit)
	and	\reg, \reg, #0xff
#elif defined(MUTANT_iss_off_by_one)
	sub	\reg, \reg, #1
#elif defined(MUTANT_iss_12bit)
	and	\reg, \reg, #0xfff
#endif
	.endm
#define MUTANT_ISS(reg) mutant_iss reg

	.macro	mutant_entry
#if defined(MUTANT_uses_stack)
	str	x29, [sp, #-16]!
	add	sp, sp, #16
#elif defined(MUTANT_moves_sp)
	sub	sp, sp, #16
#endif
	.endm
#define MUTANT_ENTRY mutant_entry

	.macro	mutant_hcall
#if defined(MUTANT_one_misrouted)
	only	0xbeef
	mov	x17, #HVC_SET_VECTORS
9:
#elif defined(MUTANT_get_set_swapped)
	mov	SCRATCH, #HVC_GET_VECTORS
	cmp	x17, SCRATCH
	b.eq	set_vectors
	mov	SCRATCH, #HVC_SET_VECTORS
	cmp	x17, SCRATCH
	b.eq	get_vectors
#elif defined(MUTANT_one_clobbers)
	only	0x7fff
	mov	x20, #0
9:
#elif defined(MUTANT_hangs)
	only	0x4321
	b	.
9:
#elif defined(MUTANT_by_value)
	cbz	x0, get_vectors		/* as the hyp-stub before 2015 */
#elif defined(MUTANT_get_unknown)
	only	HVC_GET_VECTORS
	mov	x17, #0xffff
9:
#endif
	.endm
#define MUTANT_HCALL mutant_hcall

	.macro	mutant_get
#if defined(MUTANT_get_in_x1)
	mrs	x1, vbar_el2
	b	done
#elif defined(MUTANT_get_truncates)
	mrs	x0, vbar_el2
	and	x0, x0, #~0xfff
	b	done
#elif defined(MUTANT_wears_out)
	adr	x17, mutant_calls
	ldr	SCRATCH, [x17]
	add	SCRATCH, SCRATCH, #1
	str	SCRATCH, [x17]
	lsr	SCRATCH, SCRATCH, #6
	cbz	SCRATCH, 9f
	mov	x19, #0
9:
#elif defined(MUTANT_get_clobbers_x19)
	mrs	x19, vbar_el2
	mov	x19, #19
#elif defined(MUTANT_get_hangs)
	b	.
#elif defined(MUTANT_cpu1_only)
	mrs	SCRATCH, mpidr_el1
	ubfx	SCRATCH, SCRATCH, #0, #24
	cmp	SCRATCH, #1
	b.ne	9f
	mov	x21, #1
9:
#elif defined(MUTANT_second_call)
	adr	x17, mutant_calls
	ldr	SCRATCH, [x17]
	add	SCRATCH, SCRATCH, #1
	str	SCRATCH, [x17]
	tbnz	SCRATCH, #0, 9f
	mov	x22, #2
9:
#endif
	.endm
#define MUTANT_GET mutant_get

	.macro	mutant_set
#if defined(MUTANT_set_ignored)
	b	done
#elif defined(MUTANT_set_returns_zero)
	msr	vbar_el2, x0
	mov	x0, #0
	b	done
#elif defined(MUTANT_set_from_x1)
	msr	vbar_el2, x1
	b	done
#endif
	.endm
#define MUTANT_SET mutant_set

	.macro	mutant_call
#if defined(MUTANT_call_swaps_args)
	mov	SCRATCH, x1
	mov	x1, x2
	mov	x2, SCRATCH
#elif defined(MUTANT_call_keeps_lr)
	mov	x30, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	blr	x30
	b	done
#elif defined(MUTANT_call_at_el1)
	msr	elr_el2, x0
	b	done
#elif defined(MUTANT_call_ignored)
	b	done
#endif
	.endm
#define MUTANT_CALL mutant_call

	.macro	mutant_restart
#if defined(MUTANT_restart_x1_kept)
	mov	SCRATCH, x0
	mov	x0, x1
	br	SCRATCH
#elif defined(MUTANT_restart_cached)
	mrs	SCRATCH, sctlr_el2
	orr	SCRATCH, SCRATCH, #4	/* C */
	msr	sctlr_el2, SCRATCH
#elif defined(MUTANT_restart_returns)
	b	done
#endif
	.endm
#define MUTANT_RESTART mutant_restart

	.macro	mutant_unknown
#if defined(MUTANT_unknown_returns_zero)
	mov	x0, #0
	b	done
#elif defined(MUTANT_faults)
	.inst	0			/* undefined, at EL2 */
#elif defined(MUTANT_unknown_halves)
	mov	w0, w0
#elif defined(MUTANT_leaks_esr)
	mrs	x1, esr_el2
#elif defined(MUTANT_leaks_vbar)
	mrs	x9, vbar_el2
#endif
	.endm
#define MUTANT_UNKNOWN mutant_unknown

	.macro	spsr_bits op, bits
	mrs	x17, spsr_el2
	\op	x17, x17, #\bits
	msr	spsr_el2, x17
	.endm

	.macro	mutant_done
#if defined(MUTANT_clobbers_x16)
	mov	x16, #16
#elif defined(MUTANT_clobbers_x29)
	mov	x29, #29
#elif defined(MUTANT_clobbers_x30)
	mov	x30, #0
#elif defined(MUTANT_clobbers_v7)
	movi	v7.2d, #0
#elif defined(MUTANT_clobbers_v31_high)
	mov	v31.d[1], xzr
#elif defined(MUTANT_clobbers_nzcv)
	spsr_bits eor, 0x80000000
#elif defined(MUTANT_clears_daif)
	spsr_bits bic, 0x80
#elif defined(MUTANT_sets_daif)
	spsr_bits orr, 0x3c0
#elif defined(MUTANT_clobbers_sp_el0)
	msr	sp_el0, xzr
#elif defined(MUTANT_clobbers_sp_el1)
	mrs	x17, sp_el1
	sub	x17, x17, #16
	msr	sp_el1, x17
#elif defined(MUTANT_clobbers_tpidr)
	msr	tpidr_el0, xzr
#elif defined(MUTANT_clobbers_tpidr_el1)
	msr	tpidr_el1, xzr
#elif defined(MUTANT_clobbers_ttbr0)
	msr	ttbr0_el1, xzr
#elif defined(MUTANT_returns_skipping)
	mrs	x17, elr_el2
	add	x17, x17, #4
	msr	elr_el2, x17
#elif defined(MUTANT_returns_again)
	mrs	x17, elr_el2
	sub	x17, x17, #4
	msr	elr_el2, x17
#elif defined(MUTANT_returns_at_el2)
	spsr_bits orr, 0x8
	spsr_bits and, 0xfffffffffffffffb
#elif defined(MUTANT_returns_el1t)
	spsr_bits bic, 0x1
#elif defined(MUTANT_clears_cntvoff)
	msr	cntvoff_el2, xzr
#elif defined(MUTANT_clears_tde)
	mrs	x17, mdcr_el2
	bic	x17, x17, #0x100
	msr	mdcr_el2, x17
#endif
	.endm
#define MUTANT_DONE mutant_done

	.macro	mutant_data
#if defined(MUTANT_second_call) || defined(MUTANT_wears_out)
	.balign	8
mutant_calls:
	.quad	0
#endif
	.endm
#define MUTANT_DATA mutant_data
