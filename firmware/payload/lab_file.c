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
#define PAGE_SP 0x900 /* SP_EL2 in the patterned page */
#define PAGE_WORDS (PAGE_SP / 8 + 16)
#define PAGE_WATCHED (PAGE_SP / 8 - 64)

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
int lab_page_touched(const struct pcpu *p)
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
		{ SYS_FPCR, 0x07c00000ull },
		{ SYS_CNTVOFF_EL2, ~0ull },
		{ SYS_VTTBR_EL2, 0x00fffffffffff000ull }, /* HCR_EL2.VM is clear */
		{ SYS_TTBR0_EL2, 0x0000fffffffff000ull }, /* SCTLR_EL2.M too */
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

#define ID_FIELD(reg, shift)                                  \
	({                                                    \
		uint64_t v_;                                  \
		__asm__ volatile("mrs %0, " #reg : "=r"(v_)); \
		v_ >> (shift) & 0xf;                          \
	})

/* PSTATE bits beside NZCV and DAIF that this CPU has, in SPSR_EL2's places. */
static uint64_t pstate_features(void)
{
	uint64_t bits = 0;

	bits |= (uint64_t)(ID_FIELD(id_aa64mmfr1_el1, 20) != 0) << 22; /* PAN */
	bits |= (uint64_t)(ID_FIELD(id_aa64mmfr2_el1, 4) != 0) << 23; /* UAO */
	bits |= (uint64_t)(ID_FIELD(id_aa64pfr0_el1, 48) != 0) << 24; /* DIT */
	bits |= (uint64_t)(ID_FIELD(id_aa64pfr1_el1, 8) >= 2) << 25; /* TCO */
	bits |= (uint64_t)(ID_FIELD(id_aa64pfr1_el1, 4) != 0) << 12; /* SSBS */
	return bits;
}

/* NZCV and what else there is from the pattern; DAIF masked, and in pass 1 unmasked where nothing is pending. */
static uint64_t pstate_in(const struct wire_job *job)
{
	uint64_t varied = 0xf0000000u | pstate_features();
	uint64_t pstate = job->origin | (pattern(job, 200) & varied) | DAIF_ALL;

	if (job->pass & 1)
		pstate &= ~(DAIF_D | (~lab_pending() & 0x1c0u));
	return pstate;
}

/* Takes a pending SError, so that the next hvc isn't charged with it. */
static uint64_t take_serror(uint64_t hcr, uint64_t b, uint64_t c, uint64_t d)
{
	(void)b, (void)c, (void)d;
	__asm__ volatile("msr hcr_el2, %0\n\tisb\n\tmsr daifclr, #4\n\tisb\n\tmsr daifset, #4"
			 :
			 : "r"(hcr | 1 << 5)); /* AMO */
	return 0;
}

static void drain_serror(struct pcpu *p)
{
	struct save *s = save_of(p);
	uint64_t ret;

	if (!(lab_pending() & 0x100))
		return;
	guard_call(p, take_serror, s->hcr, 0, 0, 0, &ret);
	__asm__ volatile("msr hcr_el2, %0\n\tisb" : : "r"(s->hcr));
}

/* The low halves are V, the rest a pattern; FFR all true, as it must be monotonic. */
static void sve_prepare(const struct save *s, const struct wire_job *job)
{
	uint32_t words = lab_vl_words();
	uint8_t *p = (uint8_t *)s->sve->p;

	for (uint32_t i = 0; i < 32 * words; i++)
		s->sve->z[i] =
			i % words < 2 ? s->in.v[i / words * 2 + i % words] : pattern(job, 300 + i);
	for (uint32_t i = 0; i < 16 * words; i++)
		p[i] = (uint8_t)pattern(job, 500 + i);
	for (uint32_t i = 0; i < words; i++)
		p[16 * words + i] = job->pass & 1 ? 0xff : 0;
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
	drain_serror(p); /* an inherited one is nobody's here */
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
	in->sp = in->sys[lab_sp_of(job)];
	s->land_count = 0;
	s->land_home = (uint64_t)listed(imm, job->land_imms, job->land_count % 4);
}

/* EL2 registers that held a pattern get back what the payload itself needs. */
void lab_file_finish(struct pcpu *p)
{
	struct save *s = save_of(p);

	s->in.sys[SYS_CNTVOFF_EL2] = s->in.sys[SYS_VTTBR_EL2] = s->in.sys[SYS_TTBR0_EL2] = 0;
	load_sysregs(s);
}

void lab_file_repair(struct pcpu *p, const struct wire_sig *sig)
{
	if (sig->flags & 0x10)
		drain_serror(p);
	if (sig->sys_changed || sig->seen == SEEN_LANDED || sig->seen == SEEN_EL2_FAULT ||
	    sig->seen == SEEN_EL1_FAULT || sig->seen == SEEN_LOST)
		load_sysregs(save_of(p)); /* slow where a register has side effects */
	if (sig->flags & 1)
		page_fill(p);
}
