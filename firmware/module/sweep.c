// SPDX-License-Identifier: GPL-2.0-only
/*
 * A range of immediates (or of x0 values), one hvc each: compared here, told as
 * distinct signatures, run lengths, and whole frames for a few of them.
 */
#include <linux/errno.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <asm/sysreg.h>

#include "hilhvc.h"

#define CHUNK 256 /* hvcs between two looks at the clock, by the CPU that waits */

struct pair {
	struct hil_frame before, after;
};

/* One filed result waits: the next hvc tells whether it had set the vectors. */
static struct sweep {
	struct hil_request req;
	struct hil_sweep head;
	struct hil_sig sigs[HIL_MAX_SIGS];
	u32 runs[HIL_MAX_RUNS];
	struct pair frames[HIL_MAX_FRAMES];
	struct hil_sig waiting;
	struct pair evidence;
	bool waits, stuck;
} sweep; /* static: a lost CPU goes on holding it */

static bool same(const struct hil_sig *a, const struct hil_sig *b)
{
	struct hil_sig c = *a;

	c.first = b->first;
	return !memcmp(&c, b, sizeof(c));
}

static u32 number_of(struct sweep *s, const struct hil_sig *sig)
{
	u32 n = 0;

	while (n < s->head.sigs && !same(&s->sigs[n], sig))
		n++;
	if (n < s->head.sigs)
		return n;
	if (n == HIL_MAX_SIGS) { /* the last stands for all that found no place */
		s->sigs[n - 1].flags |= 1u << 31;
		return n - 1;
	}
	s->sigs[s->head.sigs++] = *sig;
	if (n < s->req.max_frames && n < HIL_MAX_FRAMES) {
		s->frames[n] = s->evidence;
		s->head.frames = n + 1;
	}
	return n;
}

static void file(struct sweep *s, const struct hil_sig *sig)
{
	u32 n = number_of(s, sig), *last = s->head.runs ? &s->runs[s->head.runs - 1] : NULL;
	u8 byte = n;

	s->head.crc = hil_crc32(s->head.crc, &byte, 1);
	s->head.done++;
	if (last && *last >> 24 == n && (*last & 0xffffff) < 0xffffff)
		++*last;
	else if (s->head.runs < HIL_MAX_RUNS && !s->head.left_out)
		s->runs[s->head.runs++] = n << 24 | 1;
	else
		s->head.left_out++;
}

static void file_waiting(struct sweep *s)
{
	if (s->waits)
		file(s, &s->waiting);
	s->waits = false;
}

static bool skipped(const struct hil_request *req, u32 imm)
{
	for (u32 i = 0; i < req->skip_count; i++)
		if (req->skip[i] == imm)
			return true;
	return false;
}

static void issue(struct sweep *s, u32 index, struct hil_once *once)
{
	const struct hil_request *req = &s->req;

	*once = (struct hil_once){ .req = req };
	if (index == req->count) { /* one more: did the last one set the vectors? */
		once->imm = req->ask_imm;
		once->x0 = req->ask_x0;
		once->has_x0 = true;
	} else if (req->flags & HIL_FLAG_SWEEP_X0) {
		once->imm = req->first;
		once->x0 = req->x0_first + index * req->x0_step;
		once->has_x0 = true;
	} else {
		once->imm = req->first + index;
	}
	hil_exchange(once);
	once->sig.first = req->flags & HIL_FLAG_SWEEP_X0 ? index : once->imm;
}

static void one(struct sweep *s, u32 index)
{
	bool immediates = !(s->req.flags & HIL_FLAG_SWEEP_X0);
	struct hil_once once;

	if (index < s->req.count && immediates && skipped(&s->req, s->req.first + index)) {
		file_waiting(s);
		s->waiting = (struct hil_sig){ .seen = HIL_SEEN_NOT_ISSUED,
					       .first = s->req.first + index };
		s->waits = true;
		return;
	}
	issue(s, index, &once);
	if (once.sig.seen == HIL_SEEN_VECTORS_SET && s->waits) {
		s->waiting.seen = HIL_SEEN_VECTORS_SET;
		s->waiting.catch = once.sig.catch;
		s->evidence.after.seen = HIL_SEEN_VECTORS_SET;
		file_waiting(s);
		issue(s, index, &once);
		s->stuck = once.sig.seen == HIL_SEEN_VECTORS_SET;
	}
	file_waiting(s);
	if (index == s->req.count || s->stuck)
		return;
	s->head.unseen |= once.unseen;
	s->waiting = once.sig;
	s->evidence.before = hil_save.in;
	s->evidence.after = hil_save.out;
	s->waits = true;
}

static u32 at; /* index of the next hvc */

static void chunk(void *arg)
{
	struct sweep *s = arg;

	if (!at)
		s->head.cnt_start = read_sysreg(cntvct_el0);
	hil_exchange_arm(&s->req);
	for (u32 end = at + CHUNK; at < end && at <= s->req.count && !s->stuck; at++)
		one(s, at);
	s->head.cnt_end = read_sysreg(cntvct_el0);
}

static int reply(struct sweep *s, struct hil_out *out)
{
	hil_put(out, &s->head, sizeof(s->head));
	hil_put(out, s->sigs, s->head.sigs * sizeof(s->sigs[0]));
	hil_put(out, s->runs, s->head.runs * sizeof(s->runs[0]));
	return hil_put(out, s->frames, s->head.frames * sizeof(s->frames[0]));
}

int hil_op_sweep(const struct hil_request *req, struct hil_out *out)
{
	struct sweep *s = &sweep;
	int error = 0;

	memset(s, 0, sizeof(*s));
	s->req = *req;
	s->head = (struct hil_sweep){ .cpu = req->cpu,
				      .pass = req->pass,
				      .first = req->first,
				      .count = req->count,
				      .flags = req->flags,
				      .seed = req->seed };
	for (at = 0; at <= req->count && !error && !s->stuck;) {
		error = hil_run(req->cpu, chunk, s);
		cond_resched();
		if (fatal_signal_pending(current)) {
			hil_stay(); /* nobody asked what the last one did */
			return -EINTR;
		}
	}
	if (error == -ENXIO)
		return hil_say(out, error, "the CPU is offline");
	if (error)
		return hil_say(out, error, "hvc number %u of %u did not come back within %u s", at,
			       req->count, HIL_TIMEOUT_S);
	if (s->stuck) {
		hil_stay(); /* a catch table is VBAR_EL2 */
		return hil_say(out, -EUCLEAN,
			       "vectors were set to a catch table by the hvc before number %u, "
			       "and where the stub's are is not known",
			       at);
	}
	return reply(s, out);
}
