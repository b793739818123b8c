/* SPDX-License-Identifier: Apache-2.0 */
/* What of the register file came home changed, and by which way it came. */
#pragma GCC optimize("O2") /* done for each of 65,536 immediates */

#include "lab_internal.h"
#include "mem.h"

_Static_assert(FRAME_SP == 31 * 8 && FRAME_PC == 32 * 8, "x0-x30 and SP are compared at once");

#define ESR_EC(esr) (((esr) >> 26) & 0x3f)
#define EC_HVC64 0x16u
#define EC_BRK64 0x3cu

static int in_el1_vectors(uint64_t pc)
{
	return pc - lab_el1_vectors() < 0x800;
}

/* V out of Z; what changed above bit 127, and bit 31 for P and FFR. */
static uint32_t sve_judge(struct save *s)
{
	const struct sve *in = s->sve, *out = s->sve + 1;
	uint32_t words = lab_vl_words(), changed = 0;

	if (!lab_differs(in, out, sizeof(*in))) {
		memcpy(s->out.v, s->in.v, sizeof(s->in.v));
		return 0;
	}
	for (uint32_t i = 0; i < 32 * words; i++) {
		if (i % words < 2)
			s->out.v[i / words * 2 + i % words] = out->z[i];
		else if (in->z[i] != out->z[i])
			changed |= 1u << i / words;
	}
	if (memcmp(in->p, out->p, 17 * words))
		changed |= 1u << 31;
	return changed;
}

void lab_file_landing(const struct save *s, struct wire_sig *sig)
{
	uint64_t state = s->land_state;

	sig->landing_state = (uint32_t)(state >> 2 & 3) | (uint32_t)(state & 0x100) |
			     (uint32_t)(state >> 14 & 0xf) << 16;
	for (uint32_t j = 0; j < 8; j++) {
		sig->args[j] = 0xff;
		for (uint32_t r = 0; r < 8; r++)
			if (s->land_x[j] == s->in.x[r])
				sig->args[j] = (uint8_t)r;
	}
	sig->catch = (uint8_t)((s->land_id >> ID_TABLE_SHIFT) - ID_CATCH);
}

/* An exception was taken to EL1, and its vector's trapped read came to EL2. */
static void judge_el1(const struct save *s, struct wire_sig *sig)
{
	uint64_t elr = s->out.sys[SYS_ELR_EL1], esr = s->out.sys[SYS_ESR_EL1];
	uint64_t catch = elr - (s->front - PCPU_FRONT + PCPU_CATCH);

	sig->seen = SEEN_EL1_FAULT;
	sig->vector = (s->out.pc - lab_el1_vectors()) / 0x80;
	sig->el = (uint8_t)(s->out.sys[SYS_SPSR_EL1] >> 2 & 3);
	sig->esr = esr;
	sig->elr = elr;
	if (catch < PCPU_NCATCH * 0x800 && catch % 0x800 == 0) {
		sig->seen = SEEN_LANDED; /* a catch table was entered, but not at EL2 */
		sig->catch = (uint8_t)(catch / 0x800);
		sig->landing_state = sig->el | 0x100;
	} else if (ESR_EC(esr) == EC_BRK64 && (esr & 0xffff) == BRK_STUB) {
		sig->seen = SEEN_RETURNED; /* MDCR_EL2.TDE was cleared: see sys_changed */
		sig->esr = sig->elr = 0;
	}
}

/* The vectors returned to an hvc: to this one again, or to another stub's. */
static int hvc_again(const struct save *s, uint32_t id)
{
	return id & ID_AGAIN ||
	       (id >> ID_TABLE_SHIFT >= ID_CATCH && ESR_EC(s->out.esr) == EC_HVC64);
}

/* How it came home: seen, vector, esr, elr and catch. */
static void judge_way(const struct save *s, uint32_t id, uint32_t imm, struct wire_sig *sig)
{
	uint32_t table = id >> ID_TABLE_SHIFT & 0xf, vector = id & ID_VECTOR;
	uint64_t esr = s->out.esr;
	uint32_t ec = ESR_EC(esr), brk = ec == EC_BRK64 ? esr & 0xffff : 0;

	sig->vector = (uint8_t)vector;
	sig->catch = 0xff;
	sig->el = (uint8_t)(s->out.pstate >> 2 & 3);
	if (s->land_count)
		lab_file_landing(s, sig);
	else if (table >= ID_CATCH)
		sig->catch = (uint8_t)(table - ID_CATCH);
	if (id & ID_LANDING && brk != BRK_STUB) {
		sig->seen = SEEN_LANDED;
	} else if (brk == BRK_STUB || hvc_again(s, id)) {
		sig->seen = table >= ID_CATCH ? SEEN_VECTORS_SET :
			    s->land_count     ? SEEN_CALLED :
						SEEN_RETURNED;
	} else if (in_el1_vectors(s->out.pc)) {
		judge_el1(s, sig);
	} else {
		sig->seen = ec == EC_HVC64 && table == ID_FRONT ? SEEN_RECORDED :
			    vector < 8                          ? SEEN_EL2_FAULT :
								  SEEN_LOST;
		sig->esr = ec == EC_HVC64 ? esr ^ imm : esr;
		sig->elr = s->out.pc;
	}
}

