// SPDX-License-Identifier: Apache-2.0
/*
 * hilkvm: makes a virtual machine, runs a few instructions in it, and says
 * whether they did what they should.
 *
 * Out: "kvm ok", exit 0; "kvm none", exit 3 where the kernel has no KVM (or
 * it is off); otherwise what failed, exit 1. Ends by itself after 10 s.
 *
 * The guest adds two numbers and stores the sum where no memory is: that
 * leaves it, with the sum, and proves that its instructions ran.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OK, FAILED, NONE = 3 };
enum { CODE = 0x10000, OUTSIDE = 0x80000000, SUM = 0x1235, LIMIT_S = 10, PAGE = 0x10000 };

static const uint32_t guest[] = {
	0xd2824681, /* mov  x1, #0x1234 */
	0x91000421, /* add  x1, x1, #1 */
	0xd2b00002, /* mov  x2, #0x80000000 */
	0xf9000041, /* str  x1, [x2] */
	0x14000000, /* b    . */
};

static int fail(const char *what)
{
	printf("kvm failed: %s: %s\n", what, strerror(errno));
	return FAILED;
}

static void late(int sig)
{
	static const char text[] = "kvm failed: no answer\n";

	(void)sig;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(FAILED);
}

static int set_pc(int vcpu, uint64_t value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&value,
	};

	return ioctl(vcpu, KVM_SET_ONE_REG, &reg);
}

/* The guest's memory: one stretch at CODE that holds its instructions. */
static int give_memory(int vm)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = CODE,
		.memory_size = PAGE,
		.userspace_addr = (uintptr_t)page,
	};

	if (page == MAP_FAILED)
		return -1;
	memcpy(page, guest, sizeof(guest));
	__builtin___clear_cache(page, (char *)page + sizeof(guest));
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int run(int kvm, int vm)
{
	struct kvm_vcpu_init init = { 0 };
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *state;
	uint64_t sum = 0;

	if (size < 0 || vcpu < 0)
		return fail("making a CPU");
	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) || ioctl(vcpu, KVM_ARM_VCPU_INIT, &init))
		return fail("setting the CPU up");
	state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (state == MAP_FAILED || set_pc(vcpu, CODE))
		return fail("preparing to run");
	if (ioctl(vcpu, KVM_RUN, 0))
		return fail("running");
	if (state->exit_reason == KVM_EXIT_MMIO)
		memcpy(&sum, state->mmio.data, sizeof(sum));
	if (state->exit_reason != KVM_EXIT_MMIO || state->mmio.phys_addr != OUTSIDE ||
	    !state->mmio.is_write || sum != SUM) {
		printf("kvm failed: exit %u, address %#llx, value %#llx\n", state->exit_reason,
		       (unsigned long long)state->mmio.phys_addr, (unsigned long long)sum);
		return FAILED;
	}
	puts("kvm ok");
	return OK;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (kvm < 0) {
		puts("kvm none");
		return NONE;
	}
	signal(SIGALRM, late);
	alarm(LIMIT_S);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return fail("making a machine");
	if (give_memory(vm))
		return fail("giving it memory");
	return run(kvm, vm);
}
