// SPDX-License-Identifier: Apache-2.0
/*
 * Loads by kexec_load(2): where the next kernel goes, and how it is told.
 *
 * Everything lies in one stretch of RAM that nothing has reserved (for a crash
 * kernel: in the memory set aside for it): the image, its initrd, the device
 * tree, and a few instructions that enter the image as booting.rst wants it,
 * for the kernel itself enters with x0 = 0 after this system call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "hilkexec.h"

enum { PAGE = 0x10000, BLOCK = 0x200000, FDT_ROOM = 0x8000, RANGES = 128 };
enum { TEXT_OFFSET = 8, IMAGE_SIZE = 16, MAGIC_AT = 56, HEADER = 64 };

static const uint32_t entry_code[] = {
	0x580000c0, /*     ldr  x0, 2f */
	0xaa1f03e1, /*     mov  x1, xzr */
	0xaa1f03e2, /*     mov  x2, xzr */
	0xaa1f03e3, /*     mov  x3, xzr */
	0x58000084, /*     ldr  x4, 3f */
	0xd61f0080, /*     br   x4 */
	/* 2: the device tree; 3: the image */
};

struct entry {
	uint32_t code[sizeof(entry_code) / sizeof(entry_code[0])];
	uint64_t tree, image;
};

struct bytes {
	uint8_t *data;
	size_t size;
};

struct range {
	uint64_t start, end; /* end: the last byte's address + 1 */
};

/* Reads a whole file, also one whose size nobody knows; adds `room` zeros. */
static int slurp(const char *path, struct bytes *out, size_t room)
{
	int fd = open(path, O_RDONLY);
	size_t space = 1 << 16;
	ssize_t got = 0;

	if (fd < 0)
		return fail(path);
	out->data = malloc(space);
	out->size = 0;
	while (out->data && (got = read(fd, out->data + out->size, space - out->size)) > 0) {
		out->size += got;
		if (out->size == space)
			out->data = realloc(out->data, space *= 2);
	}
	close(fd);
	out->data = out->data ? realloc(out->data, out->size + room + 1) : NULL;
	if (!out->data || got < 0)
		return fail(path);
	memset(out->data + out->size, 0, room + 1);
	return 0;
}

static uint64_t up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

/* Takes [start, end) out of the free ranges. */
static size_t cut(struct range *free, size_t count, uint64_t start, uint64_t end)
{
	size_t i, have = count;

	for (i = 0; i < have; i++) {
		struct range whole = free[i];

		if (end <= whole.start || start >= whole.end)
			continue;
		free[i].end = start > whole.start ? start : whole.start;
		if (end < whole.end && count < RANGES)
			free[count++] = (struct range){ end, whole.end };
	}
	return count;
}

/*
 * Finds the memory to load into: ranges of "System RAM" without what is
 * reserved in them, or those of the crash kernel. Returns how many.
 */
static size_t find_memory(int crash, struct range *free)
{
	FILE *map = fopen("/proc/iomem", "r");
	size_t count = 0;
	char line[256];

	while (map && fgets(line, sizeof(line), map)) {
		unsigned long long start, end;
		char what[128];

		if (sscanf(line, " %llx-%llx : %127[^\n]", &start, &end, what) != 3 || !end)
			continue;
		if (crash) {
			if (!strcmp(what, "Crash kernel") && count < RANGES)
				free[count++] = (struct range){ start, end + 1 };
		} else if (line[0] != ' ' && !strcmp(what, "System RAM") && count < RANGES) {
			free[count++] = (struct range){ start, end + 1 };
		} else if (line[0] == ' ') {
			count = cut(free, count, start, end + 1);
		}
	}
	if (map)
		fclose(map);
	return count;
}

