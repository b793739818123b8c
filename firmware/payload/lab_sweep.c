/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One register pass over a range: a table of the different things that were
 * seen, and a run-length map of which immediate did which. "Did not finish" is
 * in the result before it starts.
 */
#pragma GCC optimize("O2") /* done for each of 65,536 immediates */

#include "lab_internal.h"
#include "crc32.h"
#include "mem.h"

#define OTHERS (WIRE_MAX_SIGS - 1) /* the signature of all that found no place */
#define SIG_OTHERS 0x80000000u

struct sweep {
	struct wire_sweep_result *head;
	struct wire_sig *sigs;
	uint32_t *runs;
	uint32_t last; /* index of the last signature */
	uint32_t crc;
};

static int same(const struct wire_sig *a, const struct wire_sig *b)
{
	return a->gpr_changed == b->gpr_changed && a->x0 == b->x0 && a->seen == b->seen &&
	       a->vector == b->vector && a->catch == b->catch && a->el == b->el &&
	       a->v_changed == b->v_changed && a->sys_changed == b->sys_changed &&
	       a->pstate_diff == b->pstate_diff && a->pc_off == b->pc_off && a->esr == b->esr &&
	       a->flags == b->flags && a->landing_state == b->landing_state &&
	       a->z_changed == b->z_changed && memcmp(a->args, b->args, sizeof(a->args)) == 0;
}

static struct wire_frame *frames_of(const struct pcpu *p)
{
	return (struct wire_frame *)(pcpu_area(p) + PCPU_RESULT + WIRE_FRAMES_OFFSET);
}

static void keep_frames(struct pcpu *p, uint32_t index)
{
	const struct save *s = save_of(p);

	memcpy(&frames_of(p)[2 * index], &s->in, sizeof(s->in));
	memcpy(&frames_of(p)[2 * index + 1], &s->out, sizeof(s->out));
}

static uint32_t find(struct pcpu *p, struct sweep *w, const struct wire_sig *sig)
{
	uint32_t n = w->head->sigs;

	if (n && same(&w->sigs[w->last], sig))
		return w->last;
	for (uint32_t i = 0; i < n; i++)
		if (same(&w->sigs[i], sig))
			return i;
	if (n >= WIRE_MAX_SIGS)
		return OTHERS;
	w->sigs[n] = *sig;
	if (n == OTHERS)
		w->sigs[n].flags |= SIG_OTHERS;
	keep_frames(p, n);
	w->head->sigs = (uint16_t)(n + 1);
	w->head->frames = n + 1;
	return n;
}

static void record(struct pcpu *p, struct sweep *w, const struct wire_sig *sig)
{
	uint32_t index = find(p, w, sig), n = w->head->runs;
	uint8_t byte = (uint8_t)index;

	w->crc = crc32_update(w->crc, &byte, 1);
	w->last = index;
	if (n && w->runs[n - 1] >> 24 == index && !w->head->left_out)
		w->runs[n - 1]++;
	else if (n < WIRE_MAX_RUNS && !w->head->left_out)
		w->runs[n] = index << 24 | 1, w->head->runs = (uint16_t)(n + 1);
	else
		w->head->left_out++;
	w->head->done++;
}

/* One hvc there and back. An interrupt that was pending after all is masked and it is done again. */
static void issue(struct pcpu *p, const struct wire_job *job, uint32_t imm, uint64_t x0,
		  struct wire_sig *sig)
{
	struct save *s = save_of(p);

	lab_file_aim(p, job, imm, x0);
	lab_file_judge(p, job, lab_issue(s), imm, sig);
	if (sig->seen == SEEN_EL1_FAULT && sig->vector & 3) {
		lab_file_repair(p, sig);
		s->in.pstate |= 0x1c0;
		lab_file_aim(p, job, imm, x0);
		lab_file_judge(p, job, lab_issue(s), imm, sig);
	}
	lab_file_repair(p, sig);
}

static int skipped(const struct wire_job *job, uint32_t imm)
{
	for (uint32_t i = 0; i < job->skip_count && i < 8; i++)
		if (job->skip_imms[i] == imm)
			return 1;
	return 0;
}

static uint64_t count_now(void)
{
	uint64_t now;

	__asm__ volatile("isb; mrs %0, cntpct_el0" : "=r"(now));
	return now;
}

static void begin(struct pcpu *p, const struct wire_job *job, struct sweep *w)
{
	uint8_t *result = pcpu_area(p) + PCPU_RESULT;

	w->head = (struct wire_sweep_result *)result;
	w->sigs = (struct wire_sig *)(result + sizeof(*w->head));
	w->runs = (uint32_t *)(w->sigs + WIRE_MAX_SIGS);
	w->last = w->crc = 0;
	*w->head = (struct wire_sweep_result){
		.magic = WIRE_SWEEP_MAGIC,
		.cpu = (uint16_t)p->index,
		.origin = (uint16_t)job->origin,
		.pass = job->pass,
		.first = job->first,
		.count = job->count,
		.seed = job->seed,
		.vectors_crc = lab_vectors_crc(),
		.job = p->job_id,
		.cnt_start = count_now(),
	};
}

uint32_t lab_sweep(struct pcpu *p, const struct wire_job *job, void (*beat)(struct pcpu *))
{
	uint32_t block = job->block ? job->block : 4096;
	struct sweep w;
	struct wire_sig sig;

	begin(p, job, &w);
	lab_file_prepare(p, job);
	for (uint32_t i = 0; i < job->count; i++) {
		int by_x0 = (job->flags & JOBFLAG_SWEEP_X0) != 0;
		uint32_t imm = by_x0 ? job->first : job->first + i;

		p->at = by_x0 ? i : imm;
		if (skipped(job, imm))
			sig = (struct wire_sig){ .seen = SEEN_NOT_ISSUED,
						 .first = imm,
						 .catch = 0xff };
		else
			issue(p, job, imm, job->x0_first + i * job->x0_step, &sig);
		if (by_x0)
			sig.first = i;
		record(p, &w, &sig);
		p->done = i + 1;
		if (beat && (i + 1) % block == 0)
			beat(p);
	}
	w.head->crc = w.crc;
	w.head->cnt_end = count_now();
	lab_file_finish(p);
	memcpy(w.sigs + w.head->sigs, w.runs, w.head->runs * sizeof(*w.runs)); /* downwards: safe */
	return JOB_DONE;
}

/* Result: the frame that went in, the frame that came home, the signature. */
uint32_t lab_hvc(struct pcpu *p, const struct wire_job *job)
{
	struct wire_frame *frames = (struct wire_frame *)(pcpu_area(p) + PCPU_RESULT);
	struct save *s = save_of(p);
	struct wire_sig sig;

	lab_file_prepare(p, job);
	p->at = job->first;
	issue(p, job, job->first & 0xffff, job->x0_first, &sig);
	memcpy(&frames[0], &s->in, sizeof(s->in));
	memcpy(&frames[1], &s->out, sizeof(s->out));
	memcpy(&frames[2], &sig, sizeof(sig));
	lab_file_finish(p);
	p->done = 1;
	return JOB_DONE;
}
