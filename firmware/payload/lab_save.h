/* SPDX-License-Identifier: Apache-2.0 */
/* struct save: what exception entry and lab_issue keep, one per CPU at PCPU_SAVE. */
#ifndef HIL_LAB_SAVE_H
#define HIL_LAB_SAVE_H

#include "pcpu.h"

#define SAVE_OUT 0x000 /* struct wire_frame: what came home */
#define SAVE_IN SIZEOF_FRAME /* struct wire_frame: what went in */
#define SAVE_CTX (2 * SIZEOF_FRAME) /* x19-x30, sp of lab_issue's caller */
#define SAVE_GUARD (SAVE_CTX + 0x68) /* the same of guard_call's caller */
#define SAVE_COMMON (SAVE_GUARD + 0x68) /* address of lab_common */
#define SAVE_STACK (SAVE_COMMON + 0x08) /* SP_EL2 for what follows an exception */
#define SAVE_FRONT (SAVE_COMMON + 0x10)
#define SAVE_BASE (SAVE_COMMON + 0x18)
#define SAVE_SLOT (SAVE_COMMON + 0x20)
#define SAVE_CPTR (SAVE_COMMON + 0x28) /* the payload's own CPTR_EL2 */
#define SAVE_HCR (SAVE_COMMON + 0x30)
#define SAVE_GUARDED (SAVE_COMMON + 0x38) /* non-zero: guard_call is under way */
#define SAVE_NESTED (SAVE_COMMON + 0x40)
#define SAVE_LAND_COUNT (SAVE_COMMON + 0x48)
#define SAVE_LAND_STATE (SAVE_COMMON + 0x50) /* CurrentEL | SPSel << 8 | DAIF */
#define SAVE_LAND_ID (SAVE_COMMON + 0x58)
#define SAVE_LAND_LR (SAVE_COMMON + 0x60)
#define SAVE_LAND_X (SAVE_COMMON + 0x68) /* x0-x7 at the landing */
#define SAVE_LAND_HOME (SAVE_COMMON + 0xa8) /* non-zero: a landing never returns */
#define SAVE_SPSEL (SAVE_COMMON + 0xb0) /* SPSel when lab_common was entered */
#define SAVE_SCTLR (SAVE_COMMON + 0xb8)
#define SAVE_SVE (SAVE_COMMON + 0xc0) /* null, or struct sve in and out */
#define SAVE_DIRECT (SAVE_COMMON + 0xc8) /* struct direct */
#define SAVE_SIZE (SAVE_DIRECT + 0x120)
#define SVE_P 0x400 /* P0-P15, FFR after 32 Z of at most 256 bits */
#define SVE_SIZE 0x480
#define LAB_DIRECT 0x000 /* code of a DIRECT job, in the page of code */
#define LAB_SYSREG 0x100 /* code of a SYSREG job */
#define LAB_RETURN 0x140 /* brk that a called function returns to */

/* Exception ids: table << 8 | vector, vector 0x10 for a catch table's landing. */
#define ID_VECTOR 0x0f
#define ID_LANDING 0x10
#define ID_FAR_USED 0x20 /* FAR_EL2 was the scratch: no evidence */
#define ID_TPIDR_USED 0x40 /* TPIDR_EL2 was */
#define ID_AGAIN 0x80 /* a second hvc came before the first was home */
#define ID_TABLE_SHIFT 8
#define ID_BASE 0
#define ID_FRONT 1
#define ID_CATCH 2 /* + number of the catch table */

/* Immediates of the brk instructions that bring a CPU home. */
#define BRK_STUB 0xb000 /* after an hvc stub */

#define BRK_EL1 0xb100 /* in an EL1 vector */
#define BRK_CALL 0xb200 /* return of a called function */

#ifndef __ASSEMBLER__
struct context {
	uint64_t x19_x30[12], sp;
};

/* What the EL1 code of a DIRECT job saves and needs; offsets in lab_asm.S. */
struct direct {
	uint64_t x[31], sp, pstate, returned, home_x0, home_x1;
};

/* VL is at most 256 bits (ZCR_EL2.LEN); Z and P follow each other without a gap. */
struct sve {
	uint64_t z[128], p[16];
};
_Static_assert(sizeof(struct sve) == SVE_SIZE, "sve");

struct save {
	struct wire_frame out, in;
	struct context ctx, guard;
	uint64_t common, stack, front, base, slot, cptr, hcr, guarded, nested;
	uint64_t land_count, land_state, land_id, land_lr, land_x[8], land_home, spsel, sctlr;
	struct sve *sve;
	struct direct direct;
};
_Static_assert(offsetof(struct save, common) == SAVE_COMMON, "save");
_Static_assert(offsetof(struct save, land_home) == SAVE_LAND_HOME, "save");
_Static_assert(sizeof(struct save) == SAVE_SIZE, "save");
_Static_assert(sizeof(struct save) <= PCPU_SPCOPY - PCPU_SAVE, "save");
#endif
#endif
