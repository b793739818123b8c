/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laboratory at EL2. The vectors under test never own VBAR_EL2 in a sweep:
 * it holds this CPU's front table, whose lower-EL synchronous entry hands an
 * hvc on to the table under test with nothing changed but FAR_EL2, and keeps
 * every other exception. A register file goes in by eret; it comes home by a
 * brk after the hvc, which MDCR_EL2.TDE brings to EL2 from whatever exception
 * level and state the vectors returned to, with every register as they left it.
 */
#include "cache.h"
#include "crc32.h"
#include "lab_internal.h"
#include "mem.h"

#define MDCR_TDE (1ull << 8)
#define CPTR_TZ (1ull << 8) /* RES1 without SVE */
#define CPTR_TFP (1ull << 10)
#define CPTR_TSM (1ull << 12) /* RES1 without SME */
#define CPACR_ALL (3ull << 24 | 3ull << 20 | 3ull << 16) /* SME, FP, SVE: no traps */
#define HCR_TID3 (1ull << 18)

uint8_t lab_slot[SLOT_SIZE] __attribute__((aligned(4096)));
extern const uint8_t vectors_stub_start[], vectors_stub_end[];
extern const uint8_t vectors_kvm_start[], vectors_kvm_end[];

static struct {
	const uint8_t *table; /* null: the recorder */
	uint32_t from_el2, crc;
} under_test;

