/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcpy and its kin. With the MMU off all memory is Device: an unaligned
 * access faults, and each access costs a trip to DRAM, so eight bytes at a
 * time where both sides allow it.
 */
#include <stdint.h>

#include "mem.h"

static int together(const void *a, const void *b)
{
	return (((uintptr_t)a | (uintptr_t)b) & 7) == 0;
}

void *memcpy(void *to, const void *from, size_t size)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (together(to, from))
		for (; size >= 8; size -= 8, t += 8, f += 8)
			*(uint64_t *)t = *(const uint64_t *)f;
	while (size--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (t <= f || t >= f + size)
		return memcpy(to, from, size);
	while (size--)
		t[size] = f[size];
	return to;
}

void *memset(void *to, int value, size_t size)
{
	uint8_t *t = to;
	uint64_t word = (uint8_t)value * 0x0101010101010101UL;

	if (together(to, to))
		for (; size >= 8; size -= 8, t += 8)
			*(uint64_t *)t = word;
	while (size--)
		*t++ = (uint8_t)value;
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *x = a, *y = b;

	for (; size; size--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
