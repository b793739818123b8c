/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laboratory: exception entry, recovery, and the issuing of hvc under the
 * payload's control (see the comment at the head of lab.c).
 */
#ifndef HIL_LAB_H
#define HIL_LAB_H

#include "pcpu.h"

#define SLOT_SIZE 0x10000 /* 64 KiB for a loaded table and what it reaches */
extern uint8_t lab_slot[SLOT_SIZE]; /* 4 KiB aligned */

/* Once, on the boot CPU: builds the table of 65,536 hvc stubs. */
void lab_build_stubs(void);

/*
 * Before another image runs: no code is left there. An emulator would go on looking for
 * it at each write to these pages (measured: a kernel that reuses them boots 15 times slower).
 */
void lab_drop_stubs(void);

/*
 * On each CPU as it starts, at EL2 with its own stack: builds its tables in its
 * area, sets VBAR_EL2 to the base table and VBAR_EL1 to the dumping EL1 vectors.
 * Needs p->index.
 */
void lab_init(struct pcpu *p);

/* Op VECTORS, for all CPUs at once; none may run a job. Returns STATUS_*. */
uint32_t lab_vectors(const struct wire_vectors *v);

/*
 * Runs p->mail.job (every kind) on this CPU. Writes the result area, p->at and
 * p->done. `beat`, if not null, is called between blocks. Returns JOB_DONE or
 * JOB_FAULTED.
 */
uint32_t lab_run(struct pcpu *p, void (*beat)(struct pcpu *));

/* Bytes of the result area that the last job filled. */
uint32_t lab_result_size(const struct pcpu *p);

/*
 * Calls fn(a, b, c, d) at EL2 on this CPU; *ret gets its result. Returns 0, or 1
 * when an exception ended it (p->exc says which). Used for every access that may fault.
 */
uint32_t guard_call(struct pcpu *p, uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
		    uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *ret);

/* Provided by the base: an exception with no guard (p->exc is filled). Does not return. */
__attribute__((noreturn)) void fatal_exception(struct pcpu *p);

#endif
