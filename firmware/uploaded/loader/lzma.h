/* SPDX-License-Identifier: Apache-2.0 */
/* A decoder of raw LZMA streams (LZMA1 without a head). Pure C: tested on the host too. */
#ifndef HIL_LZMA_H
#define HIL_LZMA_H

#include <stdint.h>

#include "wire.h"

#define LZMA_STATES 12
#define LZMA_POS_STATES (1u << UPLOAD_PB)
#define LZMA_LENGTHS (2 + 2 * 8 * LZMA_POS_STATES + 256)
#define LZMA_LITERALS (0x300u << (UPLOAD_LC + UPLOAD_LP))
#define LZMA_PROBABILITIES                                                         \
	(2 * LZMA_STATES * LZMA_POS_STATES + 4 * LZMA_STATES + 4 * 64 + 128 + 16 + \
	 2 * LZMA_LENGTHS + LZMA_LITERALS)

struct lzma {
	int (*next)(void *from); /* the next byte of the input, or -1 at its end */
	void (*idle)(void *from); /* called every few memory accesses */
	void *from;
	uint16_t *probabilities; /* LZMA_PROBABILITIES of them, 8-byte aligned; filled here */
};

/*
 * Decodes exactly `size` bytes to `to`; no match reaches before it. What stands behind
 * them in the stream (an end mark) is left. Returns 0, or -1 for a stream that is broken
 * or too short. Writes nothing outside of `to` whatever the stream says.
 */
int lzma_decode(const struct lzma *z, uint8_t *to, uint32_t size);

#endif
