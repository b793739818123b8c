/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The area that each CPU owns. Everything that an exception needs stands at a
 * fixed distance from the vector table that took it, so no register, no stack
 * and no TPIDR_EL2 has to survive what is under test.
 *
 * Single writer each: the owner CPU writes all but `mail`, which the CPU that
 * owns the link writes (exclusives are unreliable with the MMU off).
 */
#ifndef HIL_PCPU_H
#define HIL_PCPU_H

#include "wire.h"

#define PCPU_BASE 0x0000 /* VBAR_EL2 outside a test: dump and recovery */
#define PCPU_FRONT 0x0800 /* VBAR_EL2 while vectors are under test: not 4 KiB aligned, as a */
#define PCPU_CATCH 0x1800 /* truncated address must show; x0's catch tables neither */
#define PCPU_NCATCH 8
#define PCPU_CODE 0x5800 /* generated code; no data in a page of code: emulators pay for it */
#define PCPU_SAVE 0x6000 /* struct save: what an exception saves */
#define PCPU_SPCOPY 0x6c00 /* what the watched part of the patterned page holds */
#define PCPU_STATE 0x7000 /* struct pcpu */
#define PCPU_SVE 0x7600 /* struct sve in, out */
#define PCPU_SPPAGE 0x8000 /* the patterned page for SP_EL2, 4 KiB */
#define PCPU_RESULT 0x9000 /* result area of the last job */
#define PCPU_RESULT_SIZE (WIRE_FRAMES_OFFSET + WIRE_MAX_SIGS * 2 * SIZEOF_FRAME)
#define PCPU_STACK_TOP 0x21000 /* EL2 stack grows down from here to the result area */
#define PCPU_SIZE 0x21000

/* SP_EL2 that no hcall may use: above every physical address, so that any use faults. */
#define LAB_BAD_SP 0x0040000000000f00ull

#define NR_CPUS 128

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* An exception that a request met, kept for its error reply. */
struct exc {
	uint32_t id; /* table << 8 | vector, see lab_asm.S */
	uint32_t el;
	uint64_t esr, far, elr, spsr;
};

struct mail { /* written by the link's CPU only */
	volatile uint32_t ticket; /* raised by one to start `job` */
	volatile uint32_t take_link; /* this CPU shall own the UART */
	struct wire_job job;
};

struct pcpu {
	uint32_t index;
	volatile uint32_t cpu_state; /* CPU_* */
	uint64_t mpidr;
	volatile uint32_t job_state; /* JOB_* */
	volatile uint32_t job_id; /* the ticket that was taken last */
	volatile uint32_t at, done; /* progress, for heartbeats */
	struct exc exc;
	uint64_t guard_sp; /* non-zero: an exception unwinds to guard_call */
	uint64_t nested; /* an exception inside the handling of one */
	uint64_t entry[WIRE_NENTRY]; /* this CPU's entry state */
	struct mail mail;
};
_Static_assert(sizeof(struct pcpu) <= PCPU_SVE - PCPU_STATE, "pcpu");
_Static_assert(PCPU_RESULT + PCPU_RESULT_SIZE <= PCPU_STACK_TOP - 0x2000, "stack of 8 KiB");

extern uint8_t pcpu_areas[NR_CPUS][PCPU_SIZE]; /* BSS, 4 KiB aligned; zeroed per CPU as it starts */

static inline struct pcpu *pcpu_of(uint32_t cpu)
{
	return (struct pcpu *)(pcpu_areas[cpu] + PCPU_STATE);
}

static inline uint8_t *pcpu_area(const struct pcpu *p)
{
	return (uint8_t *)p - PCPU_STATE;
}
#endif
#endif
