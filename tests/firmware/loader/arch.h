/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the payload's: a counter that loader_host.c moves, in nanoseconds. */
#ifndef HIL_ARCH_H
#define HIL_ARCH_H

#include <stdint.h>

uint64_t now(void);

static inline uint64_t ticks_per_second(void)
{
	return 1000000000;
}

#endif
