// SPDX-License-Identifier: Apache-2.0
/*
 * Gives a flattened device tree another /chosen (Devicetree Specification 0.4,
 * chapter 5). Needs nothing of the target, so that a host can test it.
 *
 * The input is what the firmware gave, and every offset in it is checked.
 */
#include <endian.h>
#include <string.h>
#include "hilkexec.h"

enum { MAGIC = 0xd00dfeed, VERSION = 17, COMPATIBLE = 16, HEADER = 40 };
enum { DEPTH = 64 }; /* of its own: MAGIC makes the one above unsigned for GCC 14 */
enum { BEGIN = 1, END = 2, PROP = 3, NOP = 4, LAST = 9 };

struct in {
	const uint8_t *at, *end;
	const char *strings;
	size_t strings_size;
};

struct out {
	uint8_t *base;
	size_t used, size;
	char strings[256];
	size_t strings_used, strings_base; /* new names go behind the old ones */
	int full;
};

static uint32_t word_at(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return be32toh(value);
}

static void put(struct out *out, const void *data, size_t size)
{
	size_t padded = (size + 3) & ~(size_t)3;

	if (out->full || padded > out->size - out->used) {
		out->full = 1;
		return;
	}
	memcpy(out->base + out->used, data, size);
	memset(out->base + out->used + size, 0, padded - size);
	out->used += padded;
}

static void put_word(struct out *out, uint32_t value)
{
	value = htobe32(value);
	put(out, &value, sizeof(value));
}

static void set_word(struct out *out, size_t offset, uint32_t value)
{
	value = htobe32(value);
	memcpy(out->base + offset, &value, sizeof(value));
}

static void put_prop(struct out *out, const char *name, const void *data, size_t size)
{
	size_t length = strlen(name) + 1;

	if (length > sizeof(out->strings) - out->strings_used) {
		out->full = 1;
		return;
	}
	put_word(out, PROP);
	put_word(out, size);
	put_word(out, out->strings_base + out->strings_used);
	put(out, data, size);
	memcpy(out->strings + out->strings_used, name, length);
	out->strings_used += length;
}

static void put_u64(struct out *out, const char *name, uint64_t value)
{
	value = htobe64(value);
	put_prop(out, name, &value, sizeof(value));
}

/* An address and a size, as wide as the root node says that they are. */
static void put_range(struct out *out, const char *name, const uint32_t *cells, uint64_t base,
		      uint64_t size)
{
	uint8_t data[16];
	uint64_t both[2] = { base, size };
	size_t used = 0;
	int i;

	for (i = 0; i < 2; i++) {
		uint64_t wide = htobe64(both[i]);
		size_t bytes = cells[i] == 1 ? 4 : 8;

		memcpy(data + used, (uint8_t *)&wide + 8 - bytes, bytes);
		used += bytes;
	}
	put_prop(out, name, data, used);
}

static void put_chosen(struct out *out, const struct chosen *chosen, const uint32_t *cells)
{
	put_prop(out, "bootargs", chosen->cmdline, strlen(chosen->cmdline) + 1);
	put_prop(out, "rng-seed", chosen->seed, sizeof(chosen->seed));
	if (chosen->initrd_size) {
		put_u64(out, "linux,initrd-start", chosen->initrd);
		put_u64(out, "linux,initrd-end", chosen->initrd + chosen->initrd_size);
	}
	if (chosen->usable_size)
		put_range(out, "linux,usable-memory-range", cells, chosen->usable,
			  chosen->usable_size);
}