uint32_t lab_file_sys(const struct save *s, uint32_t id)
{
	uint32_t changed = 0;

	if (!lab_differs(s->out.sys, s->in.sys, sizeof(s->in.sys)))
		return 0;
	for (uint32_t i = 0; i < WIRE_NSYS; i++)
		changed |= (uint32_t)(s->out.sys[i] != s->in.sys[i]) << i;
	if (id & ID_TPIDR_USED)
		changed &= ~(1u << SYS_TPIDR_EL2);
	if (id >> ID_TABLE_SHIFT >= ID_CATCH && !(id & ID_LANDING))
		changed &= ~(1u << SYS_VBAR_EL2);
	if (in_el1_vectors(s->out.pc)) /* by the exception itself */
		changed &= ~(1u << SYS_ESR_EL1 | 1u << SYS_FAR_EL1 | 1u << SYS_ELR_EL1 |
			     1u << SYS_SPSR_EL1);
	return changed;
}

/* PSTATE before the way home. */
static uint64_t pstate_out(const struct save *s)
{
	return in_el1_vectors(s->out.pc) ? s->out.sys[SYS_SPSR_EL1] : s->out.pstate;
}

/* Where the vectors returned to, from the instruction after the hvc; saturates. */
static int32_t pc_off(const struct save *s, uint32_t id, const struct wire_sig *sig)
{
	uint64_t pc = s->out.pc;
	int64_t off;

	if (hvc_again(s, id) && sig->seen != SEEN_LANDED)
		pc -= 4;
	else if (in_el1_vectors(pc))
		pc = s->out.sys[SYS_ELR_EL1];
	off = (int64_t)(pc - (s->in.pc + 4));
	return off > INT32_MAX ? INT32_MAX : off < INT32_MIN ? INT32_MIN : (int32_t)off;
}

/* V (and Z above it) that changed. */
uint32_t lab_file_v(struct save *s, uint32_t *z)
{
	uint32_t v = 0;

	*z = s->sve ? sve_judge(s) : 0;
	if (lab_differs(s->out.v, s->in.v, sizeof(s->in.v)))
		for (uint32_t r = 0; r < 64; r++)
			v |= (uint32_t)(s->out.v[r] != s->in.v[r]) << r / 2;
	return v;
}

void lab_file_judge(struct pcpu *p, const struct wire_job *job, uint32_t id, uint32_t imm,
		    struct wire_sig *sig)
{
	struct save *s = save_of(p);
	const struct wire_frame *in = &s->in;
	struct wire_frame *out = &s->out;
	uint32_t gpr = 0, z, v = lab_file_v(s, &z);

	out->sp = out->sys[lab_sp_of(job)];
	if (lab_differs(out->x, in->x, FRAME_PC)) /* x0-x30 and SP */
		for (uint32_t r = 0; r < 31; r++)
			gpr |= (uint32_t)(out->x[r] != in->x[r]) << r;
	*sig = (struct wire_sig){
		.gpr_changed = gpr, .v_changed = v, .z_changed = z, .first = imm
	};
	sig->sys_changed = lab_file_sys(s, id);
	sig->gpr_changed |= (uint32_t)(out->sp != in->sp) << 31;
	sig->x0 = gpr & 1 ? out->x[0] : 0;
	sig->pstate_diff = (uint32_t)(pstate_out(s) ^ in->pstate);
	judge_way(s, id, imm, sig);
	sig->pc_off = pc_off(s, id, sig);
	if (sig->seen != SEEN_RETURNED && sig->seen != SEEN_VECTORS_SET &&
	    sig->seen != SEEN_CALLED && sig->seen != SEEN_RECORDED)
		sig->pc_off = 0, sig->x0 = 0;
	sig->flags = in->sys[SYS_SP_EL2] == (uint64_t)GOOD_STACK(p) ? 4 :
		     job->pass & 1                                  ? lab_page_touched(p) :
								      0;
	if (sig->sys_changed >> SYS_SP_EL2 & 1)
		sig->flags |= 2;
	if (lab_pending() & 0x100)
		sig->flags |= 0x10;
	out->seen = sig->seen;
	out->imm = imm;
}
