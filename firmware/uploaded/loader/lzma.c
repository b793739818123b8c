/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZMA, by the description in "LZMA specification" (Igor Pavlov, 2015, public domain): a
 * range coder whose probabilities are learned, over literals and matches. Range and code
 * stay in registers: with the D-cache off, each access to memory costs a trip to DRAM.
 */
#include "lzma.h"

#define INLINE static inline __attribute__((always_inline))
#define PROBABILITY_BITS 11
#define HALF (1u << (PROBABILITY_BITS - 1))
#define LEARN 5 /* a probability moves by 1/32 of what is missing */
#define TOP (1u << 24)
#define LITERALS_END 7u /* states from here on follow a match */
#define MATCH_MIN 2
#define FULL_DISTANCES 128
#define ALIGN_BITS 4
#define COPY_IDLE 16 /* bytes of a match between two looks at the UART */
#define FILL_IDLE 64 /* likewise, of 8 bytes each */

enum {
	IS_MATCH = 0,
	IS_REP_LONG = IS_MATCH + (int)(LZMA_STATES * LZMA_POS_STATES),
	IS_REP = IS_REP_LONG + (int)(LZMA_STATES * LZMA_POS_STATES),
	IS_REP_0 = IS_REP + LZMA_STATES,
	IS_REP_1 = IS_REP_0 + LZMA_STATES,
	IS_REP_2 = IS_REP_1 + LZMA_STATES,
	SLOT = IS_REP_2 + LZMA_STATES, /* by length, 4 trees of 64 */
	SPECIAL = SLOT + 4 * 64,
	ALIGN = SPECIAL + FULL_DISTANCES,
	MATCH_LENGTH = ALIGN + (1 << ALIGN_BITS),
	REP_LENGTH = MATCH_LENGTH + (int)LZMA_LENGTHS,
	LITERAL = REP_LENGTH + (int)LZMA_LENGTHS,
	ALL = LITERAL + (int)LZMA_LITERALS,
};
_Static_assert(ALL == LZMA_PROBABILITIES, "lzma.h");
_Static_assert(UPLOAD_LC + UPLOAD_LP <= 4 && UPLOAD_PB <= 4, "what liblzma's encoder can");

/* Lengths: a choice, a second one, then trees of 8 by position, 8 by position, 256. */
enum {
	LENGTH_LOW = 2,
	LENGTH_MID = LENGTH_LOW + 8 * (int)LZMA_POS_STATES,
	LENGTH_HIGH = LENGTH_MID + 8 * (int)LZMA_POS_STATES
};

struct coder {
	const struct lzma *z;
	uint16_t *p;
	uint32_t range, code;
	int broken;
};

__attribute__((noinline)) static uint32_t next_byte(const struct lzma *z, int *broken)
{
	int byte = z->next(z->from);

	z->idle(z->from);
	if (byte >= 0)
		return (uint32_t)byte;
	*broken = 1;
	return 0;
}

INLINE void normalise(struct coder *c)
{
	int broken = 0;

	if (c->range >= TOP)
		return;
	c->range <<= 8;
	c->code = c->code << 8 | next_byte(c->z, &broken);
	c->broken |= broken;
}

INLINE uint32_t bit(struct coder *c, uint32_t at)
{
	uint32_t p = c->p[at], bound;

	normalise(c);
	bound = (c->range >> PROBABILITY_BITS) * p;
	if (c->code < bound) {
		c->range = bound;
		c->p[at] = (uint16_t)(p + ((2 * HALF - p) >> LEARN));
		return 0;
	}
	c->range -= bound;
	c->code -= bound;
	c->p[at] = (uint16_t)(p - (p >> LEARN));
	return 1;
}

/* Most significant bit first; the result is below 1 << bits. */
INLINE uint32_t tree(struct coder *c, uint32_t at, uint32_t bits)
{
	uint32_t node = 1;

	for (uint32_t i = 0; i < bits; i++)
		node = node << 1 | bit(c, at + node);
	return node - (1u << bits);
}

/* Least significant bit first. */
INLINE uint32_t tree_reversed(struct coder *c, uint32_t at, uint32_t bits)
{
	uint32_t node = 1, value = 0;

	for (uint32_t i = 0; i < bits; i++) {
		uint32_t one = bit(c, at + node);

		node = node << 1 | one;
		value |= one << i;
	}
	return value;
}

/* Bits that are as likely 0 as 1. */
INLINE uint32_t direct(struct coder *c, uint32_t bits)
{
	uint32_t value = 0;

	while (bits--) {
		normalise(c);
		c->range >>= 1;
		value <<= 1;
		if (c->code >= c->range) {
			c->code -= c->range;
			value |= 1;
		}
	}
	return value;
}

INLINE uint32_t length_of(struct coder *c, uint32_t at, uint32_t position)
{
	if (!bit(c, at))
		return tree(c, at + LENGTH_LOW + 8 * position, 3);
	if (!bit(c, at + 1))
		return 8 + tree(c, at + LENGTH_MID + 8 * position, 3);
	return 16 + tree(c, at + LENGTH_HIGH, 8);
}