static int is_ours(const char *name)
{
	static const char *const names[] = { "bootargs",         "kaslr-seed",
					     "rng-seed",         "linux,initrd-start",
					     "linux,initrd-end", "linux,usable-memory-range",
					     "linux,elfcorehdr", "linux,ima-kexec-buffer" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return 1;
	return 0;
}

/* Copies one property unless it is replaced. Returns 0 if it is broken. */
static int copy_prop(struct in *in, struct out *out, int depth, int in_chosen, uint32_t *cells)
{
	size_t size, name;

	if (in->end - in->at < 8)
		return 0;
	size = word_at(in->at);
	name = word_at(in->at + 4);
	in->at += 8;
	if (size > (size_t)(in->end - in->at) || name >= in->strings_size ||
	    !memchr(in->strings + name, 0, in->strings_size - name))
		return 0;
	if (depth == 1 && size == 4 && !strcmp(in->strings + name, "#address-cells"))
		cells[0] = word_at(in->at);
	if (depth == 1 && size == 4 && !strcmp(in->strings + name, "#size-cells"))
		cells[1] = word_at(in->at);
	if (!in_chosen || !is_ours(in->strings + name)) {
		put_word(out, PROP);
		put_word(out, size);
		put_word(out, name);
		put(out, in->at, size);
	}
	size = (size + 3) & ~(size_t)3;
	in->at += size > (size_t)(in->end - in->at) ? (size_t)(in->end - in->at) : size;
	return 1;
}

/* Copies a node's first words. Returns whether it is /chosen, -1 if it is broken. */
static int copy_begin(struct in *in, struct out *out, int depth)
{
	size_t left = in->end - in->at, size = strnlen((const char *)in->at, left) + 1;
	int is_chosen = depth == 2 && !strcmp((const char *)in->at, "chosen");

	if (size > left)
		return -1;
	put_word(out, BEGIN);
	put(out, in->at, size);
	size = (size + 3) & ~(size_t)3;
	in->at += size > left ? left : size;
	return is_chosen;
}

static int copy_tree(struct in *in, struct out *out, const struct chosen *chosen)
{
	uint32_t cells[2] = { 2, 1 };
	int depth = 0, inside = 0, seen = 0;

	while (in->end - in->at >= 4) {
		uint32_t token = word_at(in->at);

		in->at += 4;
		if (token == BEGIN) {
			int is_chosen = ++depth > DEPTH ? -1 : copy_begin(in, out, depth);

			if (is_chosen < 0)
				return 0;
			if (is_chosen) {
				inside = seen = 1;
				put_chosen(out, chosen, cells);
			}
		} else if (token == END) {
			if (depth == 1 && !seen) {
				put_word(out, BEGIN);
				put(out, "chosen", sizeof("chosen"));
				put_chosen(out, chosen, cells);
				put_word(out, END);
			}
			if (depth-- == 2)
				inside = 0;
			put_word(out, END);
		} else if (token == PROP) {
			if (!copy_prop(in, out, depth, inside && depth == 2, cells))
				return 0;
		} else if (token == LAST) {
			put_word(out, LAST);
			return depth == 0;
		} else if (token != NOP) {
			return 0;
		}
	}
	return 0;
}

/* Copies the list of reserved memory, which ends with a pair of zeros. */
static int copy_reserved(const uint8_t *in, size_t in_size, size_t at, struct out *out)
{
	static const uint8_t zeros[16];

	for (; at <= in_size && in_size - at >= 16; at += 16) {
		put(out, in + at, 16);
		if (!memcmp(in + at, zeros, 16))
			return 1;
	}
	return 0;
}

size_t fdt_rewrite(const uint8_t *in, size_t in_size, uint8_t *out_base, size_t out_size,
		   const struct chosen *chosen)
{
	struct out out = { .base = out_base, .used = HEADER, .size = out_size };
	size_t tree, strings, strings_size, total;
	struct in from;

	if (in_size < HEADER || out_size < HEADER || word_at(in) != MAGIC)
		return 0;
	total = word_at(in + 4);
	tree = word_at(in + 8);
	strings = word_at(in + 12);
	strings_size = word_at(in + 32);
	if (total > in_size || tree > total || strings > total || strings_size > total - strings)
		return 0;
	from = (struct in){ in + tree, in + total, (const char *)in + strings, strings_size };
	out.strings_base = strings_size;
	memcpy(out_base, in, HEADER);
	if (!copy_reserved(in, total, word_at(in + 16), &out))
		return 0;
	set_word(&out, 8, out.used);
	set_word(&out, 16, HEADER);
	tree = out.used;
	if (!copy_tree(&from, &out, chosen))
		return 0;
	set_word(&out, 36, out.used - tree);
	set_word(&out, 12, out.used);
	set_word(&out, 32, strings_size + out.strings_used);
	if (out.full || strings_size + out.strings_used > out.size - out.used)
		return 0;
	memcpy(out.base + out.used, in + strings, strings_size);
	memcpy(out.base + out.used + strings_size, out.strings, out.strings_used);
	out.used += strings_size + out.strings_used;
	set_word(&out, 4, out.used);
	set_word(&out, 20, VERSION);
	set_word(&out, 24, COMPATIBLE);
	return out.used;
}
