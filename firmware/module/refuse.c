// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is not done, and why. The host says by its contract what an hcall does; the
 * module knows only what can't go well whatever the contract says.
 */
#include <linux/cpumask.h>
#include <linux/errno.h>
#include <asm/sysreg.h>
#include <asm/virt.h>

#include "hilhvc.h"

#ifdef HVC_STUB_HCALL_NR
#define X0_NUMBERS HVC_STUB_HCALL_NR
#else
#define X0_NUMBERS 8
#endif

int hil_refuse(const char **why)
{
	if (read_sysreg(CurrentEL) == CurrentEL_EL2) {
		*why = "the kernel runs at EL2 itself (VHE): no hvc of its own goes anywhere";
		return -EOPNOTSUPP;
	}
	if (hil_conduit() == HIL_CONDUIT_HVC) {
		*why = "PSCI's conduit is hvc: somebody else owns EL2";
		return -EOPNOTSUPP;
	}
	if (hil_lost_cpu() != HIL_ANY_CPU) {
		*why = "a CPU never came back from an hvc; only a reset helps";
		return -EIO;
	}
	return 0;
}

static int malformed(const struct hil_request *req, bool sweep, const char **why)
{
	bool immediates = !(req->flags & HIL_FLAG_SWEEP_X0);

	if (req->cpu >= nr_cpu_ids || !cpu_possible(req->cpu))
		*why = "there is no such CPU";
	else if (req->first > 0xffff || req->ask_imm > 0xffff)
		*why = "an immediate has 16 bits";
	else if (sweep && (!req->count || req->count > 0x10000 ||
			   (immediates && req->first + req->count > 0x10000)))
		*why = "a sweep is 1 to 65536 hvcs";
	else if (req->skip_count > 7 || req->pass > 1 || req->catch_mask >> HIL_CATCHES)
		*why = "skip_count, pass or catch_mask is out of range";
	else if (sweep && req->effect > HIL_EFFECT_GET_VECTORS)
		*why = "a sweep takes hcalls without effect only";
	else
		return 0;
	return -EINVAL;
}

/* Whether x0 is one of the stub's numbers, where x0 selects, without its effect declared. */
static bool undeclared(const struct hil_request *req, bool sweep)
{
	if (req->effect != HIL_EFFECT_UNDECLARED || req->catch_mask & 1)
		return false;
	if (sweep && req->flags & HIL_FLAG_SWEEP_X0) {
		for (u32 i = 0; i < req->count; i++)
			if (req->x0_first + i * req->x0_step < X0_NUMBERS)
				return true;
		return false;
	}
	return req->fixed_mask & 1 && req->x[0] < X0_NUMBERS;
}

static int dangerous(const struct hil_request *req, bool sweep, const char **why)
{
	bool stub = req->flags & HIL_FLAG_STUB;

	if (undeclared(req, sweep))
		*why = "x0 is a number of the stub's hcalls: its effect must be declared";
	else if (req->effect == HIL_EFFECT_FINALISE && hil_features() & HIL_FEATURE_VH)
		*why = "a CPU has VHE: finalise would move the kernel to EL2";
	else if (req->effect == HIL_EFFECT_RESTART && !req->catch_mask)
		*why = "a restart to an address that is not a catch table";
	else if (req->effect == HIL_EFFECT_CALL && !(req->catch_mask && stub))
		*why = "a call to what is not a catch table, or not by the hyp-stub";
	else if (req->effect == HIL_EFFECT_SET_VECTORS && !(req->catch_mask && stub))
		*why = "vectors that are not a catch table, or not set by the hyp-stub";
	else if (req->effect > HIL_EFFECT_FINALISE)
		*why = "an effect that this module doesn't know";
	else
		return 0;
	return -EPERM;
}

int hil_refuse_request(const struct hil_request *req, bool sweep, const char **why)
{
	int error = hil_refuse(why);

	if (!error)
		error = malformed(req, sweep, why);
	if (!error && !(req->flags & HIL_FLAG_DANGEROUS))
		error = dangerous(req, sweep, why);
	if (!error && req->effect == HIL_EFFECT_SET_VECTORS && req->flags & HIL_FLAG_ASK &&
	    !req->stub_vectors && !hil_stub_vectors) {
		*why = "where the stub's vectors are is not known: name them, or restart first";
		error = -ENODATA;
	}
	return error;
}
