// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work on one CPU, watched from another: an hcall that never comes back takes its CPU
 * with it, and the rest of the machine shall be able to say so.
 *
 * To the kernel such a CPU looks busy. Tasks that ran there are woken there, and since 6.9
 * a busy CPU serves the timers of the idle ones, which then stop. Hence a timer that is
 * bound to the watching CPU, and after a loss the CPU is taken from the scheduler and no
 * other one may go idle: enough for a reply, and for some evidence by SSH.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <asm/neon.h>

#include "hilhvc.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define timer_delete_sync del_timer_sync
#endif

#define GRACE_MS 1000

static struct job {
	struct work_struct work;
	struct completion done;
	hil_fn fn;
	void *arg;
	u32 cpu;
	bool expired, came;
} job; /* static: a lost CPU goes on holding it */

static struct workqueue_struct *queue, *vigil;
static struct work_struct __percpu *watchers;
static struct timer_list expiry;
static struct cpumask before, others;
static u32 lost = HIL_ANY_CPU;

u32 hil_lost_cpu(void)
{
	return lost;
}

static void work(struct work_struct *unused)
{
	kernel_neon_begin();
	job.fn(job.arg);
	kernel_neon_end();
	smp_store_release(&job.came, true);
	complete(&job.done);
}

static void expire(struct timer_list *unused)
{
	job.expired = true;
	set_cpu_active(job.cpu, false); /* no task shall be woken there */
	complete(&job.done);
}

static void stay_awake(struct work_struct *unused)
{
	set_user_nice(current, MAX_NICE);
	for (;;)
		schedule();
}

/* Rmmod would free what EL2, or a CPU, may go on using. */
void hil_stay(void)
{
	static bool stays;

	if (!stays)
		__module_get(THIS_MODULE);
	stays = true;
}

/*
 * After a host has stood still the timer may be quicker than the CPU. Awake, as timers
 * of idle CPUs may be the lost one's by now.
 */
static bool came_late(void)
{
	for (u32 ms = 0; ms < GRACE_MS && !smp_load_acquire(&job.came); ms++)
		mdelay(1);
	if (!smp_load_acquire(&job.came))
		return false;
	flush_work(&job.work); /* its complete() is of this job */
	set_cpu_active(job.cpu, true);
	return true;
}

/* Workers are there already; a new thread might be put on the CPU that is lost. */
static void give_up(u32 cpu)
{
	u32 other;

	lost = cpu;
	hil_stay(); /* it still runs in our code, or nowhere */
	pr_emerg("hilhvc: CPU %u did not come back from an hvc\n", cpu);
	for_each_cpu(other, &others)
		queue_work_on(other, vigil, per_cpu_ptr(watchers, other));
}

/* Off the CPU that may be lost, with a timer that is not its. */
static void watch(u32 cpu)
{
	cpumask_copy(&before, current->cpus_ptr);
	cpumask_andnot(&others, cpu_online_mask, cpumask_of(cpu));
	if (cpumask_empty(&others))
		return; /* with one CPU, the host has to notice */
	set_cpus_allowed_ptr(current, &others);
	expiry.expires = jiffies + HIL_TIMEOUT_S * HZ;
	add_timer_on(&expiry, raw_smp_processor_id());
}

/* One at a time: the caller holds the lock of device.c. */
int hil_run(u32 cpu, hil_fn fn, void *arg)
{
	bool gone;

	cpus_read_lock();
	if (!cpu_online(cpu)) {
		cpus_read_unlock();
		return -ENXIO;
	}
	job.cpu = cpu;
	job.fn = fn;
	job.arg = arg;
	job.expired = job.came = false;
	reinit_completion(&job.done);
	watch(cpu);
	queue_work_on(cpu, queue, &job.work);
	wait_for_completion(&job.done);
	timer_delete_sync(&expiry);
	gone = job.expired && !came_late();
	if (gone)
		give_up(cpu);
	else
		set_cpus_allowed_ptr(current, &before);
	cpus_read_unlock();
	return gone ? -ETIMEDOUT : 0;
}

int hil_run_init(void)
{
	u32 cpu;

	INIT_WORK(&job.work, work);
	init_completion(&job.done);
	timer_setup(&expiry, expire, 0);
	queue = alloc_workqueue("hilhvc", WQ_HIGHPRI, 1);
	vigil = alloc_workqueue("hilhvc_vigil", WQ_CPU_INTENSIVE, 1);
	watchers = alloc_percpu(struct work_struct);
	if (!queue || !vigil || !watchers) {
		hil_run_exit();
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu)
		INIT_WORK(per_cpu_ptr(watchers, cpu), stay_awake);
	return 0;
}

void hil_run_exit(void)
{
	if (queue)
		destroy_workqueue(queue);
	if (vigil)
		destroy_workqueue(vigil);
	free_percpu(watchers);
}
