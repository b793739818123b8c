/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked of the payload: one function a request. A body shorter than its
 * structure has zeros behind it; a longer one is BAD_ARG. Statuses are wire.Status.
 */
#include "arch.h"
#include "crc32.h"
#include "mem.h"
#include "payload.h"

#define BODY(type) ((const struct wire_##type *)rq->body)

static uint32_t reply_u32(struct reply *rp, uint32_t value)
{
	memcpy(rp->body, &value, sizeof(value));
	rp->size = sizeof(value);
	return STATUS_OK;
}

/* FAULT carries the exception that ended the access. */
static uint32_t with_fault(const struct pcpu *self, struct reply *rp, uint32_t status)
{
	if (status == STATUS_FAULT) {
		*(struct wire_fault *)rp->body = (struct wire_fault){
			.vector = self->exc.id & 0xf,
			.esr = self->exc.esr,
			.far = self->exc.far,
			.elr = self->exc.elr,
			.spsr = self->exc.spsr,
		};
		rp->size = SIZEOF_FAULT;
	} else if (status != STATUS_OK) {
		rp->size = 0;
	}
	return status;
}

static uint32_t op_hello(const struct request *rq, struct reply *rp)
{
	if (rq->size > WIRE_MAX_BODY - SIZEOF_HELLO)
		return STATUS_BAD_ARG;
	link_fill_hello((struct wire_hello *)rp->body);
	memcpy(rp->body + SIZEOF_HELLO, rq->body, rq->size);
	rp->size = SIZEOF_HELLO + rq->size;
	return STATUS_OK;
}

static uint32_t op_echo(const struct request *rq, struct reply *rp)
{
	memcpy(rp->body, rq->body, rq->size);
	rp->size = rq->size;
	return STATUS_OK;
}

static uint32_t op_read(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	const struct wire_access *a = BODY(access);

	if (rq->size > SIZEOF_ACCESS || a->size > WIRE_MAX_BODY)
		return STATUS_BAD_ARG;
	rp->size = a->size;
	return with_fault(self, rp, access_read(self, a, rp->body));
}

static uint32_t op_write(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	const struct wire_access *a = BODY(access);

	if (rq->size < SIZEOF_ACCESS || rq->size - SIZEOF_ACCESS != a->size)
		return STATUS_BAD_ARG;
	return with_fault(self, rp, access_write(self, a, rq->body + SIZEOF_ACCESS));
}

static uint32_t op_crc(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t crc = 0, status;

	if (rq->size > SIZEOF_ACCESS)
		return STATUS_BAD_ARG;
	status = access_crc(self, BODY(access), &crc);
	reply_u32(rp, crc);
	return with_fault(self, rp, status);
}

/* u32 cpu, and if only a part is wanted u32 offset, u32 size. */
static uint32_t op_cpu_info(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	const uint32_t *want = (const uint32_t *)rq->body;
	uint32_t cpu = want[0], offset = want[1], size = want[2];

	if (size == 0 && offset == 0)
		size = SIZEOF_CPU_INFO;
	if (rq->size > 3 * sizeof(*want) || offset > SIZEOF_CPU_INFO ||
	    size > SIZEOF_CPU_INFO - offset)
		return STATUS_BAD_ARG;
	if (cpu >= boot.cpus)
		return STATUS_NO_CPU;
	smp_fill_info(self, cpu, (struct wire_cpu_info *)rp->body);
	memmove(rp->body, rp->body + offset, size);
	rp->size = size;
	return STATUS_OK;
}

static uint32_t op_cpu_start(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t cpu = *(const uint32_t *)rq->body, status;

	if (rq->size > sizeof(cpu))
		return STATUS_BAD_ARG;
	status = smp_start(self, cpu);
	if (status == STATUS_OK)
		reply_u32(rp, smp_state(cpu));
	return status;
}

static uint32_t op_cpu_stop(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t cpu = *(const uint32_t *)rq->body, status;

	if (rq->size > sizeof(cpu))
		return STATUS_BAD_ARG;
	status = smp_stop(self, cpu);
	return status == STATUS_OK ? reply_u32(rp, smp_state(cpu)) : status;
}

static uint32_t op_vectors(const struct request *rq)
{
	if (rq->size > SIZEOF_VECTORS)
		return STATUS_BAD_ARG;
	return jobs_any_running() ? STATUS_BUSY : lab_vectors(BODY(vectors));
}

static uint32_t op_job_start(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t id = 0, status;

	if (rq->size > SIZEOF_JOB)
		return STATUS_BAD_ARG;
	status = jobs_start(self, BODY(job), &id);
	if (status != STATUS_OK)
		return status;
	if (BODY(job)->cpu == self->index)
		rp->after = AFTER_JOB;
	return reply_u32(rp, id);
}

