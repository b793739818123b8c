/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PSCI (Arm DEN 0022), only by the conduit that the tree names: an smc without
 * firmware never returns, and an hvc at EL2 would call ourselves. Guarded, since
 * firmware may have switched it off all the same.
 */
#include "arch.h"
#include "payload.h"

#define PSCI_AFFINITY_INFO 0xc4000004u
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define AFFINITY_OFF 1
#define NOT_SUPPORTED ((uint64_t)-1)

static int at_el2(void)
{
	return (READ_SYSREG(CurrentEL) >> 2) == 2;
}

static int can_call(void)
{
	return boot.conduit == CONDUIT_SMC || (boot.conduit == CONDUIT_HVC && !at_el2());
}

static uint64_t call(struct pcpu *self, uint64_t fn, uint64_t a, uint64_t b)
{
	uint64_t ret = NOT_SUPPORTED;

	if (!at_el2())
		return boot.conduit == CONDUIT_HVC ? hvc_call(fn, a, b, 0) : smc_call(fn, a, b, 0);
	if (guard_call(self, smc_call, fn, a, b, 0, &ret))
		return NOT_SUPPORTED;
	return ret;
}

uint32_t psci_cpu_on(struct pcpu *self, uint64_t mpidr, uint64_t entry)
{
	if (!can_call() || !facts.psci_cpu_on)
		return STATUS_REFUSED;
	return (int32_t)call(self, facts.psci_cpu_on, mpidr, entry) ? STATUS_FAILED : STATUS_OK;
}

uint32_t psci_is_off(struct pcpu *self, uint64_t mpidr)
{
	if (!can_call() || facts.psci_old)
		return 0;
	return (int32_t)call(self, PSCI_AFFINITY_INFO, mpidr, 0) == AFFINITY_OFF;
}

void psci_cpu_off(struct pcpu *self)
{
	if (can_call() && facts.psci_cpu_off)
		call(self, facts.psci_cpu_off, 0, 0);
}

uint32_t psci_can_reset(void)
{
	return can_call() && !facts.psci_old;
}

uint32_t psci_system(struct pcpu *self, uint32_t off)
{
	if (psci_can_reset())
		call(self, off ? PSCI_SYSTEM_OFF : PSCI_SYSTEM_RESET, 0, 0);
	return STATUS_FAILED;
}
