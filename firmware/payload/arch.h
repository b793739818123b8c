/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler has no word for: system registers, barriers, the counter. */
#ifndef HIL_ARCH_H
#define HIL_ARCH_H

#include <stdint.h>

#define READ_SYSREG(name)                                          \
	({                                                         \
		uint64_t value_;                                   \
		__asm__ volatile("mrs %0, " #name : "=r"(value_)); \
		value_;                                            \
	})

#define MPIDR_AFFINITY 0xff00ffffffUL

static inline void dsb(void)
{
	__asm__ volatile("dsb sy" ::: "memory");
}

static inline void isb(void)
{
	__asm__ volatile("isb" ::: "memory");
}

static inline void sev(void)
{
	__asm__ volatile("dsb sy\n\tsev" ::: "memory");
}

static inline void wfe(void)
{
	__asm__ volatile("wfe" ::: "memory");
}

/* CNTPCT, or where a hypervisor may trap it (EL1), the virtual counter. */
static inline uint64_t now(void)
{
	__asm__ volatile("isb" ::: "memory");
	if ((READ_SYSREG(CurrentEL) >> 2) == 1)
		return READ_SYSREG(cntvct_el0);
	return READ_SYSREG(cntpct_el0);
}

/* Counts a second; never 0, for firmware that forgot CNTFRQ. */
static inline uint64_t ticks_per_second(void)
{
	uint64_t frequency = READ_SYSREG(cntfrq_el0) & 0xffffffff;

	return frequency ? frequency : 24000000;
}

#endif
