/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader's LZMA alone. On standard input u32 size, u32 count and so many bytes of a
 * stream; on standard output u32 (0: decoded) and the `size` bytes. Each block has exactly
 * its size, so that a sanitizer sees one byte too far.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lzma.h"

struct input {
	const uint8_t *at;
	uint32_t left;
};

static int next(void *from)
{
	struct input *in = from;

	if (!in->left)
		return -1;
	in->left--;
	return *in->at++;
}

static void idle(void *from)
{
	(void)from;
}

static int decode(const uint8_t *stream, uint32_t count, uint8_t *to, uint32_t size)
{
	static uint16_t probabilities[LZMA_PROBABILITIES] __attribute__((aligned(8)));
	struct input in = { stream, count };
	struct lzma z = { next, idle, &in, probabilities };

	return lzma_decode(&z, to, size);
}

#ifdef FUZZED
/* The size that is asked for stands in the first two bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t wanted;
	uint8_t *stream, *to;

	if (size < 3)
		return 0;
	wanted = data[0] | (uint32_t)data[1] << 8;
	stream = malloc(size - 2);
	to = malloc(wanted > PLANTED ? wanted - PLANTED : 1);
	for (size_t i = 2; i < size; i++)
		stream[i - 2] = data[i];
	decode(stream, (uint32_t)size - 2, to, wanted);
	free(to);
	free(stream);
	return 0;
}
#else
int main(void)
{
	uint32_t head[2];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		uint8_t *stream = malloc(head[1] ? head[1] : 1);
		uint8_t *to = calloc(head[0] ? head[0] : 1, 1);
		uint32_t failed;

		if (head[1] && fread(stream, head[1], 1, stdin) != 1)
			return 1;
		failed = decode(stream, head[1], to, head[0]) ? 1 : 0;
		fwrite(&failed, sizeof(failed), 1, stdout);
		fwrite(to, head[0], 1, stdout);
		fflush(stdout);
		free(to);
		free(stream);
	}
	return 0;
}
#endif
