/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a device tree's structure block and the reading of properties. */
#include "dtb.h"

#define MAGIC 0xd00dfeedu
#define HEADER_SIZE 40u
#define LAST_COMPATIBLE 17u
#define BEGIN_NODE 1u
#define END_NODE 2u
#define PROP 3u
#define NOP 4u
#define END 9u

uint32_t dtb_cell(const void *cell)
{
	return __builtin_bswap32(*(const uint32_t *)cell);
}

int text_equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static uint32_t word(const struct dtb *tree, uint32_t offset)
{
	return dtb_cell(tree->base + offset);
}

/* Whether [offset, offset + size) of a block stands within the blob. */
static int within(const struct dtb *tree, uint32_t offset, uint32_t size)
{
	return offset >= HEADER_SIZE && offset <= tree->size && size <= tree->size - offset;
}

int dtb_open(struct dtb *tree, const void *blob, size_t limit)
{
	uint32_t nodes_size, strings_size;

	*tree = (struct dtb){ .base = blob };
	if (((uintptr_t)blob & 3) || limit < HEADER_SIZE || word(tree, 0) != MAGIC)
		return -1;
	tree->size = word(tree, 4);
	if (tree->size < HEADER_SIZE || tree->size > limit || tree->size > DTB_SIZE_MAX)
		return -1;
	if (word(tree, 20) < LAST_COMPATIBLE || word(tree, 24) > LAST_COMPATIBLE)
		return -1;
	tree->nodes = word(tree, 8);
	tree->strings = word(tree, 12);
	tree->reserve = word(tree, 16);
	strings_size = word(tree, 32);
	nodes_size = word(tree, 36);
	if (!within(tree, tree->nodes, nodes_size) || (tree->nodes | nodes_size) & 3 ||
	    !within(tree, tree->strings, strings_size) || !within(tree, tree->reserve, 16) ||
	    tree->reserve & 7)
		return -1;
	tree->nodes_end = tree->nodes + nodes_size;
	tree->strings_end = tree->strings + strings_size;
	while (tree->strings_end > tree->strings && tree->base[tree->strings_end - 1])
		tree->strings_end--; /* from here on each name ends within the block */
	return 0;
}

/* The offset behind a string that begins at `at` and ends before `end`; 0 if it doesn't end. */
static uint32_t text_end(const struct dtb *tree, uint32_t at, uint32_t end)
{
	while (at < end)
		if (tree->base[at++] == 0)
			return at;
	return 0;
}

/* The offset behind the property token at `at` (a whole, bounded property), or 0. */
static uint32_t prop_end(const struct dtb *tree, uint32_t at)
{
	uint32_t size, left = tree->nodes_end - at;

	if (left < 12)
		return 0;
	size = word(tree, at + 4);
	if (size > left - 12 || ((size + 3) & ~3u) > left - 12)
		return 0;
	return at + 12 + ((size + 3) & ~3u);
}

const void *dtb_prop(const struct dtb_at *at, const char *name, uint32_t *size)
{
	const struct dtb *tree = at->tree;
	uint32_t offset = at->level[at->depth].props;

	while (offset && tree->nodes_end - offset >= 4) {
		uint32_t token = word(tree, offset), next, text;

		if (token == NOP) {
			offset += 4;
			continue;
		}
		next = token == PROP ? prop_end(tree, offset) : 0;
		if (!next)
			return NULL;
		text = word(tree, offset + 8);
		if (text < tree->strings_end - tree->strings &&
		    text_equal((const char *)tree->base + tree->strings + text, name)) {
			*size = word(tree, offset + 4);
			return tree->base + offset + 12;
		}
		offset = next;
	}
	return NULL;
}

const char *dtb_string(const struct dtb_at *at, const char *name)
{
	uint32_t size = 0;
	const char *text = dtb_prop(at, name, &size);

	for (uint32_t i = 0; text && i < size; i++)
		if (text[i] == 0)
			return text;
	return NULL;
}

uint64_t dtb_number(const struct dtb_at *at, const char *name, uint64_t otherwise)
{
	uint32_t size = 0;
	const uint8_t *value = dtb_prop(at, name, &size);

	if (value && size == 4)
		return dtb_cell(value);
	if (value && size == 8)
		return (uint64_t)dtb_cell(value) << 32 | dtb_cell(value + 4);
	return otherwise;
}

int dtb_lists(const struct dtb_at *at, const char *name, const char *text)
{
	uint32_t size = 0, start = 0;
	const char *list = dtb_prop(at, name, &size);

	for (uint32_t i = 0; list && i < size; i++) {
		if (list[i])
			continue;
		if (text_equal(list + start, text))
			return 1;
		start = i + 1;
	}
	return 0;
}

int dtb_enabled(const struct dtb_at *at)
{
	const char *status = dtb_string(at, "status");

	return !status || text_equal(status, "okay") || text_equal(status, "ok");
}

/* Enters the node whose token stands at `offset`. Returns the offset behind its name, or 0. */
static uint32_t enter(struct dtb_at *at, int depth, uint32_t offset)
{
	struct dtb_level *level = &at->level[depth];
	uint32_t end = text_end(at->tree, offset + 4, at->tree->nodes_end);

	if (!end || end > at->tree->nodes_end - 3)
		return 0;
	at->depth = (uint32_t)depth;
	*level = (struct dtb_level){ .name = (const char *)at->tree->base + offset + 4,
				     .props = (end + 3) & ~3u };
	level->address_cells = (uint32_t)dtb_number(at, "#address-cells", 2);
	level->size_cells = (uint32_t)dtb_number(at, "#size-cells", 1);
	return level->props;
}

int dtb_walk(const struct dtb *tree, int (*visit)(struct dtb_at *, void *), void *to)
{
	struct dtb_at at = { .tree = tree };
	uint32_t offset = tree->nodes;
	int depth = -1, result;

	while (offset && tree->nodes_end - offset >= 4) {
		switch (word(tree, offset)) {
		case BEGIN_NODE:
			if (++depth == DTB_DEPTH)
				return -1;
			offset = enter(&at, depth, offset);
			result = offset ? visit(&at, to) : -1;
			if (result)
				return result;
			break;
		case END_NODE:
			if (depth-- < 0)
				return -1;
			offset += 4;
			break;
		case PROP:
			offset = depth < 0 ? 0 : prop_end(tree, offset);
			break;
		case NOP:
			offset += 4;
			break;
		case END:
			return depth == -1 ? 0 : -1;
		default:
			return -1;
		}
	}
	return -1;
}

int dtb_reserved(const struct dtb *tree, uint32_t index, uint64_t *address, uint64_t *size)
{
	uint32_t room = (tree->size - tree->reserve) / 16;
	const uint8_t *entry = tree->base + tree->reserve + (size_t)index * 16;

	if (index >= room)
		return -1;
	*address = (uint64_t)dtb_cell(entry) << 32 | dtb_cell(entry + 4);
	*size = (uint64_t)dtb_cell(entry + 8) << 32 | dtb_cell(entry + 12);
	return *address || *size ? 0 : -1;
}
