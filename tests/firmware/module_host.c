/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe module's files against a kernel and an EL2 made of nothing, one scenario a
 * run: argv[1] says which, argv[2] whether the stub's vectors are known. Prints what came
 * of it as "name=value ...".
 */
#include "hilhvc.h"

#define SETS_IMM 0x42 /* what EL2 takes for set-vectors */

struct hil_save hil_save;
char hil_vectors[1], hil_home[1], hil_slot[2 * SLOT_SIZE];
struct task *current = &(struct task){ &fake_online };
const struct cpumask fake_online = { 3 };
struct timer_list *fake_timer;
bool fake_active[2] = { true, true }, fake_killed;
int fake_pins, fake_alarms;

static u32 late_ms, slept_ms, fake_cpu, fake_imm;
static struct work_struct *queued;
static bool ours, landed, direct; /* EL2's vectors are a catch table; it took an hvc */

u64 fake_sysreg(const char *name)
{
	if (!strcmp(name, "CurrentEL"))
		return 4;
	return !strcmp(name, "id_aa64mmfr1_el1") ? (u64)fake_cpu << 8 : 0; /* VHE: CPU 1 alone */
}

void queue_work_on(u32 cpu, struct workqueue_struct *queue, struct work_struct *work)
{
	(void)cpu;
	(void)queue;
	if (fake_timer) /* not one of the watchers */
		queued = work;
}

static void run_queued(void)
{
	struct work_struct *work = queued;

	queued = NULL;
	if (work)
		work->fn(work);
}

void wait_for_completion(struct completion *done)
{
	if (late_ms)
		fake_timer->fn(fake_timer);
	else
		run_queued();
	assert(done->done);
}

void mdelay(u32 ms)
{
	slept_ms += ms;
	if (slept_ms >= late_ms)
		run_queued();
}

void flush_work(struct work_struct *work)
{
	(void)work;
	assert(!queued);
}

void on_each_cpu(void (*fn)(void *), void *arg, int wait)
{
	(void)wait;
	for (fake_cpu = 0; fake_cpu < 2; fake_cpu++)
		fn(arg);
	fake_cpu = 0;
}

/* EL2 and what is behind the hvc. An svc leaves FAR_EL1 UNKNOWN: not what went in. */
void hil_issue(struct hil_save *save)
{
	if (ours)
		landed = true;
	if (ours && hil_stub_vectors)
		ours = false;
	else if (fake_imm == SETS_IMM)
		ours = true;
	save->out = save->in;
	save->direct = direct;
	save->esr = 0x15ull << 26 | direct;
	save->elr = (u64)hil_slot + 8;
	save->spsr = save->in.pstate;
	save->far = 0xbad;
}

void hil_area_patch(u32 imm, bool nop, bool branch)
{
	fake_imm = nop ? 0 : imm;
	direct = branch;
}

bool hil_area_landed(struct hil_landing *landing)
{
	memset(landing, 0, sizeof(*landing));
	landing->kind = landed ? HIL_LANDED_VECTORS : HIL_LANDED_NO;
	landed = false;
	return landing->kind;
}

void hil_area_arm(const struct hil_literals *literals)
{
	(void)literals;
}

u64 hil_catch(u32 n)
{
	return 0x1000 * (n + 1);
}

u32 hil_catch_of(u64 pa)
{
	return pa / 0x1000 - 1 < HIL_CATCHES ? pa / 0x1000 - 1 : HIL_CATCHES;
}

u32 hil_crc32(u32 crc, const void *data, size_t size)
{
	(void)data;
	return crc + size;
}

struct hil_out {
	u8 data[1 << 16];
	size_t size;
} out;

int hil_put(struct hil_out *to, const void *data, size_t size)
{
	assert(to->size + size <= sizeof(to->data));
	memcpy(to->data + to->size, data, size);
	to->size += size;
	return 0;
}

int hil_say(struct hil_out *to, int error, const char *format, ...)
{
	(void)to;
	(void)format;
	return error;
}

static struct hil_request request(const char *name)
{
	struct hil_request req = { .cpu = 1, .count = 1, .first = SETS_IMM, .ask_imm = 0xfff1 };

	if (strcmp(name, "plain") && strcmp(name, "direct"))
		req.catch_mask = 2;
	else
		req.first = 1;
	if (!strcmp(name, "direct"))
		req.pass = 1;
	if (!strncmp(name, "set", 3)) {
		req.effect = HIL_EFFECT_SET_VECTORS;
		req.flags = HIL_FLAG_STUB;
	}
	if (!strcmp(name, "set-ask"))
		req.flags |= HIL_FLAG_ASK;
	if (!strcmp(name, "kvm"))
		req.effect = HIL_EFFECT_SET_VECTORS, req.flags = HIL_FLAG_DANGEROUS, req.first = 1;
	if (!strcmp(name, "finalise"))
		req.effect = HIL_EFFECT_FINALISE;
	if (!strcmp(name, "late"))
		late_ms = 400;
	if (!strcmp(name, "lost"))
		late_ms = 1u << 30;
	return req;
}

int main(int argc, char **argv)
{
	const char *name = argv[1], *why = "";
	struct hil_request req = request(name);
	struct hil_exchange *head = (void *)out.data;
	struct hil_sig *sig = (void *)(head + 1);
	bool sweep = !strncmp(name, "sweep", 5);
	int error;

	hil_stub_vectors = argc > 2 && !strcmp(argv[2], "known") ? 0x80000 : 0;
	fake_killed = !strcmp(name, "sweep-killed");
	error = hil_run_init();
	assert(!error);
	error = hil_refuse_request(&req, sweep, &why);
	if (!error)
		error = sweep ? hil_op_sweep(&req, &out) : hil_op_hvc(&req, &out);
	printf("error=%d pins=%d ours=%d lost=%d active=%d alarms=%d seen=%u sys=%#x unseen=%#x\n",
	       error, fake_pins, ours, (int)hil_lost_cpu(), fake_active[1], fake_alarms,
	       sweep ? 0 : sig->seen, sweep ? 0 : sig->sys_changed, sweep ? 0 : head->unseen);
	hil_run_exit();
	return 0;
}
