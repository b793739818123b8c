/* SPDX-License-Identifier: Apache-2.0 */
/* The register dump of an exception that nothing could recover from. */
#include "lab_internal.h"

static void put_hex(void (*puts)(const char *), const char *name, uint64_t value)
{
	char text[20];

	for (uint32_t i = 0; i < 16; i++)
		text[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 0xf];
	text[16] = 0;
	puts(name);
	puts("=");
	puts(text);
}

/*
 * Writes what p->exc and the saved file say. `puts` writes a string as it is.
 * Used for each of the 16 vectors of the base table.
 */
void lab_dump(struct pcpu *p, void (*puts)(const char *))
{
	const struct save *s = save_of(p);
	char name[] = " x00";

	puts("\r\nhilagent payload: exception at EL2 in the payload's own code\r\n");
	put_hex(puts, " cpu", p->index);
	put_hex(puts, " vector", (p->exc.id & ID_VECTOR) * 0x80);
	put_hex(puts, " el", p->exc.el);
	puts("\r\n");
	put_hex(puts, " esr", p->exc.esr);
	put_hex(puts, " far", p->exc.far);
	put_hex(puts, " elr", p->exc.elr);
	put_hex(puts, " spsr", p->exc.spsr);
	put_hex(puts, " sp", s->out.sys[SYS_SP_EL2]);
	for (uint32_t r = 0; r < 31; r++) {
		name[2] = (char)('0' + r / 10);
		name[3] = (char)('0' + r % 10);
		if (r % 4 == 0)
			puts("\r\n");
		put_hex(puts, name, s->out.x[r]);
	}
	puts("\r\n");
}
