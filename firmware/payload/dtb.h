/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a flattened device tree (Devicetree Specification v0.4, chapter 5) that nobody
 * has checked: every offset is bounded by the blob, the depth by DTB_DEPTH. Never
 * writes. Pure C: tested on the host too.
 */
#ifndef HIL_DTB_H
#define HIL_DTB_H

#include <stddef.h>
#include <stdint.h>

#define DTB_DEPTH 16
#define DTB_SIZE_MAX (2u << 20)

struct dtb {
	const uint8_t *base; /* 4-byte aligned */
	uint32_t size;
	uint32_t nodes, nodes_end; /* structure block */
	uint32_t strings, strings_end;
	uint32_t reserve; /* memory reservation block */
};

/* A node on the way from the root to the one being visited. */
struct dtb_level {
	const char *name; /* terminated within the blob */
	uint32_t props; /* offset of the node's first property token */
	uint32_t address_cells, size_cells; /* for its children */
};

struct dtb_at {
	const struct dtb *tree;
	uint32_t depth; /* level[depth] is the node, level[0] the root */
	struct dtb_level level[DTB_DEPTH];
};

/* Checks the header. `limit` is the number of readable bytes. Returns 0, or -1. */
int dtb_open(struct dtb *tree, const void *blob, size_t limit);

/*
 * Calls visit for each node, parents first. A visit that returns non-zero ends the walk.
 * Returns that, 0 at the end, or -1 for a broken tree.
 */
int dtb_walk(const struct dtb *tree, int (*visit)(struct dtb_at *at, void *to), void *to);

/* The value of the visited node's property (4-byte aligned), or null. */
const void *dtb_prop(const struct dtb_at *at, const char *name, uint32_t *size);
/* The same if it is a terminated string (the first of a list), or null. */
const char *dtb_string(const struct dtb_at *at, const char *name);
/* A property of one or two cells; `otherwise` if it is not there. */
uint64_t dtb_number(const struct dtb_at *at, const char *name, uint64_t otherwise);
/* Whether a string list holds `text`. */
int dtb_lists(const struct dtb_at *at, const char *name, const char *text);
/* Whether the visited node is enabled ("status" absent, "okay" or "ok"). */
int dtb_enabled(const struct dtb_at *at);
/*
 * Entry `index` of "reg" as a CPU address: through the "ranges" of every parent.
 * Returns 0, or -1 if it isn't there or can't be reached by the CPU.
 */
int dtb_reg(const struct dtb_at *at, uint32_t index, uint64_t *address, uint64_t *size);
/* The same without a translation: what a child of /cpus has is no address. */
int dtb_reg_local(const struct dtb_at *at, uint32_t index, uint64_t *address, uint64_t *size);
/* Whether `path` (to `end` or its terminator) is the visited node's; unit addresses may be left out. */
int dtb_is_path(const struct dtb_at *at, const char *path, const char *end);
/* Entry `index` of the memory reservation block. Returns 0, or -1 behind the last. */
int dtb_reserved(const struct dtb *tree, uint32_t index, uint64_t *address, uint64_t *size);

uint32_t dtb_cell(const void *cell);
int text_equal(const char *a, const char *b);

#endif
