/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs: started one by one into their own areas by PSCI or from a
 * spin-table, and sent away again before another image runs. Only the link's CPU
 * calls these, except smp_here.
 */
#include "arch.h"
#include "cache.h"
#include "line.h"
#include "mem.h"
#include "payload.h"

uint64_t cpu_mpidr[NR_CPUS];
uint8_t pcpu_areas[NR_CPUS][PCPU_SIZE] __attribute__((aligned(4096), section(".bss.lazy")));

static uint8_t started[NR_CPUS];
static const struct fact_cpu *fact[NR_CPUS]; /* null: not in the tree */
static uint64_t ids[NR_CPUS][1 + WIRE_NID]; /* MIDR, then wire.ID_REGS; written by its CPU */
static volatile uint64_t waiting[NR_CPUS]; /* 1 until the CPU is in its pen */
static uint32_t last_ticket[NR_CPUS]; /* of a CPU that was stopped: job ids don't come again */

void smp_init(struct pcpu *p)
{
	uint32_t next = 1;

	memset(cpu_mpidr, 0xff, sizeof(cpu_mpidr));
	cpu_mpidr[0] = p->mpidr;
	started[0] = 1;
	for (uint32_t i = 0; i < facts.cpu_count; i++) {
		uint64_t mpidr = facts.cpu[i].mpidr & MPIDR_AFFINITY;
		uint32_t cpu = mpidr == p->mpidr ? 0 : next;

		if (cpu == NR_CPUS)
			break;
		next += cpu == next;
		cpu_mpidr[cpu] = mpidr;
		fact[cpu] = &facts.cpu[i];
	}
	boot.cpus = next;
}

uint32_t smp_method(uint32_t cpu)
{
	return fact[cpu] ? fact[cpu]->enable : ENABLE_NONE;
}

uint64_t smp_release(uint32_t cpu)
{
	return fact[cpu] ? fact[cpu]->release : 0;
}

uint32_t smp_state(uint32_t cpu)
{
	if (cpu >= boot.cpus)
		return CPU_ABSENT;
	return started[cpu] ? pcpu_of(cpu)->cpu_state : CPU_OFF;
}

void smp_here(struct pcpu *p)
{
	uint64_t *id = ids[p->index];

	*id++ = READ_SYSREG(midr_el1);
	*id++ = READ_SYSREG(midr_el1);
	*id++ = READ_SYSREG(mpidr_el1);
	*id++ = READ_SYSREG(revidr_el1);
	*id++ = READ_SYSREG(ctr_el0);
	*id++ = READ_SYSREG(id_aa64pfr0_el1);
	*id++ = READ_SYSREG(id_aa64pfr1_el1);
	*id++ = READ_SYSREG(id_aa64mmfr0_el1);
	*id++ = READ_SYSREG(id_aa64mmfr1_el1);
	*id++ = READ_SYSREG(id_aa64mmfr2_el1);
	*id++ = READ_SYSREG(id_aa64isar0_el1);
	*id++ = READ_SYSREG(id_aa64isar1_el1);
	*id++ = READ_SYSREG(id_aa64dfr0_el1);
}

/* Nothing of an area is used, or assumed to be zero, before this. */
static void prepare(uint32_t cpu)
{
	struct pcpu *p = pcpu_of(cpu);

	cache_before_write(pcpu_areas[cpu], PCPU_SIZE);
	memset(pcpu_areas[cpu], 0, PCPU_SIZE);
	p->index = cpu;
	p->mpidr = cpu_mpidr[cpu];
	p->cpu_state = CPU_STARTING;
	p->mail.ticket = p->job_id = last_ticket[cpu];
	cache_after_write(pcpu_areas[cpu], PCPU_SIZE);
	started[cpu] = 1;
	dsb();
}

static uint64_t write_release(uint64_t at, uint64_t entry, uint64_t unused, uint64_t unused2)
{
	(void)unused;
	(void)unused2;
	cache_before_write((void *)at, sizeof(entry));
	*(volatile uint64_t *)at = entry;
	cache_after_write((void *)at, sizeof(entry));
	sev();
	return 0;
}

static uint32_t kick(struct pcpu *self, uint32_t cpu)
{
	uint64_t entry = (uint64_t)secondary_entry, ret;

	if (smp_method(cpu) == ENABLE_PSCI)
		return psci_cpu_on(self, cpu_mpidr[cpu], entry);
	if (smp_method(cpu) != ENABLE_SPIN || smp_release(cpu) & 7)
		return STATUS_REFUSED;
	return guard_call(self, write_release, smp_release(cpu), entry, 0, 0, &ret) ?
		       STATUS_FAILED :
		       STATUS_OK;
}

