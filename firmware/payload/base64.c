/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648 section 4, strict: padded, no white space, unused bits 0. */
#include "codec.h"

int base64_value(uint8_t digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	if (digit == '+')
		return 62;
	return digit == '/' ? 63 : -1;
}

static uint8_t base64_digit(uint32_t value)
{
	if (value < 26)
		return (uint8_t)('A' + value);
	if (value < 52)
		return (uint8_t)('a' + value - 26);
	if (value < 62)
		return (uint8_t)('0' + value - 52);
	return value == 62 ? '+' : '/';
}

/* Decodes one group of `digits` (2 to 4). Returns 24 bits from the top, or -1. */
static int32_t group(const uint8_t *from, int digits)
{
	int32_t bits = 0;

	for (int i = 0; i < 4; i++) {
		int value = i < digits ? base64_value(from[i]) : 0;

		if (value < 0)
			return -1;
		bits = (bits << 6) | value;
	}
	if ((digits == 2 && (bits & 0xffff)) || (digits == 3 && (bits & 0xff)))
		return -1;
	return bits;
}

int base64_decode(uint8_t *to, size_t room, const uint8_t *from, size_t size)
{
	size_t out = 0;

	if (size % 4)
		return -1;
	for (size_t in = 0; in < size; in += 4) {
		int digits = 4;
		int32_t bits;

		if (in + 4 == size && from[in + 3] == '=')
			digits = from[in + 2] == '=' ? 2 : 3;
		bits = group(from + in, digits);
		if (bits < 0 || room - out < (size_t)(digits - 1))
			return -1;
		for (int i = 0; i < digits - 1; i++)
			to[out++] = (uint8_t)(bits >> (16 - 8 * i));
	}
	return (int)out;
}

void base64_encode(const uint8_t *from, size_t size, void (*put)(void *, uint8_t), void *to)
{
	for (size_t at = 0; at < size; at += 3) {
		size_t left = size - at;
		uint32_t bits = (uint32_t)from[at] << 16;

		if (left > 1)
			bits |= (uint32_t)from[at + 1] << 8;
		if (left > 2)
			bits |= from[at + 2];
		put(to, base64_digit(bits >> 18));
		put(to, base64_digit(bits >> 12 & 63));
		put(to, left > 1 ? base64_digit(bits >> 6 & 63) : '=');
		put(to, left > 2 ? base64_digit(bits & 63) : '=');
	}
}
