/* SPDX-License-Identifier: Apache-2.0 */
/* The way out of the payload into another image; nobody else of us is running then. */
#include "arch.h"
#include "cache.h"
#include "payload.h"

static struct facts next;

static uint64_t read_next(uint64_t dtb, uint64_t unused, uint64_t unused2, uint64_t unused3)
{
	(void)unused;
	(void)unused2;
	(void)unused3;
	return (uint64_t)facts_at(dtb, &next);
}

/*
 * Refuses what can't go well, and sends the secondaries away. A CPU in its pen stays
 * in our first page, so the tree that goes along in x0 has to reserve that page.
 */
uint32_t leave_check(struct pcpu *self, const struct wire_boot *to)
{
	uint64_t own = to->addr - (uint64_t)_head, ret;

	if (to->addr & 3 || to->el > 2 || to->flags)
		return STATUS_BAD_ARG;
	if (own < (uint64_t)(_end - _head))
		return STATUS_REFUSED;
	next.reserved.count = 0;
	if (is_ram(to->x0, 40) && guard_call(self, read_next, to->x0, 0, 0, 0, &ret))
		next.reserved.count = 0;
	return smp_leave(self, &next);
}

void leave_boot(const struct wire_boot *to)
{
	uint64_t x[4] = { to->x0, to->x1, to->x2, to->x3 };

	lab_drop_stubs();
	el2_setup();
	dsb();
	jump_away(to->addr, x, to->el);
}