/* Returns the first free range that `size` bytes fit into behind a 2 MiB boundary. */
static const struct range *fitting(const struct range *free, size_t count, uint64_t size)
{
	size_t i;

	for (i = 0; i < count; i++) {
		uint64_t base = up(free[i].start, BLOCK);

		if (base < free[i].end && free[i].end - base >= size)
			return &free[i];
	}
	return NULL;
}

static uint64_t field(const struct bytes *image, size_t offset)
{
	uint64_t value;

	memcpy(&value, image->data + offset, sizeof(value));
	return value;
}

static struct kexec_segment segment(const void *data, size_t size, uint64_t to, uint64_t room)
{
	return (struct kexec_segment){ data, size, (const void *)to, up(room, PAGE) };
}

static int submit(const struct next *next, const struct bytes *image, const struct bytes *initrd,
		  const struct bytes *tree, const struct range *where)
{
	uint64_t kernel = up(where->start, BLOCK) + field(image, TEXT_OFFSET);
	uint64_t ramdisk = up(kernel + field(image, IMAGE_SIZE), BLOCK);
	uint64_t fdt = up(ramdisk + initrd->size, BLOCK);
	size_t room = tree->size + FDT_ROOM;
	struct chosen chosen = { .cmdline = next->cmdline,
				 .initrd = ramdisk,
				 .initrd_size = initrd->size };
	struct entry entry = { .tree = fdt, .image = kernel };
	uint8_t *made = malloc(room);
	struct kexec_segment segments[4];
	size_t count = 0, size;
	unsigned long flags = KEXEC_ARCH_AARCH64 | (next->crash ? KEXEC_ON_CRASH : 0);

	if (next->crash) {
		chosen.usable = where->start;
		chosen.usable_size = where->end - where->start;
	}
	if (getrandom(chosen.seed, sizeof(chosen.seed), 0) != sizeof(chosen.seed))
		return fail("getrandom");
	size = made ? fdt_rewrite(tree->data, tree->size, made, room, &chosen) : 0;
	errno = EINVAL;
	if (!size)
		return fail("/sys/firmware/fdt");
	memcpy(entry.code, entry_code, sizeof(entry_code));
	segments[count++] = segment(image->data, image->size, kernel, field(image, IMAGE_SIZE));
	if (initrd->size)
		segments[count++] = segment(initrd->data, initrd->size, ramdisk, initrd->size);
	segments[count++] = segment(made, size, fdt, size);
	fdt = up(fdt + size, PAGE);
	segments[count++] = segment(&entry, sizeof(entry), fdt, sizeof(entry));
	if (syscall(SYS_kexec_load, fdt, count, segments, flags))
		return fail("kexec_load");
	printf("image %#llx %#llx\n", (unsigned long long)kernel,
	       (unsigned long long)field(image, IMAGE_SIZE));
	return 0;
}

int plain_load(const struct next *next)
{
	struct bytes image, initrd = { 0 }, tree;
	struct range free[RANGES];
	const struct range *where;
	const char *dtb = next->dtb ? next->dtb : "/sys/firmware/fdt";
	size_t count;
	uint64_t size;

	if (slurp(next->image, &image, HEADER) || slurp(dtb, &tree, 0) ||
	    (next->initrd && slurp(next->initrd, &initrd, 0)))
		return 1;
	errno = EINVAL;
	if (memcmp(image.data + MAGIC_AT, "ARM\x64", 4) || !field(&image, IMAGE_SIZE) ||
	    image.size > field(&image, IMAGE_SIZE))
		return fail(next->image);
	size = field(&image, TEXT_OFFSET) + up(field(&image, IMAGE_SIZE), BLOCK) +
	       up(initrd.size, BLOCK) + up(tree.size + FDT_ROOM, BLOCK) + PAGE;
	count = find_memory(next->crash, free);
	where = fitting(free, count, size);
	errno = ENOMEM;
	if (!where)
		return fail(next->crash ? "no crash memory that is large enough" :
					  "no free memory that is large enough");
	return submit(next, &image, &initrd, &tree, where);
}
