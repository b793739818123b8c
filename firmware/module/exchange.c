// SPDX-License-Identifier: GPL-2.0-only
/* One hvc: the register file that goes in, and what comes home. */
#include <linux/errno.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/barrier.h>
#include <asm/sysreg.h>

#include "hilhvc.h"

#define AT(member, offset) static_assert(offsetof(struct hil_save, member) == (offset))
AT(out, SAVE_OUT);
AT(in, SAVE_IN);
AT(own, SAVE_OWN);
AT(ctx, SAVE_CTX);
AT(state, SAVE_STATE);
AT(vector, SAVE_VECTOR);
AT(far, SAVE_FAR);
AT(pstate, SAVE_PSTATE);
AT(cont, SAVE_CONT);
AT(nzcv, SAVE_NZCV);
AT(scratch, SAVE_SCRATCH);
AT(direct, SAVE_DIRECT);
static_assert(sizeof(struct hil_save) == SAVE_DIRECT + 8);

#define PSR_DAIF_EL1H 0x3c5

/* Registers of the pattern, numbered for mix(). */
enum {
	PATTERN_SP = 31,
	PATTERN_NZCV,
	PATTERN_SP_EL0,
	PATTERN_TPIDR,
	PATTERN_TPIDRRO,
	PATTERN_V = 64
};

u64 hil_stub_vectors;

