/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer's way into the payload's portable files: what is to be read, by its first
 * byte; then the bytes. What was written by us must be read back as it was.
 */
#define main host_main
#include <string.h>

#include "host.c"
#undef main

static void check(int holds)
{
	if (!holds)
		abort();
}

static void there_and_back(const uint8_t *in, uint32_t size)
{
	uint8_t *back = malloc(size ? size : 1);
	uint32_t coded;

	out_size = 0;
	cobs_encode(in, size, put, NULL);
	coded = out_size;
	check(!memchr(out, 0, coded));
	check(cobs_decode(back, size, out, coded) == (int)size);
	check(!memcmp(back, in, size));
	out_size = 0;
	base64_encode(in, size, put, NULL);
	check(base64_decode(back, size, out, out_size) == (int)size);
	check(!memcmp(back, in, size));
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *in;

	if (size < 3 || size > 1 << 16)
		return 0;
	size--;
	in = malloc(size);
	memcpy(in, data + 1, size);
	out_size = 0;
	switch (data[0] % 5) {
	case 0:
		rx_reset(&rx);
		feed(in, (uint32_t)size);
		break;
	case 1:
		read_tree(in, (uint32_t)size);
		break;
	case 2:
		decode(cobs_decode, in, (uint32_t)size);
		break;
	case 3:
		decode(base64_decode, in, (uint32_t)size);
		break;
	case 4:
		there_and_back(in, (uint32_t)size);
		break;
	}
	free(in);
	return 0;
}