#define READ(reg)                                             \
	({                                                    \
		uint64_t v_;                                  \
		__asm__ volatile("mrs %0, " #reg : "=r"(v_)); \
		v_;                                           \
	})
#define SET(reg, value)                                                  \
	do {                                                             \
		uint64_t v_ = (value);                                   \
		__asm__ volatile("msr " #reg ", %0\n\tisb" : : "r"(v_)); \
	} while (0)

/*
 * The same vector length at EL1 and EL2, or going there would truncate Z by
 * itself. Streaming mode off: it would hide V (Arm ARM DDI 0487, A1.4.1).
 */
static void enable_sve(struct pcpu *p)
{
	struct save *s = save_of(p);
	uint64_t sme = READ(id_aa64pfr1_el1) >> 24 & 0xf, sve = READ(id_aa64pfr0_el1) >> 32 & 0xf;

	s->sve = NULL;
	SET(cptr_el2, READ(cptr_el2) & ~(CPTR_TFP | (sve ? CPTR_TZ : 0) | (sme ? CPTR_TSM : 0)));
	if (sme)
		__asm__ volatile(".inst 0xd503467f\n\tisb"); /* smstop */
	if (!sve)
		return;
	SET(S3_4_C1_C2_0, 1); /* ZCR_EL2.LEN: 256 bits */
	SET(S3_0_C1_C2_0, 1); /* ZCR_EL1.LEN */
	s->sve = (struct sve *)(pcpu_area(p) + PCPU_SVE);
}

void lab_init(struct pcpu *p)
{
	struct save *s = save_of(p);
	uint8_t *area = pcpu_area(p);

	s->common = (uint64_t)lab_common;
	s->stack = (uint64_t)area + PCPU_STACK_TOP;
	s->front = (uint64_t)area + PCPU_FRONT;
	s->base = (uint64_t)area + PCPU_BASE;
	s->slot = (uint64_t)lab_slot;
	lab_tables_build(p);
	SET(mdcr_el2, READ(mdcr_el2) | MDCR_TDE);
	SET(vbar_el1, lab_el1_vectors());
	SET(cpacr_el1, CPACR_ALL);
	enable_sve(p);
	SET(mdscr_el1, 0); /* no left-over watchpoint or single step */
	SET(cntp_ctl_el0, 0);
	SET(cntv_ctl_el0, 0);
	SET(cnthp_ctl_el2, 0);
	SET(hcr_el2, READ(hcr_el2) | HCR_TID3);
	SET(vbar_el2, s->base);
	s->cptr = READ(cptr_el2);
	s->hcr = READ(hcr_el2);
	s->sctlr = READ(sctlr_el2);
}

/* The same bytes as the whole of firmware/vectors/iss.S: 16 branches and the handlers. */
static uint32_t load_builtin(const uint8_t *start, const uint8_t *end)
{
	size_t size = 0x800 + (size_t)(end - start);

	cache_before_write(lab_slot, size);
	memset(lab_slot, 0, 0x800);
	for (uint32_t v = 0; v < 16; v++)
		*(uint32_t *)(lab_slot + v * 0x80) =
			0x14000000 | (v == 8 ? (0x800 - 0x400) / 4 : 0);
	memcpy(lab_slot + 0x800, start, size - 0x800);
	cache_code_written(lab_slot, size);
	under_test.crc = crc32_update(0, lab_slot, size);
	under_test.table = lab_slot;
	under_test.from_el2 = 0;
	return STATUS_OK;
}

uint32_t lab_vectors(const struct wire_vectors *v)
{
	if (v->target == TARGET_HYP_STUB)
		return load_builtin(vectors_stub_start, vectors_stub_end);
	if (v->target == TARGET_KVM)
		return load_builtin(vectors_kvm_start, vectors_kvm_end);
	if (v->target == TARGET_RECORDER) {
		under_test.table = NULL;
		under_test.crc = 0;
		return STATUS_OK;
	}
	if (v->target != TARGET_SLOT || v->offset % 0x800 || v->size > SLOT_SIZE ||
	    v->offset > SLOT_SIZE - 0x800 || v->offset + 0x800 > v->size)
		return STATUS_BAD_ARG;
	if (crc32_update(0, lab_slot, v->size) != v->crc)
		return STATUS_FAILED;
	cache_code_written(lab_slot, v->size);
	under_test.table = lab_slot + v->offset;
	under_test.from_el2 = v->flags & 1;
	under_test.crc = v->crc;
	return STATUS_OK;
}

uint32_t lab_vectors_crc(void)
{
	return under_test.crc;
}

uint32_t guard_call(struct pcpu *p, uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
		    uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *ret)
{
	struct save *s = save_of(p);
	uint32_t failed = guard_enter(s, fn, a, b, c, d, ret);

	if (failed)
		p->exc = (struct exc){ .id = s->out.seen,
				       .el = s->out.pstate >> 2 & 3,
				       .esr = s->out.esr,
				       .far = s->out.far,
				       .elr = s->out.pc,
				       .spsr = s->out.pstate };
	return failed;
}

/* From lab_asm.S: an exception of the payload's own code that nobody guards. */
__attribute__((noreturn)) void lab_unguarded(struct save *s, uint32_t id)
{
	struct pcpu *p = (struct pcpu *)((uint8_t *)s - PCPU_SAVE + PCPU_STATE);

	p->exc = (struct exc){ .id = id,
			       .el = s->out.pstate >> 2 & 3,
			       .esr = s->out.esr,
			       .far = s->out.far,
			       .elr = s->out.pc,
			       .spsr = s->out.pstate };
	fatal_exception(p);
}

static void answer(struct pcpu *p, uint64_t x0, uint32_t faulted)
{
	struct wire_call_result *r = (struct wire_call_result *)(pcpu_area(p) + PCPU_RESULT);
	const struct save *s = save_of(p);

	*r = (struct wire_call_result){ .x0 = x0, .faulted = faulted };
	memcpy(r->x, s->out.x, sizeof(r->x));
	if (!faulted)
		return;
	r->vector = s->out.seen & ID_VECTOR;
	r->el = s->out.pstate >> 2 & 3;
	r->esr = s->out.esr;
	r->far = s->out.far;
	r->elr = s->out.pc;
	r->spsr = s->out.pstate;
}

/* CALL: the function returns to a brk; any other way home is a fault. */
static uint32_t run_call(struct pcpu *p, const struct wire_job *job)
{
	struct save *s = save_of(p);
	uint32_t id, ok;

	if (job->el != 1 && job->el != 2)
		return answer(p, 0, 1), JOB_FAULTED;
	lab_front_build(p, NULL, 0);
	lab_sysregs_save(s->in.sys);
	memcpy(s->in.x, job->x, sizeof(s->in.x));
	s->in.x[30] = (uint64_t)code_of(p, LAB_RETURN);
	s->in.pc = job->addr;
	s->in.pstate = 0x3c0 | (job->el == 2 ? ORIGIN_EL2H : ORIGIN_EL1H);
	s->in.sys[SYS_SP_EL2] = (uint64_t)pcpu_area(p) + PCPU_SPPAGE + 0x1000;
	SET(sp_el1, s->in.sys[SYS_SP_EL2]);
	s->land_count = s->land_home = 0;
	SET(hcr_el2, s->hcr & ~HCR_TID3); /* ID registers are the function's to read */
	id = lab_issue(s);
	ok = s->out.esr >> 26 == 0x3c && (s->out.esr & 0xffff) == BRK_CALL;
	s->out.seen = id;
	if (s->out.pc - lab_el1_vectors() < 0x800) {
		s->out.seen = (s->out.pc - lab_el1_vectors()) / 0x80;
		s->out.esr = s->out.sys[SYS_ESR_EL1];
		s->out.far = s->out.sys[SYS_FAR_EL1];
		s->out.pstate = s->out.sys[SYS_SPSR_EL1];
		s->out.pc = s->out.sys[SYS_ELR_EL1];
	}
	answer(p, s->out.x[0], !ok);
	return ok ? JOB_DONE : JOB_FAULTED;
}

static uint32_t run_sysreg(struct pcpu *p, const struct wire_job *job)
{
	uint32_t *code = code_of(p, LAB_SYSREG);
	uint32_t write = job->addr >> 31 & 1, failed;
	uint64_t value = 0;

	/* mrs x0 / msr x0: op0 2 and 3 only, so that no other instruction can be made */
	code[0] = (write ? 0xd5100000u : 0xd5300000u) | ((uint32_t)job->addr & 0x7fff) << 5;
	code[1] = 0xd65f03c0u; /* ret */
	cache_code_written(code, 8);
	failed = guard_call(p, (uint64_t (*)(uint64_t, uint64_t, uint64_t, uint64_t))code,
			    job->x[0], 0, 0, 0, &value);
	answer(p, value, failed);
	return failed ? JOB_FAULTED : JOB_DONE;
}

static void judge_direct(struct save *s, uint32_t id, struct wire_sig *sig)
{
	uint32_t table = id >> ID_TABLE_SHIFT & 0xf;

	if (s->land_count && !(s->land_home && s->direct.returned))
		lab_file_landing(s, sig);
	if (!s->direct.returned) {
		sig->seen = id & ID_LANDING ? SEEN_LANDED : SEEN_LOST;
		return;
	}
	sig->seen = SEEN_RETURNED;
	if (!s->land_home && s->land_count) {
		sig->seen = SEEN_CALLED;
	} else if (!s->land_home && table >= ID_CATCH) {
		sig->seen = SEEN_VECTORS_SET;
		sig->catch = (uint8_t)(table - ID_CATCH);
	}
	sig->el = s->direct.pstate >> 2 & 3;
	sig->pstate_diff = (uint32_t)((s->direct.pstate ^ s->in.pstate) & 0xf00003c0u);
	for (uint32_t r = 0; r < 31; r++)
		sig->gpr_changed |= (uint32_t)(s->direct.x[r] != s->in.x[r]) << r;
	sig->x0 = sig->gpr_changed & 1 ? s->direct.x[0] : 0;
	/* The hcall that led home may only have added to these. */
	sig->v_changed = lab_file_v(s, &sig->z_changed);
	sig->sys_changed = lab_file_sys(s, id) & ~(1u << SYS_TPIDR_EL1 | 1u << SYS_VBAR_EL2);
	memcpy(s->out.x, s->direct.x, sizeof(s->out.x));
}

/*
 * DIRECT: VBAR_EL2 is the table under test itself, nothing of ours at EL2. The
 * EL1 code looks at its registers by itself and asks the table, by an hcall of
 * its contract, to bring us home. If it doesn't, this CPU is lost: a hang.
 */
static uint32_t run_direct(struct pcpu *p, const struct wire_job *job)
{
	struct save *s = save_of(p);
	uint32_t *code = code_of(p, LAB_DIRECT);
	size_t size = (size_t)((const uint8_t *)lab_direct_end - (const uint8_t *)lab_direct_code);
	struct wire_frame *frames = (struct wire_frame *)(pcpu_area(p) + PCPU_RESULT);
	uint64_t home = s->front, front = s->front;
	uint32_t id;
	struct wire_sig sig = { .seen = SEEN_LOST, .first = job->first, .catch = 0xff };

	if (!under_test.table)
		return answer(p, 0, 1), JOB_FAULTED;
	memcpy(code, lab_direct_code, size);
	code[0] = lab_hvc_word(job->first & 0xffff);
	code[lab_direct_home - lab_direct_code] = lab_hvc_word(job->home_imm & 0xffff);
	cache_code_written(code, size);
	lab_file_prepare(p, job);
	lab_file_aim(p, job, job->first & 0xffff, job->x0_first);
	s->in.pc = (uint64_t)code;
	s->in.sys[SYS_SP_EL2] = (uint64_t)pcpu_area(p) + PCPU_SPPAGE + 0xff0;
	s->direct.returned = 0;
	if (job->flags & JOBFLAG_HOME_CALL) {
		home = (uint64_t)pcpu_area(p) + PCPU_CATCH;
		s->land_home = 1;
	}
	s->direct.home_x0 = job->fixed_mask >> 31 ? job->x0_step : home;
	s->direct.home_x1 = home;
	s->front = (uint64_t)under_test.table;
	p->at = job->first;
	id = lab_issue(s);
	s->front = front;
	s->out.imm = job->first;
	judge_direct(s, id, &sig);
	memcpy(&frames[0], &s->in, sizeof(s->in));
	memcpy(&frames[1], &s->out, sizeof(s->out));
	memcpy(&frames[2], &sig, sizeof(sig));
	lab_file_finish(p);
	p->done = 1;
	return JOB_DONE;
}

uint32_t lab_run(struct pcpu *p, void (*beat)(struct pcpu *))
{
	const struct wire_job *job = &p->mail.job;

	p->done = 0;
	p->at = job->first;
	switch (job->kind) {
	case JOBKIND_CALL:
		return run_call(p, job);
	case JOBKIND_SYSREG:
		return run_sysreg(p, job);
	case JOBKIND_HVC:
	case JOBKIND_SWEEP:
	case JOBKIND_DIRECT:
		break;
	default:
		return answer(p, 0, 1), JOB_FAULTED;
	}
	lab_front_build(p, under_test.table, under_test.from_el2);
	if (job->kind == JOBKIND_SWEEP)
		return lab_sweep(p, job, beat);
	return job->kind == JOBKIND_HVC ? lab_hvc(p, job) : run_direct(p, job);
}

uint32_t lab_result_size(const struct pcpu *p)
{
	if (p->job_state == JOB_FAULTED || p->mail.job.kind == JOBKIND_CALL ||
	    p->mail.job.kind == JOBKIND_SYSREG)
		return SIZEOF_CALL_RESULT;
	if (p->mail.job.kind == JOBKIND_SWEEP)
		return PCPU_RESULT_SIZE;
	return 2 * SIZEOF_FRAME + SIZEOF_SIG;
}