static uint32_t op_job_status(const struct request *rq, struct reply *rp)
{
	uint32_t cpu = *(const uint32_t *)rq->body;

	if (rq->size > sizeof(cpu))
		return STATUS_BAD_ARG;
	if (cpu >= boot.cpus)
		return STATUS_NO_CPU;
	jobs_status(cpu, (struct wire_job_status *)rp->body);
	rp->size = SIZEOF_JOB_STATUS;
	return STATUS_OK;
}

static uint32_t op_job_result(const struct request *rq, struct reply *rp)
{
	const struct wire_job_part *part = BODY(job_part);
	struct wire_job_status status;
	const struct pcpu *p;
	uint32_t filled;

	if (rq->size > SIZEOF_JOB_PART || part->size > WIRE_MAX_BODY)
		return STATUS_BAD_ARG;
	if (part->cpu >= boot.cpus)
		return STATUS_NO_CPU;
	jobs_status(part->cpu, &status);
	if (status.state == JOB_RUNNING)
		return STATUS_BUSY;
	if (status.state == JOB_NONE || status.job != part->job)
		return STATUS_REFUSED;
	p = pcpu_of(part->cpu);
	filled = lab_result_size(p);
	if (filled > PCPU_RESULT_SIZE || part->offset > filled ||
	    part->size > filled - part->offset)
		return STATUS_BAD_ARG;
	memcpy(rp->body, pcpu_area(p) + PCPU_RESULT + part->offset, part->size);
	rp->size = part->size;
	return STATUS_OK;
}

static uint32_t op_link_move(const struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t cpu = *(const uint32_t *)rq->body;

	if (rq->size > sizeof(cpu))
		return STATUS_BAD_ARG;
	if (cpu >= boot.cpus)
		return STATUS_NO_CPU;
	if (cpu == self->index)
		return STATUS_OK;
	if (smp_state(cpu) != CPU_READY)
		return smp_state(cpu) == CPU_BUSY ? STATUS_BUSY : STATUS_NO_CPU;
	rp->after = AFTER_MOVE;
	rp->cpu = cpu;
	return STATUS_OK;
}

static uint32_t op_boot(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	uint32_t status;

	if (rq->size > SIZEOF_BOOT)
		return STATUS_BAD_ARG;
	rp->boot = *BODY(boot);
	rp->after = AFTER_BOOT;
	status = leave_check(self, &rp->boot);
	return status;
}

static uint32_t op_system(struct reply *rp, enum after after)
{
	if (!psci_can_reset())
		return STATUS_REFUSED;
	rp->after = after;
	return STATUS_OK;
}

static uint32_t op_slot_loaded(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	if (rq->size > SIZEOF_ACCESS)
		return STATUS_BAD_ARG;
	return with_fault(self, rp, access_code(self, BODY(access)));
}

uint32_t ops_do(struct pcpu *self, const struct request *rq, struct reply *rp)
{
	/* entered at EL1 nothing guards an access, and there is nothing to test */
	if ((READ_SYSREG(CurrentEL) >> 2) != 2 && rq->op != OP_HELLO && rq->op != OP_RESET)
		return STATUS_REFUSED;
	switch (rq->op) {
	case OP_HELLO:
		return op_hello(rq, rp);
	case OP_ECHO:
		return op_echo(rq, rp);
	case OP_READ:
		return op_read(self, rq, rp);
	case OP_WRITE:
		return op_write(self, rq, rp);
	case OP_CRC:
		return op_crc(self, rq, rp);
	case OP_CPU_INFO:
		return op_cpu_info(self, rq, rp);
	case OP_CPU_START:
		return op_cpu_start(self, rq, rp);
	case OP_VECTORS:
		return op_vectors(rq);
	case OP_JOB_START:
		return op_job_start(self, rq, rp);
	case OP_JOB_STATUS:
		return op_job_status(rq, rp);
	case OP_JOB_RESULT:
		return op_job_result(rq, rp);
	case OP_LINK_MOVE:
		return op_link_move(self, rq, rp);
	case OP_BOOT:
		return op_boot(self, rq, rp);
	case OP_RESET:
		return op_system(rp, AFTER_RESET);
	case OP_POWEROFF:
		return op_system(rp, AFTER_POWEROFF);
	case OP_SLOT_LOADED:
		return op_slot_loaded(self, rq, rp);
	case OP_CPU_STOP:
		return op_cpu_stop(self, rq, rp);
	default:
		return STATUS_BAD_OP;
	}
}