/* A CPU that is late stays STARTING: its area is its own, and asking again waits again. */
uint32_t smp_start(struct pcpu *self, uint32_t cpu)
{
	uint64_t start = now();
	uint32_t status;

	if (cpu >= boot.cpus)
		return STATUS_NO_CPU;
	if (!started[cpu]) {
		prepare(cpu);
		status = kick(self, cpu);
		if (status != STATUS_OK) {
			started[cpu] = 0;
			return status;
		}
	}
	while (pcpu_of(cpu)->cpu_state == CPU_STARTING && now() - start < ticks_per_second())
		line_poll();
	return STATUS_OK;
}

static uint32_t can_switch_off(void)
{
	return facts.psci_cpu_off && !facts.psci_old;
}

/* After a crash the others may still run in the kernel that died; CPU_ON can't have them. */
static uint32_t state_to_tell(struct pcpu *self, uint32_t cpu)
{
	if (!started[cpu] && smp_method(cpu) == ENABLE_PSCI && can_switch_off() &&
	    !psci_is_off(self, cpu_mpidr[cpu]))
		return CPU_ELSEWHERE;
	return smp_state(cpu);
}

void smp_fill_info(struct pcpu *self, uint32_t cpu, struct wire_cpu_info *info)
{
	uint64_t area = (uint64_t)pcpu_areas[cpu];

	*info = (struct wire_cpu_info){
		.cpu = cpu,
		.state = state_to_tell(self, cpu),
		.mpidr = cpu_mpidr[cpu],
		.front = area + PCPU_FRONT,
		.base_vectors = area + PCPU_BASE,
		.catch = area + PCPU_CATCH,
		.catch_size = 0x800,
		.catch_count = PCPU_NCATCH,
		.stack_page = area + PCPU_SPPAGE,
		.bad_sp = LAB_BAD_SP,
	};
	if (!started[cpu] || info->state == CPU_STARTING)
		return;
	info->midr = ids[cpu][0];
	memcpy(info->id, &ids[cpu][1], sizeof(info->id));
	memcpy(info->entry, pcpu_of(cpu)->entry, sizeof(info->entry));
}

/*
 * Whether this CPU can be sent away for good; nothing is done yet. One that is stuck in a job
 * stays where it is, if all of us is reserved.
 */
static uint32_t can_leave(uint32_t cpu, const struct facts *next)
{
	if (smp_state(cpu) == CPU_BUSY)
		return ranges_hold(&next->reserved, (uint64_t)_head, (uint64_t)(_end - _head));
	if (smp_state(cpu) != CPU_READY)
		return 0;
	if (smp_method(cpu) == ENABLE_SPIN)
		return ranges_hold(&next->reserved, (uint64_t)_head, 0x1000);
	return can_switch_off();
}

static uint32_t send_away(struct pcpu *self, uint32_t cpu)
{
	struct pcpu *p = pcpu_of(cpu);
	uint64_t start = now();

	waiting[cpu] = 1;
	p->mail.job.kind = JOBKIND_LEAVE;
	dsb();
	p->mail.ticket++;
	sev();
	while (now() - start < ticks_per_second()) {
		line_poll();
		if (smp_method(cpu) == ENABLE_SPIN ? !waiting[cpu] :
						     psci_is_off(self, cpu_mpidr[cpu])) {
			started[cpu] = 0;
			last_ticket[cpu] = p->mail.ticket;
			return STATUS_OK;
		}
	}
	return STATUS_FAILED;
}

uint32_t smp_stop(struct pcpu *self, uint32_t cpu)
{
	uint32_t state = smp_state(cpu);

	if (state == CPU_OFF)
		return STATUS_OK;
	if (cpu == self->index)
		return STATUS_REFUSED;
	if (state == CPU_BUSY)
		return STATUS_BUSY;
	if (state != CPU_READY)
		return STATUS_NO_CPU;
	if (smp_method(cpu) != ENABLE_SPIN && !can_switch_off())
		return STATUS_REFUSED;
	return send_away(self, cpu);
}

uint32_t smp_leave(struct pcpu *self, const struct facts *next)
{
	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++)
		if (started[cpu] && cpu != self->index && !can_leave(cpu, next))
			return STATUS_REFUSED;
	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++)
		if (started[cpu] && cpu != self->index && smp_state(cpu) != CPU_BUSY &&
		    send_away(self, cpu) != STATUS_OK)
			return STATUS_REFUSED;
	return STATUS_OK;
}

void smp_go(struct pcpu *p)
{
	el2_setup();
	if (smp_method(p->index) == ENABLE_SPIN)
		pen(smp_release(p->index), &waiting[p->index]);
	psci_cpu_off(p);
	p->cpu_state = CPU_FAILED;
	dsb();
	for (;;)
		wfe();
}
