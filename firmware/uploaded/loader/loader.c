/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second stage: code that the host loads into the payload's scratch memory and calls at
 * EL2, with the MMU and the D-cache off. It takes the UART, receives chunks of memory from
 * the host, unpacks each where it belongs, and holds it against its CRC-32 where it stands.
 * The payload is as it was when the call returns.
 */
#include "cache.h"
#include "crc32.h"
#include "loader.h"
#include "lzma.h"
#include "mem.h"
#include "window.h"

#define STEP 512 /* bytes that a loop touches between two looks at the UART */

struct loader {
	struct window window;
	uint32_t left; /* bytes of the chunk that are still on the line */
	uint16_t probabilities[LZMA_PROBABILITIES] __attribute__((aligned(8)));
};
_Static_assert(sizeof(struct loader) <= UPLOAD_WORK_BYTES, "the workspace is too small");

static int next(void *from)
{
	struct loader *l = from;

	if (l->left == 0)
		return -1;
	l->left--;
	return window_next(&l->window);
}

static void idle(void *from)
{
	window_poll(&((struct loader *)from)->window);
}

static void by_steps(struct loader *l, void (*does)(const void *, size_t), uint8_t *at,
		     uint32_t size)
{
	for (uint32_t done = 0; done < size; done += STEP) {
		does(at + done, size - done < STEP ? size - done : STEP);
		idle(l);
	}
}

static uint32_t crc_of(struct loader *l, const uint8_t *at, uint32_t size)
{
	uint32_t crc = 0;

	for (uint32_t done = 0; done < size; done += STEP) {
		crc = crc32_update(crc, at + done, size - done < STEP ? size - done : STEP);
		idle(l);
	}
	return crc;
}

static int stored(struct loader *l, uint8_t *to, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		int byte = next(l);

		if (byte < 0)
			return -1;
		to[i] = (uint8_t)byte;
		idle(l);
	}
	return 0;
}

/* Whether one of the plan's regions holds all of the chunk. */
static int allowed(const struct wire_upload *plan, const struct wire_upload_chunk *chunk)
{
	for (uint32_t i = 0; i < plan->regions; i++) {
		uint64_t offset = chunk->addr - plan->start[i];

		if (offset <= plan->size[i] && chunk->size <= plan->size[i] - offset)
			return 1;
	}
	return 0;
}

static uint32_t unpack(struct loader *l, const struct wire_upload_chunk *chunk)
{
	struct lzma z = {
		.next = next, .idle = idle, .from = l, .probabilities = l->probabilities
	};
	uint8_t *to = (uint8_t *)chunk->addr;
	int failed;

	by_steps(l, cache_before_write, to, chunk->size);
	if (chunk->kind == CHUNK_LZMA)
		failed = lzma_decode(&z, to, chunk->size);
	else
		failed = stored(l, to, chunk->size);
	if (l->window.gone)
		return UPLOADED_SILENCE;
	if (failed)
		return UPLOADED_BAD_DATA;
	while (l->left)
		if (next(l) < 0)
			return UPLOADED_SILENCE;
	by_steps(l, cache_after_write, to, chunk->size);
	if (crc_of(l, to, chunk->size) != chunk->crc)
		return UPLOADED_BAD_CRC;
	l->window.done += chunk->size;
	return UPLOADED_RUNNING;
}

static uint32_t receive(struct loader *l, const struct wire_upload *plan)
{
	for (;;) {
		struct wire_upload_chunk chunk;
		uint8_t *to = (uint8_t *)&chunk;
		uint32_t ended;

		l->left = sizeof(chunk);
		while (l->left) {
			int byte = next(l);

			if (byte < 0)
				return UPLOADED_SILENCE;
			*to++ = (uint8_t)byte;
		}
		if (chunk.kind == CHUNK_END)
			return UPLOADED_DONE;
		if ((chunk.kind != CHUNK_STORED && chunk.kind != CHUNK_LZMA) ||
		    !allowed(plan, &chunk))
			return UPLOADED_BAD_CHUNK;
		l->left = chunk.packed;
		ended = unpack(l, &chunk);
		if (ended != UPLOADED_RUNNING)
			return ended;
	}
}

uint64_t loader_entry(const struct wire_upload *plan)
{
	struct loader *l = (struct loader *)plan->workspace;
	uint32_t ended;

	if (!plan->workspace || plan->workspace & 4095 || plan->regions > UPLOAD_MOST_REGIONS ||
	    !plan->block || plan->block & 7 || plan->block > UPLOAD_BLOCK_MAX)
		return UPLOADED_BAD_PLAN;
	cache_before_write(l, sizeof(*l));
	window_open(&l->window, plan);
	window_say(&l->window, UPLOADED_RUNNING);
	ended = receive(l, plan);
	window_say(&l->window, ended);
	cache_after_write(l, sizeof(*l));
	return ended;
}
