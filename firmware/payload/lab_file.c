/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register file of one issued hvc: what goes in, and what of it came home
 * changed. Pass 1 holds the complement of pass 0, so that a register that is
 * written with its own value in one pass is seen in the other.
 */
#pragma GCC optimize("O2") /* done for each of 65,536 immediates */

#include "lab_internal.h"
#include "mem.h"

#define DAIF_ALL 0x3c0u
#define DAIF_D 0x200u
#define ESR_EC(esr) (((esr) >> 26) & 0x3f)
#define EC_HVC64 0x16u
#define EC_BRK64 0x3cu
#define PAGE_SP 0x900 /* SP_EL2 in the patterned page */
#define PAGE_STACK 0xff0 /* a good stack for the hcalls that need one */
#define PAGE_WORDS (PAGE_SP / 8 + 16)
#define PAGE_WATCHED (PAGE_SP / 8 - 64)
#define GOOD_STACK(p) (pcpu_area(p) + PCPU_SPPAGE + PAGE_STACK)

static int in_el1_vectors(uint64_t pc)
{
	return pc - lab_el1_vectors() < 0x800;
}

static uint64_t mix(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t pattern(const struct wire_job *job, uint64_t i)
{
	uint64_t z = mix(job->seed, i);

	return job->pass & 1 ? ~z : z;
}

static uint64_t *sp_page(const struct pcpu *p)
{
	return (uint64_t *)(pcpu_area(p) + PCPU_SPPAGE);
}

static void page_fill(struct pcpu *p)
{
	for (uint32_t i = 0; i < PAGE_WORDS; i++)
		sp_page(p)[i] = mix(0x5350454c32ull, i);
	memcpy(pcpu_area(p) + PCPU_SPCOPY, sp_page(p) + PAGE_WATCHED,
	       8 * (PAGE_WORDS - PAGE_WATCHED));
}

/* The 512 bytes below SP_EL2 and the 128 above it. */
static int page_touched(const struct pcpu *p)
{
	return lab_differs(sp_page(p) + PAGE_WATCHED, pcpu_area(p) + PCPU_SPCOPY,
			   8 * (PAGE_WORDS - PAGE_WATCHED));
}

/* Registers that can hold a pattern without harm while EL1's MMU is off. */
static void pattern_sysregs(const struct wire_job *job, uint64_t *sys)
{
	static const struct {
		uint8_t reg;
		uint64_t mask;
	} free_regs[] = {
		{ SYS_SP_EL0, ~15ull },
		{ SYS_SP_EL1, ~15ull },
		{ SYS_TPIDR_EL0, ~0ull },
		{ SYS_TPIDRRO_EL0, ~0ull },
		{ SYS_TPIDR_EL1, ~0ull },
		{ SYS_TPIDR_EL2, ~0ull },
		{ SYS_TTBR0_EL1, 0x0000fffffffff000ull },
		{ SYS_TTBR1_EL1, 0x0000fffffffff000ull },
		{ SYS_MAIR_EL1, ~0ull },
		{ SYS_CONTEXTIDR_EL1, 0xffffffffull },
		{ SYS_ESR_EL1, 0x03ffffffull },
		{ SYS_FAR_EL1, ~0ull },
		{ SYS_ELR_EL1, ~3ull },
		{ SYS_SPSR_EL1, 0xf0000000ull },
		{ SYS_CNTKCTL_EL1, 0x3ull },
		{ SYS_FPSR, 0x0800009full },
		{ SYS_FPCR, 0x01c00000ull },
	};

	for (uint32_t i = 0; i < sizeof(free_regs) / sizeof(free_regs[0]); i++)
		sys[free_regs[i].reg] = pattern(job, 128 + free_regs[i].reg) & free_regs[i].mask;
	sys[SYS_VBAR_EL1] = lab_el1_vectors();
}

static void load_sysregs(struct save *s)
{
	uint64_t front = s->in.sys[SYS_VBAR_EL2];

	s->in.sys[SYS_VBAR_EL2] = s->base;
	lab_sysregs_load(s->in.sys);
	s->in.sys[SYS_VBAR_EL2] = front;
}

static uint64_t pending(void)
{
	uint64_t isr;

	__asm__ volatile("mrs %0, isr_el1" : "=r"(isr));
	return isr;
}

/* NZCV from the pattern; DAIF masked, and in pass 1 unmasked where nothing is pending. */
static uint64_t pstate_in(const struct wire_job *job)
{
	uint64_t pstate = job->origin | (pattern(job, 200) & 0xf0000000u) | DAIF_ALL;

	if (job->pass & 1)
		pstate &= ~(DAIF_D | (~pending() & 0x1c0u));
	return pstate;
}

static uint32_t vl_words(void)
{
	uint64_t bytes;

	__asm__ volatile(".arch_extension sve\n\trdvl %0, #1" : "=r"(bytes));
	return (uint32_t)bytes / 8;
}

/* The low halves are V, the rest a pattern; FFR all true, as it must be monotonic. */
static void sve_prepare(const struct save *s, const struct wire_job *job)
{
	uint32_t words = vl_words();
	uint8_t *p = (uint8_t *)s->sve->p;

	for (uint32_t i = 0; i < 32 * words; i++)
		s->sve->z[i] =
			i % words < 2 ? s->in.v[i / words * 2 + i % words] : pattern(job, 300 + i);
	for (uint32_t i = 0; i < 16 * words; i++)
		p[i] = (uint8_t)pattern(job, 500 + i);
	for (uint32_t i = 0; i < words; i++)
		p[16 * words + i] = job->pass & 1 ? 0xff : 0;
}

/* V out of Z; what changed above bit 127, and bit 31 for P and FFR. */
static uint32_t sve_judge(struct save *s)
{
	const struct sve *in = s->sve, *out = s->sve + 1;
	uint32_t words = vl_words(), changed = 0;

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

void lab_file_prepare(struct pcpu *p, const struct wire_job *job)
{
	struct save *s = save_of(p);
	struct wire_frame *in = &s->in;

	for (uint32_t r = 0; r < 31; r++)
		in->x[r] = pattern(job, r);
	for (uint32_t i = 0; i < 64; i++)
		in->v[i] = pattern(job, 64 + i);
	if (s->sve)
		sve_prepare(s, job);
	lab_sysregs_save(in->sys);
	pattern_sysregs(job, in->sys);
	load_sysregs(s);
	lab_sysregs_save(in->sys); /* what it really holds: some bits don't stick */
	in->sys[SYS_VBAR_EL2] = s->front;
	in->pstate = pstate_in(job);
	in->esr = in->far = 0;
	page_fill(p);
}

static int listed(uint32_t imm, const uint32_t *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (list[i] == imm)
			return 1;
	return 0;
}

static uint64_t sp_el2_for(struct pcpu *p, const struct wire_job *job, uint32_t imm)
{
	if (job->flags & JOBFLAG_SP_USABLE || listed(imm, job->stack_imms, job->stack_count % 9))
		return (uint64_t)GOOD_STACK(p);
	return job->pass & 1 ? (uint64_t)sp_page(p) + PAGE_SP : LAB_BAD_SP;
}

/* The stack pointer of the origin. */
static uint32_t sp_of(const struct wire_job *job)
{
	return job->origin == ORIGIN_EL1H ? SYS_SP_EL1 :
	       job->origin == ORIGIN_EL2T ? SYS_SP_EL0 :
					    SYS_SP_EL2;
}

void lab_file_aim(struct pcpu *p, const struct wire_job *job, uint32_t imm, uint64_t x0)
{
	struct save *s = save_of(p);
	struct wire_frame *in = &s->in;

	for (uint32_t r = 0; r < 4; r++)
		if (job->catch_mask >> r & 1)
			in->x[r] = (uint64_t)pcpu_area(p) + PCPU_CATCH +
				   (r + 4 * (job->pass & 1)) * 0x800ull;
	for (uint32_t r = 0; r < 31 && (job->fixed_mask || job->flags); r++)
		if (job->fixed_mask >> r & 1 || job->flags & JOBFLAG_KEEP_PATTERN)
			in->x[r] = job->x[r];
	if (job->flags & JOBFLAG_SWEEP_X0)
		in->x[0] = x0;
	in->imm = imm;
	in->pc = (uint64_t)lab_stubs[imm];
	in->sys[SYS_SP_EL2] = sp_el2_for(p, job, imm);
	in->sp = in->sys[sp_of(job)];
	s->land_count = 0;
	s->land_home = (uint64_t)listed(imm, job->land_imms, job->land_count % 4);
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

static uint32_t sys_changed(const struct save *s, uint32_t id)
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

void lab_file_judge(struct pcpu *p, const struct wire_job *job, uint32_t id, uint32_t imm,
		    struct wire_sig *sig)
{
	struct save *s = save_of(p);
	const struct wire_frame *in = &s->in;
	struct wire_frame *out = &s->out;
	uint32_t gpr = 0, v = 0, z = s->sve ? sve_judge(s) : 0;

	for (uint32_t r = 0; r < 31; r++)
		gpr |= (uint32_t)(out->x[r] != in->x[r]) << r;
	if (lab_differs(out->v, in->v, sizeof(in->v)))
		for (uint32_t r = 0; r < 64; r++)
			v |= (uint32_t)(out->v[r] != in->v[r]) << r / 2;
	*sig = (struct wire_sig){
		.gpr_changed = gpr, .v_changed = v, .z_changed = z, .first = imm
	};
	sig->sys_changed = sys_changed(s, id);
	out->sp = out->sys[sp_of(job)];
	sig->gpr_changed |= (uint32_t)(out->sp != in->sp) << 31;
	sig->x0 = gpr & 1 ? out->x[0] : 0;
	sig->pstate_diff = (uint32_t)(pstate_out(s) ^ in->pstate);
	judge_way(s, id, imm, sig);
	sig->pc_off = pc_off(s, id, sig);
	if (sig->seen != SEEN_RETURNED && sig->seen != SEEN_VECTORS_SET &&
	    sig->seen != SEEN_CALLED && sig->seen != SEEN_RECORDED)
		sig->pc_off = 0, sig->x0 = 0;
	sig->flags = in->sys[SYS_SP_EL2] == (uint64_t)GOOD_STACK(p) ? 4 :
		     job->pass & 1                                  ? page_touched(p) :
								      0;
	if (sig->sys_changed >> SYS_SP_EL2 & 1)
		sig->flags |= 2;
	if (pending() & 0x100)
		sig->flags |= 0x10;
	out->seen = sig->seen;
	out->imm = imm;
}

void lab_file_repair(struct pcpu *p, const struct wire_sig *sig)
{
	if (sig->sys_changed || sig->seen != SEEN_RETURNED)
		load_sysregs(save_of(p));
	if (sig->flags & 1)
		page_fill(p);
}
