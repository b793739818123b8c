/* SPDX-License-Identifier: Apache-2.0 */
/* What the payload takes from the device tree. Pure C: tested on the host too. */
#ifndef HIL_FACTS_H
#define HIL_FACTS_H

#include "dtb.h"

#define FACTS_RANGES 32
#define FACTS_CPUS 128
#define CONDUIT_NONE 0
#define CONDUIT_SMC 1
#define CONDUIT_HVC 2
#define ENABLE_NONE 0
#define ENABLE_PSCI 1
#define ENABLE_SPIN 2
#define UART_NONE 0
#define UART_PL011 1
#define UART_16550 2
#define UART_MINI 3
#define UART_CADENCE 4
#define UART_IMX 5
#define UART_MESON 6
#define UART_OMAP 7

struct range {
	uint64_t start, size;
};

struct ranges {
	uint32_t count;
	struct range at[FACTS_RANGES];
};

struct fact_cpu {
	uint64_t mpidr, release;
	uint32_t enable;
};

struct uart {
	uint32_t kind; /* UART_* */
	uint32_t shift; /* registers are 1 << shift bytes apart */
	uint32_t width; /* of an access, in bytes */
	uint32_t fixed; /* SBSA: only data and flags may be touched */
	uint32_t big_endian; /* accesses of more than a byte are */
	uint64_t base;
};

struct facts {
	struct ranges memory, reserved;
	uint32_t cpu_count;
	struct fact_cpu cpu[FACTS_CPUS];
	uint32_t conduit;
	uint32_t psci_cpu_on, psci_cpu_off; /* function ids; 0.1 names its own */
	uint32_t psci_old; /* 0.1: neither AFFINITY_INFO nor SYSTEM_* */
	struct uart uart;
	uint64_t initrd, initrd_end; /* 0: none */
};

/* Fills `facts` from a tree; what isn't there stays zero. Returns 0, or -1 for a broken tree. */
int facts_read(struct facts *facts, const struct dtb *tree);
/* Whether one of `ranges` holds [start, start + size) whole. */
int ranges_hold(const struct ranges *ranges, uint64_t start, uint64_t size);

#endif
