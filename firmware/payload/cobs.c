/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consistent Overhead Byte Stuffing (Cheshire and Baker): no zero byte within, one
 * byte more in 254. A block is a code n and n - 1 bytes; a zero follows each block
 * but one of code 255 and the last.
 */
#include "codec.h"

int cobs_decode(uint8_t *to, size_t room, const uint8_t *from, size_t size)
{
	size_t in = 0, out = 0;

	if (size == 0)
		return -1;
	while (in < size) {
		uint8_t code = from[in++];

		if (code == 0 || code - 1u > size - in || code - 1u > room - out)
			return -1;
		for (unsigned int i = 1; i < code; i++) {
			if (from[in] == 0)
				return -1;
			to[out++] = from[in++];
		}
		if (code == 255 || in == size)
			continue;
		if (out == room)
			return -1;
		to[out++] = 0;
	}
	return (int)out;
}

void cobs_encode(const uint8_t *from, size_t size, void (*put)(void *, uint8_t), void *to)
{
	size_t start = 0;

	for (;;) {
		size_t end = start;

		while (end < size && end - start < 254 && from[end] != 0)
			end++;
		put(to, (uint8_t)(end - start + 1));
		for (size_t i = start; i < end; i++)
			put(to, from[i]);
		if (end == size)
			return;
		start = from[end] == 0 && end - start < 254 ? end + 1 : end;
	}
}
