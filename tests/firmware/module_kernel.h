/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of a kernel as the probe module's files ask for, on the host: two CPUs, one
 * piece of work at a time, and a clock that only mdelay moves.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16;
typedef uint32_t u32, __u32;
typedef unsigned long long u64, __u64; /* as a kernel prints it */
typedef int32_t s32, __s32;

/* asm volatile(...) is nothing here; a plain volatile stays. */
#define asm
#define volatile(...)
#define __printf(a, b)
#define __percpu
#define IS_ENABLED(option) 0
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, v) ((x) = (v))
#define smp_store_release(p, v) (*(p) = (v))
#define smp_load_acquire(p) (*(p))
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(6, 12, 0)
#define HZ 100
#define PAGE_SIZE 4096
#define MAX_NICE 19
#define WQ_HIGHPRI 0
#define WQ_CPU_INTENSIVE 0
#define CurrentEL_EL2 8
#define jiffies 0
#define THIS_MODULE 0
#define nr_cpu_ids 2u

#define read_sysreg(name) fake_sysreg(#name)
#define write_sysreg(value, name) ((void)(value))
#define dmb(kind) ((void)0)
#define local_irq_save(flags) ((flags) = 0)
#define local_irq_restore(flags) ((void)(flags))
#define kernel_neon_begin() ((void)0)
#define kernel_neon_end() ((void)0)
u64 fake_sysreg(const char *name);

struct completion {
	u32 done;
};
struct work_struct {
	void (*fn)(struct work_struct *);
};
struct timer_list {
	unsigned long expires;
	void (*fn)(struct timer_list *);
};
struct workqueue_struct {
	int unused;
};
struct cpumask {
	u32 bits;
};
struct task {
	const struct cpumask *cpus_ptr;
};
extern struct task *current;
extern const struct cpumask fake_online;

#define INIT_WORK(work, f) ((work)->fn = (f))
#define timer_setup(timer, f, flags) ((timer)->fn = (f))
#define init_completion(c) ((c)->done = 0)
#define reinit_completion(c) ((c)->done = 0)
#define complete(c) ((c)->done++)
#define alloc_workqueue(name, flags, n) ((struct workqueue_struct *)malloc(4))
#define destroy_workqueue(queue) free(queue)
#define alloc_percpu(type) ((type *)calloc(1, sizeof(type)))
#define free_percpu(p) free(p)
#define per_cpu_ptr(p, cpu) (p)
#define cpu_online_mask (&fake_online)
#define cpumask_of(cpu) (&(const struct cpumask){ 1u << (cpu) })
#define cpumask_copy(to, from) (*(to) = *(from))
#define cpumask_andnot(to, a, b) ((to)->bits = (a)->bits & ~(b)->bits)
#define cpumask_empty(mask) (!(mask)->bits)
#define for_each_cpu(cpu, mask)       \
	for (cpu = 0; cpu < 2; cpu++) \
		if ((mask)->bits >> cpu & 1)
#define for_each_possible_cpu(cpu) for (cpu = 0; cpu < 2; cpu++)
#define for_each_online_cpu(cpu) for (cpu = 0; cpu < 2; cpu++)
#define cpu_online(cpu) ((cpu) < 2)
#define cpu_possible(cpu) ((cpu) < 2)
#define cpus_read_lock() ((void)0)
#define cpus_read_unlock() ((void)0)
#define raw_smp_processor_id() 0
#define set_cpus_allowed_ptr(task, mask) ((void)(task), (void)(mask))
#define set_user_nice(task, nice) ((void)(task))
#define schedule() ((void)0)
#define cond_resched() ((void)0)
#define fatal_signal_pending(task) fake_killed
#define add_timer_on(timer, cpu) (fake_timer = (timer))
#define timer_delete_sync(timer) (fake_timer = NULL)
#define set_cpu_active(cpu, yes) (fake_active[cpu] = (yes))
#define __module_get(module) (fake_pins++)
#define pr_emerg(...) (fake_alarms++)
extern struct timer_list *fake_timer;
extern bool fake_active[2], fake_killed;
extern int fake_pins, fake_alarms;
void queue_work_on(u32 cpu, struct workqueue_struct *queue, struct work_struct *work);
void wait_for_completion(struct completion *done);
void flush_work(struct work_struct *work);
void mdelay(u32 ms);
void on_each_cpu(void (*fn)(void *), void *arg, int wait);

/* identify.c */
struct of_device_id {
	const char *compatible;
};
struct device_node;
struct fake_utsname {
	char release[64];
};
#define of_find_matching_node(from, ids) ((void)(ids), (struct device_node *)NULL)
#define of_property_read_string(node, name, out) (*(out) = "smc", 0)
#define of_node_put(node) ((void)(node))
#define is_protected_kvm_enabled() false
#define utsname() (&(struct fake_utsname){ "6.12" })
#define strscpy(to, from, size) snprintf(to, size, "%s", from)
