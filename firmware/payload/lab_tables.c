/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generated code of the laboratory: the stubs, and each CPU's front, base
 * and catch tables. An entry finds its struct save by its own address, so it
 * needs one scratch register of EL2 and nothing else (encodings: Arm ARM
 * DDI 0487, C6.2).
 */
#include "lab_internal.h"
#include "mem.h"
#include "cache.h"

#define MSR_FAR_X9 0xd51c6009u /* msr far_el2, x9 */
#define MRS_X9_FAR 0xd53c6009u
#define MRS_X10_FAR 0xd53c600au
#define MSR_TPIDR_X9 0xd51cd049u /* msr tpidr_el2, x9 */
#define MRS_X10_TPIDR 0xd53cd04au
#define MRS_X9_ESR 0xd53c5209u
#define UBFX_X9_EC 0xd35a7d29u /* ubfx x9, x9, #26, #6 */
#define SUB_X9_HVC 0xd1005929u /* sub x9, x9, #0x16 */
#define CBNZ_X9(words) (0xb5000009u | (words) << 5) /* cbnz x9, that many words on */
#define MRS_X9_MAIR 0xd53ca209u /* MAIR_EL2 does nothing while the MMU is off */
#define MSR_MAIR_X9 0xd51ca209u
#define MOV_X9_1 0xd2800029u
#define ADR_X9 0x10000009u
#define STP_X10_X11 0xa9052d2au /* stp x10, x11, [x9, #FRAME_X + 0x50] */
#define STR_X10_AT_X9 0xf900252au /* str x10, [x9, #FRAME_X + 0x48] */
#define MOVZ_X11 0xd280000bu
#define LDR_X10_X9 0xf940012au /* ldr x10, [x9, #imm] */
#define BR_X10 0xd61f0140u
#define MRS_XZR_PFR0 0xd538041fu /* mrs xzr, id_aa64pfr0_el1 */
#define HVC 0xd4000002u
#define BRK 0xd4200000u
#define A32_UDF 0xe7f000f0u /* always undefined as A32, and as A64 */

_Static_assert(FRAME_X == 0, "encodings above");

uint32_t lab_stubs[65536][STUB_WORDS] __attribute__((aligned(4096)));
static uint32_t el1_vectors[1024] __attribute__((aligned(4096))); /* 2 KiB, and no data behind */

static uint32_t adr_x9(const void *from, const void *to)
{
	int64_t d = (const uint8_t *)to - (const uint8_t *)from;

	return ADR_X9 | ((uint32_t)d & 3) << 29 | ((uint32_t)(d >> 2) & 0x7ffff) << 5;
}

static uint32_t branch(const void *from, const void *to)
{
	int64_t d = (const uint8_t *)to - (const uint8_t *)from;

	return 0x14000000u | ((uint32_t)(d >> 2) & 0x3ffffff);
}

static uint32_t *emit_entry(uint32_t *at, const struct save *s, uint32_t id)
{
	*at++ = id & ID_TPIDR_USED ? MSR_TPIDR_X9 : MSR_FAR_X9;
	*at = adr_x9(at, s);
	at++;
	*at++ = STP_X10_X11;
	*at++ = id & ID_TPIDR_USED ? MRS_X10_TPIDR : MRS_X10_FAR;
	*at++ = STR_X10_AT_X9;
	*at++ = MOVZ_X11 | id << 5;
	*at++ = LDR_X10_X9 | (SAVE_COMMON / 8) << 10;
	*at++ = BR_X10;
	return at;
}

/*
 * An hvc goes on to the table under test with nothing changed but FAR_EL2. A
 * second one before the first came home (the vectors returned to the hvc, or
 * past the stub into the next) is kept: it would run through all the stubs.
 */
