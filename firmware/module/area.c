// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's own code as data: the slot that holds the hvc (its immediate is part
 * of the instruction) and the catch tables, which EL2 uses with its MMU off. Both are
 * written through a second mapping, as the first is read-only.
 */
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "hilhvc.h"

#define INSN_HVC(imm) (0xd4000002u | (u32)(imm) << 5)
#define INSN_SVC 0xd4000001u
#define INSN_NOP 0xd503201fu
#define INSN_B(off) (0x14000000u | ((u32)((off) >> 2) & 0x3ffffffu))

static char *alias;

static void *writable(const char *code)
{
	return alias + (code - hil_area);
}

/* To the point of coherency: EL2 with its MMU off reads and writes memory itself. */
static void clean(const void *from, size_t size)
{
	uintptr_t line, end = (uintptr_t)from + size;
	u64 ctr;

	asm volatile("mrs %0, ctr_el0" : "=r"(ctr));
	line = 4ul << (ctr >> 16 & 0xf);
	for (uintptr_t at = (uintptr_t)from & -line; at < end; at += line)
		asm volatile("dc civac, %0" : : "r"(at) : "memory");
	asm volatile("dsb sy" : : : "memory");
}

static const char *table(u32 n)
{
	return hil_area + n * CATCH_SIZE;
}

static struct hil_landing *landing(u32 n)
{
	return writable(table(n) + CATCH_LANDING);
}

u64 hil_catch(u32 n)
{
	const char *at = table(n);

	return page_to_phys(vmalloc_to_page(at)) + offset_in_page(at);
}

u32 hil_catch_of(u64 pa)
{
	for (u32 n = 0; n < HIL_CATCHES; n++)
		if (hil_catch(n) == pa)
			return n;
	return HIL_CATCHES;
}

/* To be called on the CPU that runs the slot next. */
void hil_area_patch(u32 imm, bool nop, bool direct)
{
	u32 *words = writable(hil_slot);
	const char *behind = hil_slot + 4;

	words[0] = nop ? INSN_NOP : INSN_HVC(imm);
	words[1] = direct ? INSN_B(hil_home - behind) : INSN_SVC;
	clean(words, 8);
	asm volatile("ic ivau, %0\n\tdsb ish\n\tisb" : : "r"(hil_slot) : "memory");
}

void hil_area_arm(const struct hil_literals *literals)
{
	for (u32 n = 0; n < HIL_CATCHES; n++) {
		memcpy(writable(table(n) + CATCH_LITERALS), literals, sizeof(*literals));
		memset(landing(n), 0, sizeof(*landing(n)));
		clean(writable(table(n)), CATCH_SIZE);
	}
}

bool hil_area_landed(struct hil_landing *out)
{
	for (u32 n = 0; n < HIL_CATCHES; n++) {
		clean(landing(n), sizeof(u64[2]));
		if (!landing(n)->count)
			continue;
		clean(landing(n), sizeof(*out));
		*out = *landing(n);
		out->catch = n;
		memset(landing(n), 0, sizeof(*out));
		clean(landing(n), sizeof(*out));
		return true;
	}
	memset(out, 0, sizeof(*out));
	return false;
}

int hil_area_init(void)
{
	uintptr_t first = (uintptr_t)hil_area & PAGE_MASK;
	u32 count = (PAGE_ALIGN((uintptr_t)hil_area_end) - first) >> PAGE_SHIFT;
	struct page **pages = kcalloc(count, sizeof(*pages), GFP_KERNEL);
	char *mapped;

	if (!pages)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++)
		pages[i] = vmalloc_to_page((void *)(first + i * PAGE_SIZE));
	mapped = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	kfree(pages);
	if (!mapped)
		return -ENOMEM;
	alias = mapped + offset_in_page(hil_area);
	return 0;
}

void hil_area_exit(void)
{
	vunmap((void *)((uintptr_t)alias & PAGE_MASK));
}
