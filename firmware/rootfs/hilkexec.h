// SPDX-License-Identifier: Apache-2.0
#ifndef HILKEXEC_H
#define HILKEXEC_H

#include <stddef.h>
#include <stdint.h>

/*
 * What is to be loaded; crash: into the memory that is reserved for that; dtb: instead of the
 * running kernel's own.
 */
struct next {
	const char *image, *initrd, *cmdline, *dtb;
	int crash;
};

/* What the next kernel is told in /chosen; a size of 0: there is none. */
struct chosen {
	const char *cmdline;
	uint64_t initrd, initrd_size;
	uint64_t usable, usable_size; /* the only memory that it may use */
	uint8_t seed[64];
};

/* Says what failed, and errno's meaning; returns 1. */
int fail(const char *what);

/* Loads by kexec_load(2). Returns the exit code. */
int plain_load(const struct next *next);

/*
 * Copies the device tree and gives it another /chosen: what belonged to the
 * running kernel (command line, initrd, seeds, crash memory) is dropped, the
 * rest of it stays. Returns the new size; 0 if the tree is broken or `out` too
 * small.
 */
size_t fdt_rewrite(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
		   const struct chosen *chosen);

#endif
