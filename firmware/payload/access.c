/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory on a host's behalf, under guard_call: a fault is an error reply. RAM
 * (as the tree says) gets cache maintenance, so that what an earlier stage left
 * in a cache is read, and what is written is seen; devices never do.
 */
#include "arch.h"
#include "cache.h"
#include "crc32.h"
#include "mem.h"
#include "payload.h"

int is_ram(uint64_t start, uint64_t size)
{
	return ranges_hold(&facts.memory, start, size);
}

static int overlaps(const struct wire_access *a, const uint8_t *start, uint64_t size)
{
	uint64_t from = (uint64_t)start;

	return a->addr < from + size && from < a->addr + a->size;
}

static int holds(const uint8_t *start, uint64_t size, const struct wire_access *a)
{
	uint64_t offset = a->addr - (uint64_t)start;

	return offset <= size && a->size <= size - offset;
}

/* The payload itself, but for what a host may use. */
static int is_ours(const struct wire_access *a)
{
	if (holds(scratch, SCRATCH_SIZE, a) || holds(lab_slot, SLOT_SIZE, a))
		return 0;
	return overlaps(a, _head, (uint64_t)(_end - _head));
}

/* Width 0: the payload's choice. Any other: aligned, and a whole number of elements. */
static int is_bad(const struct wire_access *a)
{
	uint32_t width = a->width ? a->width : 1;

	if (width > 8 || (width & (width - 1)) || a->addr + a->size < a->addr)
		return 1;
	return (a->addr | a->size) & (width - 1) ? 1 : 0;
}

/* Copies elements of `width` bytes; the side in our own memory may be unaligned. */
static void copy(uint8_t *to, const uint8_t *from, uint64_t size, uint64_t width, int to_target)
{
	for (uint64_t i = 0; i < size; i += width) {
		uint64_t value = 0;

		if (to_target)
			memcpy(&value, from + i, width);
		else if (width == 8)
			value = *(const volatile uint64_t *)(from + i);
		else if (width == 4)
			value = *(const volatile uint32_t *)(from + i);
		else if (width == 2)
			value = *(const volatile uint16_t *)(from + i);
		else
			value = from[i];
		if (!to_target)
			memcpy(to + i, &value, width);
		else if (width == 8)
			*(volatile uint64_t *)(to + i) = value;
		else if (width == 4)
			*(volatile uint32_t *)(to + i) = (uint32_t)value;
		else if (width == 2)
			*(volatile uint16_t *)(to + i) = (uint16_t)value;
		else
			*(volatile uint8_t *)(to + i) = (uint8_t)value;
	}
}

static uint64_t do_read(uint64_t addr, uint64_t to, uint64_t size, uint64_t width)
{
	if (is_ram(addr, size))
		cache_before_write((void *)addr, size);
	if (width)
		copy((uint8_t *)to, (const uint8_t *)addr, size, width, 0);
	else
		memcpy((void *)to, (const void *)addr, size);
	dsb();
	return 0;
}

static uint64_t do_write(uint64_t addr, uint64_t from, uint64_t size, uint64_t width)
{
	int ram = is_ram(addr, size);

	if (ram)
		cache_before_write((void *)addr, size);
	if (width)
		copy((uint8_t *)addr, (const uint8_t *)from, size, width, 1);
	else
		memcpy((void *)addr, (const void *)from, size);
	dsb();
	if (ram)
		cache_after_write((void *)addr, size);
	return 0;
}

static uint64_t do_crc(uint64_t addr, uint64_t size, uint64_t unused, uint64_t unused2)
{
	(void)unused;
	(void)unused2;
	if (is_ram(addr, size))
		cache_before_write((void *)addr, size);
	return crc32_update(0, (const void *)addr, size);
}

static uint64_t do_code(uint64_t addr, uint64_t size, uint64_t unused, uint64_t unused2)
{
	(void)unused;
	(void)unused2;
	cache_code_written((void *)addr, size);
	return 0;
}

uint32_t access_read(struct pcpu *p, const struct wire_access *a, uint8_t *to)
{
	uint64_t ret;

	if (is_bad(a))
		return STATUS_BAD_ARG;
	return guard_call(p, do_read, a->addr, (uint64_t)to, a->size, a->width, &ret) ?
		       STATUS_FAULT :
		       STATUS_OK;
}

uint32_t access_write(struct pcpu *p, const struct wire_access *a, const uint8_t *from)
{
	uint64_t ret;

	if (is_bad(a))
		return STATUS_BAD_ARG;
	if (is_ours(a))
		return STATUS_REFUSED;
	return guard_call(p, do_write, a->addr, (uint64_t)from, a->size, a->width, &ret) ?
		       STATUS_FAULT :
		       STATUS_OK;
}

uint32_t access_crc(struct pcpu *p, const struct wire_access *a, uint32_t *crc)
{
	uint64_t ret = 0;

	if (a->addr + a->size < a->addr)
		return STATUS_BAD_ARG;
	if (guard_call(p, do_crc, a->addr, a->size, 0, 0, &ret))
		return STATUS_FAULT;
	*crc = (uint32_t)ret;
	return STATUS_OK;
}

uint32_t access_code(struct pcpu *p, const struct wire_access *a)
{
	uint64_t ret;

	if (!is_ram(a->addr, a->size) && !holds(lab_slot, SLOT_SIZE, a))
		return STATUS_REFUSED;
	return guard_call(p, do_code, a->addr, a->size, 0, 0, &ret) ? STATUS_FAULT : STATUS_OK;
}