/* splitmix64 */
static u64 mix(u64 seed, u32 n)
{
	u64 z = seed + (n + 1) * 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static u64 pattern(const struct hil_request *req, u32 n)
{
	u64 value = mix(req->seed, n);

	return req->pass & 1 ? ~value : value;
}

/* A stack pointer that no one can use: neither half of the address space has it. */
static u64 bad_sp(const struct hil_request *req, u32 n)
{
	u64 value = (mix(req->seed, n) & 0xfffffffffff0ull) | 0x5aa5ull << 48;

	return req->pass & 1 ? value ^ ~0xfull : value;
}

static void fill_own(struct hil_save *s)
{
	u64 *own = s->own;

	own[HIL_SYS_SP_EL0] = read_sysreg(sp_el0);
	own[HIL_SYS_TPIDR_EL0] = read_sysreg(tpidr_el0);
	own[HIL_SYS_TPIDRRO_EL0] = read_sysreg(tpidrro_el0);
	own[HIL_SYS_TPIDR_EL1] = read_sysreg(tpidr_el1);
	own[HIL_SYS_VBAR_EL1] = read_sysreg(vbar_el1);
	own[HIL_SYS_SCTLR_EL1] = read_sysreg(sctlr_el1);
	own[HIL_SYS_TTBR0_EL1] = read_sysreg(ttbr0_el1);
	own[HIL_SYS_TTBR1_EL1] = read_sysreg(ttbr1_el1);
	own[HIL_SYS_TCR_EL1] = read_sysreg(tcr_el1);
	own[HIL_SYS_MAIR_EL1] = read_sysreg(mair_el1);
	own[HIL_SYS_CPACR_EL1] = read_sysreg(cpacr_el1);
	own[HIL_SYS_CNTKCTL_EL1] = read_sysreg(cntkctl_el1);
	own[HIL_SYS_CONTEXTIDR_EL1] = read_sysreg(contextidr_el1);
	own[HIL_SYS_FAR_EL1] = read_sysreg(far_el1);
	dmb(sy);
	own[HIL_SYS_PAR_EL1] = read_sysreg(par_el1);
	dmb(sy);
	own[HIL_SYS_FPCR] = read_sysreg(fpcr);
	own[HIL_SYS_FPSR] = read_sysreg(fpsr);
}

/* What goes in is the same for all of a request, but for x0 and what is the kernel's. */
static struct hil_frame template;
static u64 template_nzcv;

static void fill_template(const struct hil_request *req)
{
	struct hil_frame *in = &template;

	memset(in, 0, sizeof(*in));
	for (u32 r = 0; r < 31; r++) {
		in->x[r] = req->fixed_mask >> r & 1 ? req->x[r] : pattern(req, r);
		if (r < HIL_CATCHES && req->catch_mask >> r & 1)
			in->x[r] = hil_catch((r + (req->pass & 1)) % HIL_CATCHES);
	}
	for (u32 i = 0; i < 64; i++)
		in->v[i] = pattern(req, PATTERN_V + i);
	in->sp = bad_sp(req, PATTERN_SP);
	in->pc = (u64)hil_slot;
	in->sys[HIL_SYS_VBAR_EL1] = (u64)hil_vectors;
	in->sys[HIL_SYS_SP_EL0] = bad_sp(req, PATTERN_SP_EL0);
	in->sys[HIL_SYS_TPIDR_EL0] = pattern(req, PATTERN_TPIDR);
	in->sys[HIL_SYS_TPIDRRO_EL0] = pattern(req, PATTERN_TPIDRRO);
	template_nzcv = pattern(req, PATTERN_NZCV) & 0xf0000000;
}

static void fill_in(const struct hil_once *once, struct hil_save *s)
{
	static const u8 ours[] = { HIL_SYS_VBAR_EL1, HIL_SYS_SP_EL0, HIL_SYS_TPIDR_EL0,
				   HIL_SYS_TPIDRRO_EL0 };
	struct hil_frame *in = &s->in;

	*in = template;
	memcpy(in->sys, s->own, sizeof(in->sys));
	for (u32 i = 0; i < ARRAY_SIZE(ours); i++)
		in->sys[ours[i]] = template.sys[ours[i]];
	if (once->has_x0)
		in->x[0] = once->x0;
	in->imm = once->imm;
	s->nzcv = template_nzcv;
}

/* Before the first exchange of a request, on its CPU: what the catch tables need too. */
void hil_exchange_arm(const struct hil_request *req)
{
	struct hil_literals literals = {
		.home = (u64)hil_slot + 4,
		.stub = hil_stub_vectors,
		.returns = req->effect == HIL_EFFECT_CALL,
	};

	fill_template(req);
	literals.spsr = PSR_DAIF_EL1H | template_nzcv;
	literals.tpidrro = template.sys[HIL_SYS_TPIDRRO_EL0];
	literals.x30 = template.x[30];
	hil_area_arm(&literals);
}

/* A restart says where the stub's vectors are: it leaves them in VBAR_EL2. */
static void learn(const struct hil_landing *landing)
{
	u64 vbar = landing->reg[HIL_LAND_VBAR_EL2];

	if (landing->kind == HIL_LANDED_RESTARTED && vbar && hil_catch_of(vbar) == HIL_CATCHES)
		hil_stub_vectors = vbar;
}

static void issue(struct hil_once *once)
{
	struct hil_save *s = &hil_save;
	unsigned long flags;
	u64 daif;

	hil_area_patch(once->imm, once->req->flags & HIL_FLAG_NO_HVC, once->req->pass & 1);
	local_irq_save(flags);
	daif = read_sysreg(daif);
	asm volatile("msr daifset, #15" : : : "memory");
	fill_own(s);
	fill_in(once, s);
	hil_issue(s);
	write_sysreg(daif, daif);
	local_irq_restore(flags);
}

/* On the CPU, between kernel_neon_begin and _end, armed. */
void hil_exchange(struct hil_once *once)
{
	issue(once);
	hil_area_landed(&once->landing);
	learn(&once->landing);
	hil_judge(once);
}

struct asked {
	struct hil_once once;
	struct hil_frame before, after;
	bool stuck; /* a catch table may still be VBAR_EL2 */
};

static bool asks(const struct hil_request *req)
{
	return req->flags & HIL_FLAG_ASK ||
	       (req->catch_mask && req->effect == HIL_EFFECT_UNDECLARED);
}

/* Under KVM, with EL2's MMU on, a catch table as VBAR_EL2 takes the CPU at once. */
static bool keeps(const struct hil_request *req)
{
	return req->effect == HIL_EFFECT_SET_VECTORS && req->catch_mask && !asks(req) &&
	       req->flags & HIL_FLAG_STUB;
}

/* The vectors may be ours now: an hcall that nobody knows finds out, and gives them back. */
static void ask(struct asked *asked)
{
	struct hil_once second = {
		.req = asked->once.req,
		.imm = asked->once.req->ask_imm,
		.x0 = asked->once.req->ask_x0,
		.has_x0 = true,
	};

	hil_exchange(&second);
	if (second.landing.kind != HIL_LANDED_VECTORS)
		return;
	asked->stuck = !hil_stub_vectors;
	asked->once.landing = second.landing;
	asked->once.sig.seen = HIL_SEEN_VECTORS_SET;
	asked->once.sig.catch = second.sig.catch;
	asked->after.seen = HIL_SEEN_VECTORS_SET;
}

static void on_cpu(void *arg)
{
	struct asked *asked = arg;

	hil_exchange_arm(asked->once.req);
	hil_exchange(&asked->once);
	asked->before = hil_save.in;
	asked->after = hil_save.out;
	asked->stuck = keeps(asked->once.req);
	if (asks(asked->once.req))
		ask(asked);
}

static const char *landed_at(struct hil_landing *landing)
{
	if (!hil_area_landed(landing))
		return "";
	return landing->reg[HIL_LAND_CurrentEL] == CurrentEL_EL2 ? "; a catch table saw it at EL2" :
								   "; a catch table saw it at EL1";
}

int hil_op_hvc(const struct hil_request *req, struct hil_out *out)
{
	static struct hil_request mine; /* static: a lost CPU goes on holding them */
	static struct asked asked;
	struct hil_exchange head = { .cpu = req->cpu, .pass = req->pass };
	int error;

	mine = *req;
	memset(&asked, 0, sizeof(asked));
	asked.once.req = &mine;
	asked.once.imm = req->first;
	error = hil_run(req->cpu, on_cpu, &asked);
	if (error == -ENXIO)
		return hil_say(out, error, "the CPU is offline");
	if (error)
		return hil_say(out, error, "it did not come back within %u s%s", HIL_TIMEOUT_S,
			       landed_at(&asked.once.landing));
	if (asked.stuck)
		hil_stay();
	head.unseen = asked.once.unseen;
	hil_put(out, &head, sizeof(head));
	hil_put(out, &asked.once.sig, sizeof(asked.once.sig));
	hil_put(out, &asked.before, sizeof(asked.before));
	hil_put(out, &asked.after, sizeof(asked.after));
	return hil_put(out, &asked.once.landing, sizeof(asked.once.landing));
}
