/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the laboratory only. */
#ifndef HIL_LAB_INTERNAL_H
#define HIL_LAB_INTERNAL_H

#include "lab.h"
#include "lab_save.h"

extern uint32_t lab_stubs[65536][4];

static inline struct save *save_of(const struct pcpu *p)
{
	return (struct save *)(pcpu_area(p) + PCPU_SAVE);
}

static inline uint32_t *code_of(const struct pcpu *p, uint32_t offset)
{
	return (uint32_t *)(pcpu_area(p) + PCPU_CODE + offset);
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

/* lab_file.c: what goes in, and what of it came home changed */
void lab_file_prepare(struct pcpu *p, const struct wire_job *job);
void lab_file_aim(struct pcpu *p, const struct wire_job *job, uint32_t imm, uint64_t x0);
void lab_file_judge(struct pcpu *p, const struct wire_job *job, uint32_t id, uint32_t imm,
		    struct wire_sig *sig);
void lab_file_landing(const struct save *s, struct wire_sig *sig);
void lab_file_repair(struct pcpu *p, const struct wire_sig *sig);

/* lab_sweep.c */
uint32_t lab_sweep(struct pcpu *p, const struct wire_job *job, void (*beat)(struct pcpu *));
uint32_t lab_hvc(struct pcpu *p, const struct wire_job *job);

#endif
