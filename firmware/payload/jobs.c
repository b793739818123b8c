/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that a CPU does by itself. The link's CPU fills the other's mail and raises
 * its ticket; the other answers in its own words (job_id, job_state, at, done), each
 * with one writer and a barrier between, since exclusives can't be trusted here.
 */
#include "arch.h"
#include "mem.h"
#include "payload.h"

#define STATUSES_A_PACKET (WIRE_MAX_BODY / SIZEOF_JOB_STATUS)

static uint32_t reported[NR_CPUS]; /* the last job whose end was sent */
static uint64_t next_heartbeat;

static int is_started(uint32_t cpu)
{
	uint32_t state = smp_state(cpu);

	return state == CPU_READY || state == CPU_BUSY || state == CPU_FAILED;
}

/* A ticket that its CPU hasn't taken yet counts as running. */
static uint32_t job_state(uint32_t cpu)
{
	const struct pcpu *p = pcpu_of(cpu);

	if (!is_started(cpu))
		return JOB_NONE;
	return p->mail.ticket != p->job_id ? JOB_RUNNING : p->job_state;
}

void jobs_status(uint32_t cpu, struct wire_job_status *status)
{
	const struct pcpu *p = pcpu_of(cpu);

	*status = (struct wire_job_status){ .cpu = (uint16_t)cpu, .cntpct = now() };
	status->state = (uint16_t)job_state(cpu);
	if (status->state == JOB_NONE)
		return;
	status->job = p->mail.ticket;
	if (p->mail.ticket == p->job_id) {
		status->at = p->at;
		status->done = p->done;
	}
}

uint32_t jobs_any_running(void)
{
	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++)
		if (job_state(cpu) == JOB_RUNNING)
			return 1;
	return 0;
}

uint32_t jobs_start(struct pcpu *self, const struct wire_job *job, uint32_t *id)
{
	struct pcpu *p;

	if (job->cpu >= boot.cpus)
		return STATUS_NO_CPU;
	if (job->kind < JOBKIND_CALL || job->kind > JOBKIND_SYSREG)
		return STATUS_BAD_ARG;
	if (job_state(job->cpu) == JOB_RUNNING)
		return STATUS_BUSY;
	if (smp_state(job->cpu) != CPU_READY)
		return STATUS_NO_CPU;
	p = pcpu_of(job->cpu);
	memcpy(&p->mail.job, job, sizeof(*job));
	dsb();
	*id = p->mail.ticket + 1;
	if (p == self)
		return STATUS_OK;
	if (!jobs_any_running())
		next_heartbeat = now() + ticks_per_second();
	p->mail.ticket = *id;
	sev();
	return STATUS_OK;
}

static void run(struct pcpu *p, void (*beat)(struct pcpu *))
{
	uint32_t state;

	p->at = p->done = 0;
	p->cpu_state = CPU_BUSY;
	p->job_state = JOB_RUNNING;
	dsb();
	p->job_id = p->mail.ticket;
	dsb();
	isb();
	state = lab_run(p, beat);
	dsb();
	p->cpu_state = CPU_READY;
	dsb();
	p->job_state = state;
	dsb();
}

static void send_done(uint32_t cpu)
{
	struct wire_job_status status;

	jobs_status(cpu, &status);
	reported[cpu] = status.job;
	link_event(EVENT_JOB_DONE, &status, sizeof(status));
}

static void send_heartbeats(void)
{
	struct wire_job_status status[STATUSES_A_PACKET];
	uint32_t count = 0;

	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++) {
		if (job_state(cpu) != JOB_RUNNING)
			continue;
		jobs_status(cpu, &status[count++]);
		if (count == STATUSES_A_PACKET) {
			link_event(EVENT_HEARTBEAT, status, sizeof(status));
			count = 0;
		}
	}
	if (count)
		link_event(EVENT_HEARTBEAT, status, (uint32_t)(count * sizeof(status[0])));
}

/* Between blocks of the link CPU's own job; of the others too, since nobody else speaks. */
static void beat(struct pcpu *self)
{
	(void)self;
	send_heartbeats();
}

void jobs_run_own(struct pcpu *self)
{
	self->mail.ticket++;
	run(self, beat);
	send_done(self->index);
}

void jobs_take(struct pcpu *self)
{
	if (self->mail.ticket == self->job_id)
		return;
	if (self->mail.job.kind == JOBKIND_LEAVE)
		smp_go(self);
	run(self, NULL);
	sev();
}

void jobs_watch(struct pcpu *self)
{
	fatal_watch();
	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++) {
		uint32_t state = cpu == self->index ? JOB_NONE : job_state(cpu);

		if ((state == JOB_DONE || state == JOB_FAULTED) &&
		    reported[cpu] != pcpu_of(cpu)->job_id)
			send_done(cpu);
	}
	if (now() < next_heartbeat)
		return;
	next_heartbeat = now() + ticks_per_second();
	send_heartbeats();
}
