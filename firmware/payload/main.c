/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU's way from its entry to its work. */
#include "arch.h"
#include "cache.h"
#include "crc32.h"
#include "line.h"
#include "mem.h"
#include "offsets.h"
#include "payload.h"

#define ENTRY_CURRENT_EL 4
#define HCR_E2H (1ull << 34)
#define GOLDEN 0x9e3779b97f4a7c15ull

_Static_assert(offsetof(struct pcpu, entry) == PCPU_ENTRY_OFFSET, "offsets.h");
_Static_assert(offsetof(struct pcpu, cpu_state) == PCPU_CPU_STATE_OFFSET, "offsets.h");

struct boot boot;
struct facts facts;
uint8_t scratch[SCRATCH_SIZE] __attribute__((aligned(4096), section(".bss.lazy")));
/* Not zeroed: what the boot before left, if memory kept it. */
static uint32_t last_id __attribute__((section(".bss.lazy")));

static int at_el2(void)
{
	return (READ_SYSREG(CurrentEL) >> 2) == 2;
}

int facts_at(uint64_t dtb, struct facts *to)
{
	struct dtb tree;

	if (!dtb || dtb & 3)
		return -1;
	cache_before_write((void *)dtb, 40); /* only to clean: what the loader left in a cache */
	if (dtb_open(&tree, (void *)dtb, DTB_SIZE_MAX))
		return -1;
	cache_before_write((void *)dtb, tree.size);
	return facts_read(to, &tree);
}

/*
 * U-Boot's `go ADDRESS DTB` calls us as main(argc, argv): the tree's address is the
 * text of argv[1]. What it wrote may still be in a cache.
 */
static uint64_t dtb_of_go(uint64_t argc, uint64_t argv)
{
	const uint64_t *args = (const uint64_t *)argv;
	const char *text;
	uint64_t value = 0;

	if (argc < 2 || argc > 16 || !argv || argv & 7)
		return 0;
	cache_before_write(args, 16);
	text = (const char *)args[1];
	cache_before_write(text, 24);
	if (text[0] == '0' && (text[1] | 32) == 'x')
		text += 2;
	for (int i = 0; i < 16 && *text; i++, text++) {
		uint32_t digit = (uint32_t)*text - '0';

		if (digit > 9)
			digit = ((uint32_t)*text | 32) - 'a' + 10;
		if (digit > 15)
			return 0;
		value = value << 4 | digit;
	}
	return value;
}

static uint64_t read_facts(uint64_t x0, uint64_t x1, uint64_t unused, uint64_t unused2)
{
	(void)unused;
	(void)unused2;
	boot.dtb = x0;
	if (facts_at(x0, &facts) == 0)
		return 0;
	boot.dtb = dtb_of_go(x0, x1);
	return (uint64_t)facts_at(boot.dtb, &facts);
}

static uint64_t mix(uint64_t state, uint64_t with)
{
	state = (state ^ with) * GOLDEN;
	return state ^ (state >> 29);
}

static uint64_t random_number(void)
{
	if (READ_SYSREG(id_aa64isar0_el1) >> 60 == 0)
		return 0;
	return READ_SYSREG(S3_3_C2_C4_0); /* RNDR */
}

/*
 * Another one on each boot: the counter, the entry state, a random number and the
 * tree (bootloaders put a seed there) where there are any, and never the last one
 * again while memory remembers it.
 */
static void choose_boot_id(const struct pcpu *p)
{
	uint64_t id = mix(now(), random_number());
	struct dtb tree;

	for (uint32_t i = 0; i < WIRE_NENTRY; i++)
		id = mix(id, p->entry[i]);
	if (facts.cpu_count && dtb_open(&tree, (void *)boot.dtb, DTB_SIZE_MAX) == 0)
		id = mix(id, crc32_update(0, tree.base, tree.size));
	cache_before_write(&last_id, sizeof(last_id));
	boot.id = (uint32_t)(id >> 32);
	while (boot.id == 0 || boot.id == last_id)
		boot.id++;
	last_id = boot.id;
	cache_after_write(&last_id, sizeof(last_id));
}

static void fill_features(void)
{
	if (!at_el2()) {
		boot.features = FEATURE_EL1;
		return;
	}
	if (READ_SYSREG(id_aa64pfr0_el1) >> 32 & 15)
		boot.features |= FEATURE_SVE;
	if (READ_SYSREG(hcr_el2) & HCR_E2H)
		boot.features |= FEATURE_E2H;
}

static void announce(void)
{
	line_text("\nHIL: payload at EL");
	line_number(READ_SYSREG(CurrentEL) >> 2, 1);
	line_text(", entered at EL");
	line_number(boot.entry_el, 1);
	line_text(", boot ");
	line_number(boot.id, 8);
	line_text("\n");
	if (!at_el2())
		line_text("HIL: precondition not met: EL2 is needed, this is EL1\n");
	if (boot.features & FEATURE_E2H)
		line_text("HIL: precondition not met: HCR_EL2.E2H does not clear\n");
}

__attribute__((noreturn)) void cpu_main(struct pcpu *p)
{
	for (;;) {
		if (p->mail.take_link)
			link_offered(p);
		else
			jobs_take(p);
		wfe();
	}
}

__attribute__((noreturn)) void primary_main(struct pcpu *p)
{
	uint64_t ret = 0;
	uint32_t alone = 0;

	p->mpidr = READ_SYSREG(mpidr_el1) & MPIDR_AFFINITY;
	boot.entry_el = (uint32_t)p->entry[ENTRY_CURRENT_EL] >> 2;
	boot.cpus = 1;
	if (at_el2()) {
		lab_init(p);
		guard_call(p, read_facts, p->entry[0], p->entry[1], 0, 0, &ret);
		alone = batch_find(p);
	} else {
		read_facts(p->entry[0], p->entry[1], 0, 0);
	}
	if (boot.entry_el != 3) /* nobody is at EL3 to answer if we came from there */
		boot.conduit = facts.conduit;
	smp_init(p);
	smp_here(p);
	if (alone) /* whoever sent the batch has no line to us: no UART is touched */
		facts.uart = (struct uart){ .kind = UART_NONE };
	line_open(&facts.uart);
	choose_boot_id(p);
	fill_features();
	if (at_el2())
		lab_build_stubs();
	p->cpu_state = CPU_READY;
	announce();
	if (alone)
		batch_run(p);
	while (facts.uart.kind == UART_NONE)
		wfe(); /* nobody can hear us, and nothing is touched by guessing */
	link_serve(p);
	cpu_main(p);
}

__attribute__((noreturn)) void secondary_main(struct pcpu *p)
{
	smp_here(p);
	lab_init(p);
	dsb();
	p->cpu_state = CPU_READY;
	sev();
	cpu_main(p);
}
