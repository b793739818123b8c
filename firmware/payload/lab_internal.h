/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the laboratory only. */
#ifndef HIL_LAB_INTERNAL_H
#define HIL_LAB_INTERNAL_H

#include "lab.h"
#include "lab_save.h"

#define STUB_WORDS 16 /* 4 are used; an emulator pays for the square of what it finds in a page */
extern uint32_t lab_stubs[65536][STUB_WORDS];

static inline struct save *save_of(const struct pcpu *p)
{
	return (struct save *)(pcpu_area(p) + PCPU_SAVE);
}

static inline uint32_t *code_of(const struct pcpu *p, uint32_t offset)
{
	return (uint32_t *)(pcpu_area(p) + PCPU_CODE + offset);
}

/* A good SP_EL2 for the hcalls that need one, at the end of the patterned page. */
#define PAGE_STACK 0xff0 /* a good stack for the hcalls that need one */
#define GOOD_STACK(p) (pcpu_area(p) + PCPU_SPPAGE + PAGE_STACK)

static inline uint64_t lab_pending(void)
{
	uint64_t isr;

	__asm__ volatile("mrs %0, isr_el1" : "=r"(isr));
	return isr;
}

/* SVE: 64-bit words of a Z register. */
static inline uint32_t lab_vl_words(void)
{
	uint64_t bytes;

	__asm__ volatile(".arch_extension sve\n\trdvl %0, #1" : "=r"(bytes));
	return (uint32_t)bytes / 8;
}

/* The stack pointer of the origin. */
static inline uint32_t lab_sp_of(const struct wire_job *job)
{
	return job->origin == ORIGIN_EL1H ? SYS_SP_EL1 :
	       job->origin == ORIGIN_EL2T ? SYS_SP_EL0 :
					    SYS_SP_EL2;
}

/* lab_asm.S */
uint32_t lab_issue(struct save *s);
void lab_common(void);
uint32_t lab_differs(const void *a, const void *b, uint64_t size);
void lab_sysregs_load(const uint64_t *sys);
void lab_sysregs_save(uint64_t *sys);
uint32_t guard_enter(struct save *s, uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t),
		     uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t *ret);
extern const uint32_t lab_direct_code[], lab_direct_home[], lab_direct_end[];

/* lab_tables.c */
void lab_tables_build(struct pcpu *p);
void lab_front_build(struct pcpu *p, const uint8_t *under_test, uint32_t from_el2);
uint64_t lab_el1_vectors(void);
uint32_t lab_vectors_crc(void); /* lab.c */
void lab_code_word(uint32_t *at, uint32_t word);
uint32_t lab_hvc_word(uint32_t imm);

/* lab_file.c: what goes in; lab_judge.c: what of it came home changed */
void lab_file_prepare(struct pcpu *p, const struct wire_job *job);
void lab_file_aim(struct pcpu *p, const struct wire_job *job, uint32_t imm, uint64_t x0);
void lab_file_judge(struct pcpu *p, const struct wire_job *job, uint32_t id, uint32_t imm,
		    struct wire_sig *sig);
uint32_t lab_file_v(struct save *s, uint32_t *z);
uint32_t lab_file_sys(const struct save *s, uint32_t id);
void lab_file_finish(struct pcpu *p);
void lab_file_landing(const struct save *s, struct wire_sig *sig);
int lab_page_touched(const struct pcpu *p);
void lab_file_repair(struct pcpu *p, const struct wire_sig *sig);

/* lab_sweep.c */
uint32_t lab_sweep(struct pcpu *p, const struct wire_job *job, void (*beat)(struct pcpu *));
uint32_t lab_hvc(struct pcpu *p, const struct wire_job *job);

#endif