/* A new distance less 1; ~0 is the end mark. */
INLINE uint32_t distance_of(struct coder *c, uint32_t length)
{
	uint32_t slot = tree(c, SLOT + 64 * (length < 3 ? length : 3), 6), bits, value;

	if (slot < 4)
		return slot;
	bits = (slot >> 1) - 1;
	value = (2 | (slot & 1)) << bits;
	if (slot < 14)
		return value + tree_reversed(c, SPECIAL + value - slot, bits);
	value += direct(c, bits - ALIGN_BITS) << ALIGN_BITS;
	return value + tree_reversed(c, ALIGN, ALIGN_BITS);
}

/* After a match the byte that stands where another match would have begun is a hint. */
INLINE uint8_t literal(struct coder *c, uint32_t at, uint32_t hint, int after_match)
{
	uint32_t symbol = 1;

	while (after_match && symbol < 0x100) {
		uint32_t hinted = hint >> 7 & 1, one;

		hint <<= 1;
		one = bit(c, at + ((1 + hinted) << 8) + symbol);
		symbol = symbol << 1 | one;
		if (one != hinted)
			break;
	}
	while (symbol < 0x100)
		symbol = symbol << 1 | bit(c, at + symbol);
	return (uint8_t)symbol;
}

static void prepare(const struct lzma *z)
{
	uint64_t *words = (uint64_t *)z->probabilities;

	for (uint32_t i = 0; i < ALL / 4; i++) {
		words[i] = HALF * 0x0001000100010001ull;
		if (i % FILL_IDLE == 0)
			z->idle(z->from);
	}
	for (uint32_t i = ALL / 4 * 4; i < ALL; i++)
		z->probabilities[i] = HALF;
}

static void copy(const struct lzma *z, uint8_t *to, uint32_t distance, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		to[i] = *(to + i - distance);
		if (i % COPY_IDLE == COPY_IDLE - 1)
			z->idle(z->from);
	}
}

struct history {
	uint32_t state, rep[4]; /* distances less 1, the last one first */
};

/* One of the last four distances again. Returns its length, 1 for a single byte. */
INLINE uint32_t repeated(struct coder *c, struct history *h, uint32_t position)
{
	uint32_t distance = h->rep[0];

	if (!bit(c, IS_REP_0 + h->state)) {
		if (!bit(c, IS_REP_LONG + h->state * LZMA_POS_STATES + position)) {
			h->state = h->state < LITERALS_END ? 9 : 11;
			return 1;
		}
	} else {
		if (!bit(c, IS_REP_1 + h->state)) {
			distance = h->rep[1];
		} else if (!bit(c, IS_REP_2 + h->state)) {
			distance = h->rep[2];
			h->rep[2] = h->rep[1];
		} else {
			distance = h->rep[3];
			h->rep[3] = h->rep[2];
			h->rep[2] = h->rep[1];
		}
		h->rep[1] = h->rep[0];
		h->rep[0] = distance;
	}
	h->state = h->state < LITERALS_END ? 8 : 11;
	return MATCH_MIN + length_of(c, REP_LENGTH, position);
}

INLINE uint32_t matched(struct coder *c, struct history *h, uint32_t position)
{
	uint32_t length;

	if (bit(c, IS_REP + h->state))
		return repeated(c, h, position);
	h->rep[3] = h->rep[2];
	h->rep[2] = h->rep[1];
	h->rep[1] = h->rep[0];
	length = length_of(c, MATCH_LENGTH, position);
	h->state = h->state < LITERALS_END ? 7 : 10;
	h->rep[0] = distance_of(c, length);
	return MATCH_MIN + length;
}

int lzma_decode(const struct lzma *z, uint8_t *to, uint32_t size)
{
	struct coder c = { .z = z, .p = z->probabilities, .range = 0xffffffff };
	struct history h = { 0 };
	uint32_t done = 0, last = 0;

	prepare(z);
	if (next_byte(z, &c.broken)) /* an encoder's first byte is always 0 */
		return -1;
	for (int i = 0; i < 4; i++)
		c.code = c.code << 8 | next_byte(z, &c.broken);
	while (done < size && !c.broken) {
		uint32_t position = done & (LZMA_POS_STATES - 1), length;

		if (!bit(&c, IS_MATCH + h.state * LZMA_POS_STATES + position)) {
			uint32_t row = (done & ((1u << UPLOAD_LP) - 1)) << UPLOAD_LC;
			int after_match = h.state >= LITERALS_END;
			uint32_t hint = after_match ? *(to + done - 1 - h.rep[0]) : 0;

			row += last >> (8 - UPLOAD_LC);
			last = literal(&c, LITERAL + 0x300 * row, hint, after_match);
			to[done++] = (uint8_t)last;
			h.state = h.state < 4 ? 0 : h.state < 10 ? h.state - 3 : h.state - 6;
			continue;
		}
		length = matched(&c, &h, position);
		if (h.rep[0] >= done || length > size - done)
			return -1;
		copy(z, to + done, h.rep[0] + 1, length);
		done += length;
		last = to[done - 1];
	}
	return c.broken ? -1 : 0;
}
