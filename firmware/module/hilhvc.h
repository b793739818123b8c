/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hilhvc: one hvc with the whole register file, from a running kernel.
 *
 * What is between an hvc and the way home trusts nothing but the mapping of the
 * kernel: exceptions come to the module's own vectors (issue.S), so that a clobber
 * of any register, a wrong return address and a panic of EL2 are all observed.
 */
#ifndef HILHVC_H
#define HILHVC_H

#include "wire.h"

/* struct hil_save, for the assembler; exchange.c compares. */
#define SAVE_OUT 0
#define SAVE_IN HIL_SIZEOF_FRAME
#define SAVE_OWN (2 * HIL_SIZEOF_FRAME)
#define SAVE_CTX (SAVE_OWN + 8 * HIL_NSYS)
#define SAVE_STATE (SAVE_CTX + 0x70)
#define SAVE_VECTOR (SAVE_STATE + 0x08)
#define SAVE_ESR (SAVE_STATE + 0x10)
#define SAVE_ELR (SAVE_STATE + 0x18)
#define SAVE_SPSR (SAVE_STATE + 0x20)
#define SAVE_FAR (SAVE_STATE + 0x28)
#define SAVE_PSTATE (SAVE_STATE + 0x30)
#define SAVE_CONT (SAVE_STATE + 0x38)
#define SAVE_NZCV (SAVE_STATE + 0x40)
#define SAVE_SCRATCH (SAVE_STATE + 0x48)
#define SAVE_DIRECT (SAVE_STATE + 0x50)

#define STATE_IDLE 0
#define STATE_LEAVING 1
#define STATE_AWAY 2

/* A catch table: 2 KiB of vectors, code, then these (catch.S). */
#define CATCH_SIZE 0x1000
#define CATCH_LITERALS 0xb80
#define CATCH_LANDING 0xc00
#define LIT_HOME 0x00
#define LIT_SPSR 0x08
#define LIT_STUB 0x10
#define LIT_TPIDRRO 0x18
#define LIT_RETURNS 0x20
#define LIT_X30 0x28

#define SLOT_SIZE 0x40 /* the hvc, then the way home */

#ifndef __ASSEMBLY__
#include <linux/types.h>

#define HIL_MODULE_VERSION 1
#define HIL_TIMEOUT_S 10

struct hil_save {
	struct hil_frame out, in;
	u64 own[HIL_NSYS]; /* the kernel's */
	u64 ctx[14];       /* x18-x30, SP */
	u64 state, vector, esr, elr, spsr, far;
	u64 pstate, cont; /* the kernel's PSTATE and where it goes on */
	u64 nzcv, scratch, direct;
};

/* What the catch tables are told before an hvc. */
struct hil_literals {
	u64 home, spsr, stub, tpidrro, returns, x30;
};

/* One request and what it found, while it is worked on. */
struct hil_once {
	const struct hil_request *req;
	u32 imm;
	u64 x0;   /* used if has_x0 */
	bool has_x0;
	struct hil_sig sig;
	struct hil_landing landing;
	u32 unseen;
};

struct hil_out;

/* issue.S */
extern struct hil_save hil_save;
extern char hil_vectors[], hil_home[];
void hil_issue(struct hil_save *save);

/* catch.S */
extern char hil_area[], hil_area_end[], hil_slot[];

/* area.c: the module's own code, written and read by a second mapping. */
int hil_area_init(void);
void hil_area_exit(void);
void hil_area_patch(u32 imm, bool nop, bool direct);
void hil_area_arm(const struct hil_literals *literals);
bool hil_area_landed(struct hil_landing *landing);
u64 hil_catch(u32 n);
u32 hil_catch_of(u64 pa);

/* run.c: on another CPU, with a way out where it never comes back. */
typedef void (*hil_fn)(void *arg);
int hil_run_init(void);
void hil_run_exit(void);
int hil_run(u32 cpu, hil_fn fn, void *arg);
u32 hil_lost_cpu(void);
void hil_stay(void);

/* exchange.c, judge.c, sweep.c, identify.c, refuse.c */
extern u64 hil_stub_vectors; /* physical; 0 while unknown */
void hil_exchange(struct hil_once *once);
void hil_exchange_arm(const struct hil_request *req);
void hil_judge(struct hil_once *once);
int hil_op_hvc(const struct hil_request *req, struct hil_out *out);
int hil_op_sweep(const struct hil_request *req, struct hil_out *out);
int hil_op_identify(struct hil_out *out);
u32 hil_conduit(void);
u32 hil_features(void);
int hil_refuse(const char **why);
int hil_refuse_request(const struct hil_request *req, bool sweep, const char **why);

/* device.c */
int hil_put(struct hil_out *out, const void *data, size_t size);
int hil_say(struct hil_out *out, int error, const char *format, ...) __printf(3, 4);
u32 hil_crc32(u32 crc, const void *data, size_t size);
#endif
#endif
