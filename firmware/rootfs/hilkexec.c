// SPDX-License-Identifier: Apache-2.0
/*
 * hilkexec: loads the next kernel and starts it. Two system calls do that, and
 * they place it by different code: kexec_file_load is the kernel's own work,
 * for kexec_load it is ours (hilkexec_load.c).
 *
 * Out: exit 0, and where it was decided here "image ADDRESS SIZE"; or one line on standard error that ends with the kernel's own
 * reason, exit 1; 2 for wrong usage. "exec" returns only if it failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "hilkexec.h"

static const char usage[] =
	"hilkexec load IMAGE [--initrd FILE] [--cmdline TEXT] [--crash] [--syscall file|load]\n"
	"              [--dtb FILE]\n"
	"hilkexec unload [--crash]\n"
	"hilkexec exec\n";

#ifndef KEXEC_FILE_DEBUG
#define KEXEC_FILE_DEBUG 0x8 /* since 6.8: the kernel logs where it puts the image */
#endif

int fail(const char *what)
{
	fprintf(stderr, "hilkexec: %s: %s\n", what, strerror(errno));
	return 1;
}

static int wrong(void)
{
	fputs(usage, stderr);
	return 2;
}

/* The running kernel's command line, for who gives none. */
static const char *own_cmdline(void)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t got = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	line[got > 0 ? got : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static int file_load(const struct next *next)
{
	unsigned long flags = next->crash ? KEXEC_FILE_ON_CRASH : 0;
	int image = open(next->image, O_RDONLY), initrd = -1;

	if (image < 0)
		return fail(next->image);
	if (next->initrd) {
		initrd = open(next->initrd, O_RDONLY);
		if (initrd < 0)
			return fail(next->initrd);
	} else {
		flags |= KEXEC_FILE_NO_INITRAMFS;
	}
	if (!syscall(SYS_kexec_file_load, image, initrd, strlen(next->cmdline) + 1, next->cmdline,
		     flags | KEXEC_FILE_DEBUG))
		return 0;
	if (errno != EINVAL || syscall(SYS_kexec_file_load, image, initrd,
				       strlen(next->cmdline) + 1, next->cmdline, flags))
		return fail("kexec_file_load");
	return 0;
}

static int load(int argc, char **argv)
{
	struct next next = { .image = argv[0], .cmdline = own_cmdline() };
	const char *way = "file";
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--crash"))
			next.crash = 1;
		else if (!strcmp(argv[i], "--initrd") && i + 1 < argc)
			next.initrd = argv[++i];
		else if (!strcmp(argv[i], "--cmdline") && i + 1 < argc)
			next.cmdline = argv[++i];
		else if (!strcmp(argv[i], "--dtb") && i + 1 < argc)
			next.dtb = argv[++i];
		else if (!strcmp(argv[i], "--syscall") && i + 1 < argc)
			way = argv[++i];
		else
			return wrong();
	}
	if (!strcmp(way, "file"))
		return next.dtb ? wrong() : file_load(&next); /* it takes the kernel's own tree */
	if (!strcmp(way, "load"))
		return plain_load(&next);
	return wrong();
}

static int unload(int argc, char **argv)
{
	int crash = argc == 1 && !strcmp(argv[0], "--crash");
	unsigned long flags = KEXEC_FILE_UNLOAD | (crash ? KEXEC_FILE_ON_CRASH : 0);

	if (argc > crash)
		return wrong();
	if (!syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL, flags))
		return 0;
	flags = KEXEC_ARCH_AARCH64 | (crash ? KEXEC_ON_CRASH : 0); /* a kernel without the other */
	if (errno != ENOSYS || syscall(SYS_kexec_load, 0UL, 0UL, NULL, flags))
		return fail("unload");
	return 0;
}

static int start(void)
{
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return fail("exec");
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "load"))
		return load(argc - 2, argv + 2);
	if (argc >= 2 && !strcmp(argv[1], "unload"))
		return unload(argc - 2, argv + 2);
	if (argc == 2 && !strcmp(argv[1], "exec"))
		return start();
	return wrong();
}
