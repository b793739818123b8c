/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 (the polynomial of zlib and Ethernet, reflected). In a register and
 * without a table: with the D-cache off a table look-up costs more than eight shifts.
 */
#include "crc32.h"

#define POLYNOMIAL 0xedb88320u

static uint32_t crc_byte(uint32_t crc, uint8_t byte)
{
	crc ^= byte;
	for (int i = 0; i < 8; i++)
		crc = (crc >> 1) ^ (POLYNOMIAL & -(crc & 1));
	return crc;
}

static uint32_t crc_word(uint32_t crc, uint64_t word)
{
	for (int i = 0; i < 8; i++, word >>= 8)
		crc = crc_byte(crc, (uint8_t)word);
	return crc;
}

uint32_t crc32_update(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *at = data;

	crc = ~crc;
	for (; size && ((uintptr_t)at & 7); size--)
		crc = crc_byte(crc, *at++);
	for (; size >= 8; size -= 8, at += 8)
		crc = crc_word(crc, *(const uint64_t *)at);
	while (size--)
		crc = crc_byte(crc, *at++);
	return ~crc;
}
