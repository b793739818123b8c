/* SPDX-License-Identifier: Apache-2.0 */
/* Where a node of a device tree is: its "reg" through the "ranges" of its parents, its path. */
#include "dtb.h"

#define CELLS_MAX 2u

/* Reads `cells` (0 to 2) at `from`. */
static uint64_t number(const uint8_t *from, uint32_t cells)
{
	uint64_t value = 0;

	while (cells--) {
		value = value << 32 | dtb_cell(from);
		from += 4;
	}
	return value;
}

/* Translates an address of level[depth]'s children into one of its own. Returns 0, or -1. */
static int translate(const struct dtb_at *at, uint32_t depth, uint64_t *address)
{
	struct dtb_at bus = *at;
	uint32_t size = 0, child, parent, length, entry;
	const uint8_t *ranges;

	bus.depth = depth;
	ranges = dtb_prop(&bus, "ranges", &size);
	if (!ranges)
		return -1;
	if (size == 0)
		return 0;
	child = at->level[depth].address_cells;
	length = at->level[depth].size_cells;
	parent = at->level[depth - 1].address_cells;
	if (child - 1 >= CELLS_MAX || parent - 1 >= CELLS_MAX || length - 1 >= CELLS_MAX)
		return -1;
	entry = (child + parent + length) * 4;
	for (; size >= entry; size -= entry, ranges += entry) {
		uint64_t start = number(ranges, child);

		if (*address - start >= number(ranges + (child + parent) * 4, length))
			continue;
		*address += number(ranges + child * 4, parent) - start;
		return 0;
	}
	return -1;
}

int dtb_reg_local(const struct dtb_at *at, uint32_t index, uint64_t *address, uint64_t *size)
{
	uint32_t bytes = 0, cells, lengths, entry;
	const uint8_t *reg = dtb_prop(at, "reg", &bytes);

	if (!reg || at->depth == 0)
		return -1;
	cells = at->level[at->depth - 1].address_cells;
	lengths = at->level[at->depth - 1].size_cells;
	if (cells - 1 >= CELLS_MAX || lengths > CELLS_MAX)
		return -1;
	entry = (cells + lengths) * 4;
	if (index >= bytes / entry)
		return -1;
	reg += (size_t)index * entry;
	*address = number(reg, cells);
	*size = number(reg + cells * 4, lengths);
	return 0;
}

int dtb_reg(const struct dtb_at *at, uint32_t index, uint64_t *address, uint64_t *size)
{
	if (dtb_reg_local(at, index, address, size))
		return -1;
	for (uint32_t depth = at->depth - 1; depth > 0; depth--)
		if (translate(at, depth, address))
			return -1;
	return 0;
}

/* Whether `name` is the path component [from, to): the unit address may be missing there. */
static int is_component(const char *name, const char *from, const char *to)
{
	while (from < to && *name && *name == *from)
		name++, from++;
	return from == to && (*name == 0 || *name == '@');
}

int dtb_is_path(const struct dtb_at *at, const char *path, const char *end)
{
	for (uint32_t depth = 1; depth <= at->depth; depth++) {
		const char *stop;

		if (path == end || *path != '/')
			return 0;
		stop = ++path;
		while (stop < end && *stop && *stop != '/')
			stop++;
		if (!is_component(at->level[depth].name, path, stop))
			return 0;
		path = stop;
	}
	return path == end || *path == 0;
}
