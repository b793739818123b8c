// SPDX-License-Identifier: GPL-2.0-only
/* What of the register file came home changed, and by which way it came. */
#include <linux/build_bug.h>
#include <linux/string.h>

#include "hilhvc.h"

static_assert(HIL_FRAME_SP == 31 * 8 && HIL_FRAME_PC == 32 * 8);

#define ESR_EC(esr) ((esr) >> 26 & 0x3f)
#define EC_SVC64 0x15
#define BIT_OF(name) (1u << HIL_SYS_##name)
#define BY_EXCEPTION (BIT_OF(ESR_EL1) | BIT_OF(ELR_EL1) | BIT_OF(SPSR_EL1) | BIT_OF(FAR_EL1))

/* EL2's own, and SP_EL1, which is the frame's SP. */
#define NEVER (~0u << HIL_SYS_VBAR_EL2 | BIT_OF(SP_EL1))

static bool by_svc(const struct hil_save *s, u32 imm)
{
	return ESR_EC(s->esr) == EC_SVC64 && (s->esr & 0xffff) == imm;
}

/* Where the hvc returned to, from the instruction behind it; false if not near it. */
static bool returned(struct hil_save *s, s32 *pc_off)
{
	u64 off = s->elr - 4 - ((u64)hil_slot + 4);

	*pc_off = 0;
	if (s->direct && by_svc(s, 1))
		return true;
	*pc_off = (s32)off;
	return !s->direct && by_svc(s, 0) && off + SLOT_SIZE < 2 * SLOT_SIZE;
}

/* Which input register each argument at the landing equals. */
static void judge_landing(struct hil_once *once)
{
	const struct hil_landing *landing = &once->landing;
	struct hil_sig *sig = &once->sig;
	u32 shift = once->req->pass & 1;

	sig->seen = landing->kind == HIL_LANDED_CALLED  ? HIL_SEEN_CALLED :
		    landing->kind == HIL_LANDED_VECTORS ? HIL_SEEN_VECTORS_SET :
		    landing->kind == HIL_LANDED_FAULT   ? HIL_SEEN_EL2_FAULT :
							  HIL_SEEN_LANDED;
	sig->catch = shift ? 4 + (landing->catch + HIL_CATCHES - 1) % HIL_CATCHES : landing->catch;
	sig->landing_state = (landing->reg[HIL_LAND_CurrentEL] >> 2 & 3) |
			     (landing->reg[HIL_LAND_SPSel] & 1) << 8 |
			     (landing->reg[HIL_LAND_DAIF] >> 6 & 0xf) << 16;
	for (u32 j = 0; j < 8; j++) {
		sig->args[j] = 0xff;
		for (u32 r = 0; r < 8; r++)
			if (landing->reg[j] == hil_save.in.x[r])
				sig->args[j] = r;
	}
	if (landing->kind == HIL_LANDED_FAULT) {
		sig->esr = landing->reg[HIL_LAND_ESR_EL2];
		sig->elr = landing->reg[HIL_LAND_ELR_EL2];
	}
}

static void judge_way(struct hil_once *once)
{
	struct hil_save *s = &hil_save;
	struct hil_sig *sig = &once->sig;

	sig->el = s->spsr >> 2 & 3;
	sig->catch = 0xff;
	s->out.pstate = s->spsr;
	if (returned(s, &sig->pc_off)) {
		sig->seen = HIL_SEEN_RETURNED;
		s->out.pc = (u64)hil_slot + 4 + sig->pc_off;
		if (once->landing.kind)
			judge_landing(once);
	} else {
		sig->seen = HIL_SEEN_EL1_FAULT;
		sig->vector = s->vector;
		sig->esr = s->out.esr = s->esr;
		sig->elr = s->out.pc = s->elr;
		s->out.far = s->far;
		sig->pc_off = 0;
	}
}

static u32 unseen(const struct hil_once *once)
{
	const struct hil_save *s = &hil_save;
	u32 hidden = NEVER;

	hidden |= s->direct ? BIT_OF(TPIDR_EL0) : BY_EXCEPTION | BIT_OF(TPIDRRO_EL0);
	if (once->sig.seen == HIL_SEEN_EL1_FAULT)
		hidden |= BY_EXCEPTION | BIT_OF(TPIDRRO_EL0);
	return hidden;
}

static void judge_sys(struct hil_once *once)
{
	u64 *in = hil_save.in.sys, *out = hil_save.out.sys;

	for (u32 i = 0; i < HIL_NSYS; i++) {
		if (once->unseen >> i & 1)
			in[i] = out[i] = 0;
		once->sig.sys_changed |= (u32)(in[i] != out[i]) << i;
	}
}

void hil_judge(struct hil_once *once)
{
	struct hil_frame *in = &hil_save.in, *out = &hil_save.out;
	struct hil_sig *sig = &once->sig;

	memset(sig, 0, sizeof(*sig));
	sig->first = once->imm;
	out->imm = once->imm;
	judge_way(once);
	out->seen = sig->seen;
	once->unseen = unseen(once);
	judge_sys(once);
	for (u32 r = 0; r < 31; r++)
		sig->gpr_changed |= (u32)(out->x[r] != in->x[r]) << r;
	sig->gpr_changed |= (u32)(out->sp != in->sp) << 31;
	for (u32 i = 0; i < 64; i++)
		sig->v_changed |= (u32)(out->v[i] != in->v[i]) << i / 2;
	sig->pstate_diff = out->pstate ^ in->pstate;
	if (sig->gpr_changed & 1 && sig->seen != HIL_SEEN_EL1_FAULT)
		sig->x0 = out->x[0];
}