static void emit_hvc_entry(uint32_t *at, const struct save *s, uint32_t id, const void *to)
{
	*at++ = MSR_FAR_X9;
	*at++ = MRS_X9_ESR;
	*at++ = UBFX_X9_EC;
	*at++ = SUB_X9_HVC;
	*at++ = CBNZ_X9(7);
	*at++ = MRS_X9_MAIR;
	*at++ = CBNZ_X9(14);
	*at++ = MOV_X9_1;
	*at++ = MSR_MAIR_X9;
	*at++ = MRS_X9_FAR;
	*at = branch(at, to);
	at++;
	*at++ = MRS_X9_FAR;
	at = emit_entry(at, s, id);
	*at++ = MRS_X9_FAR;
	emit_entry(at, s, id | ID_AGAIN);
}

static void emit_table(uint8_t *table, struct save *s, uint32_t number)
{
	for (uint32_t v = 0; v < 16; v++) {
		uint32_t landing = number >= ID_CATCH && v == 0 ? ID_LANDING : 0;
		uint32_t far = landing || (number == ID_FRONT && v == 8);
		uint32_t id = number << ID_TABLE_SHIFT | v | landing;

		id |= far ? ID_FAR_USED : ID_TPIDR_USED;
		emit_entry((uint32_t *)(table + v * 0x80), s, id);
	}
}

void lab_tables_build(struct pcpu *p)
{
	uint8_t *area = pcpu_area(p);
	struct save *s = save_of(p);

	emit_table(area + PCPU_FRONT, s, ID_FRONT);
	emit_table(area + PCPU_BASE, s, ID_BASE);
	for (uint32_t k = 0; k < PCPU_NCATCH; k++)
		emit_table(area + PCPU_CATCH + k * 0x800, s, ID_CATCH + k);
	*code_of(p, LAB_RETURN) = BRK | BRK_CALL << 5;
	cache_code_written(area, PCPU_SAVE);
}

void lab_front_build(struct pcpu *p, const uint8_t *under_test, uint32_t from_el2)
{
	uint8_t *front = pcpu_area(p) + PCPU_FRONT;
	struct save *s = save_of(p);

	emit_table(front, s, ID_FRONT);
	for (uint32_t v = 0; under_test && v <= 8; v += 4) {
		uint32_t *at = (uint32_t *)(front + v * 0x80);

		if (v != 8 && !from_el2)
			continue;
		emit_hvc_entry(at, s, ID_FRONT << ID_TABLE_SHIFT | v | ID_FAR_USED,
			       under_test + v * 0x80);
	}
	cache_code_written(front, 0x800);
}

void lab_build_stubs(void)
{
	cache_before_write(lab_stubs, sizeof(lab_stubs));
	cache_before_write(el1_vectors, sizeof(el1_vectors));
	for (uint32_t n = 0; n < 65536; n++) {
		lab_stubs[n][0] = HVC | n << 5;
		lab_stubs[n][1] = lab_stubs[n][2] = BRK | BRK_STUB << 5;
		lab_stubs[n][3] = A32_UDF; /* a return to AArch32 ends here */
	}
	for (uint32_t v = 0; v < 16; v++) {
		el1_vectors[v * 32] = MRS_XZR_PFR0; /* HCR_EL2.TID3 traps it */
		el1_vectors[v * 32 + 1] = BRK | BRK_EL1 << 5; /* or MDCR_EL2.TDE this */
	}
	cache_code_written(lab_stubs, sizeof(lab_stubs));
	cache_code_written(el1_vectors, sizeof(el1_vectors));
}

uint64_t lab_el1_vectors(void)
{
	return (uint64_t)el1_vectors;
}

void lab_code_word(uint32_t *at, uint32_t word)
{
	*at = word;
	cache_code_written(at, sizeof(*at));
}

uint32_t lab_hvc_word(uint32_t imm)
{
	return HVC | imm << 5;
}

void lab_drop_stubs(void)
{
	for (uint32_t n = 0; n < 65536; n++)
		*(uint64_t *)lab_stubs[n] = 0;
}
