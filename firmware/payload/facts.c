/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at the device tree: memory, reserved memory, CPUs, PSCI, and the UART
 * that /chosen names; without a name the first enabled one that we can drive.
 */
#include "facts.h"

#define PSCI_CPU_OFF 0x84000002u
#define PSCI_CPU_ON 0xc4000003u

struct search {
	struct facts *facts;
	const char *path, *path_end; /* of the console, or an alias' name */
	const char *alias;
	uint32_t named; /* the console's node was found */
};

static void add_range(struct ranges *ranges, uint64_t start, uint64_t size)
{
	if (size && ranges->count < FACTS_RANGES)
		ranges->at[ranges->count++] = (struct range){ start, size };
}

static void add_regs(struct dtb_at *at, struct ranges *ranges)
{
	uint64_t start, size;

	for (uint32_t i = 0; dtb_reg(at, i, &start, &size) == 0; i++)
		add_range(ranges, start, size);
}

int ranges_hold(const struct ranges *ranges, uint64_t start, uint64_t size)
{
	for (uint32_t i = 0; i < ranges->count; i++) {
		uint64_t offset = start - ranges->at[i].start;

		if (offset < ranges->at[i].size && size <= ranges->at[i].size - offset)
			return 1;
	}
	return 0;
}

static int begins(const char *text, const char *with)
{
	while (*with && *text == *with)
		text++, with++;
	return *with == 0;
}

static int is_type(const struct dtb_at *at, const char *type)
{
	const char *text = dtb_string(at, "device_type");

	return text && text_equal(text, type);
}

static void visit_cpu(struct dtb_at *at, struct facts *facts)
{
	const char *method = dtb_string(at, "enable-method");
	struct fact_cpu *cpu = &facts->cpu[facts->cpu_count];
	uint64_t mpidr, size;

	if (facts->cpu_count == FACTS_CPUS || !is_type(at, "cpu"))
		return;
	/* "disabled" with an enable-method means off until somebody starts it */
	if (!dtb_enabled(at) && !method)
		return;
	if (dtb_reg_local(at, 0, &mpidr, &size))
		return;
	*cpu = (struct fact_cpu){ .mpidr = mpidr };
	if (method && text_equal(method, "psci"))
		cpu->enable = ENABLE_PSCI;
	else if (method && text_equal(method, "spin-table"))
		cpu->enable = ENABLE_SPIN;
	cpu->release = dtb_number(at, "cpu-release-addr", 0);
	if (cpu->enable == ENABLE_SPIN && !cpu->release)
		cpu->enable = ENABLE_NONE;
	facts->cpu_count++;
}

static void visit_psci(struct dtb_at *at, struct facts *facts)
{
	const char *method = dtb_string(at, "method");
	int modern = dtb_lists(at, "compatible", "arm,psci-0.2") ||
		     dtb_lists(at, "compatible", "arm,psci-1.0");

	if (!modern && !dtb_lists(at, "compatible", "arm,psci"))
		return;
	if (method && text_equal(method, "smc"))
		facts->conduit = CONDUIT_SMC;
	else if (method && text_equal(method, "hvc"))
		facts->conduit = CONDUIT_HVC;
	facts->psci_old = !modern;
	facts->psci_cpu_on = modern ? PSCI_CPU_ON : (uint32_t)dtb_number(at, "cpu_on", 0);
	facts->psci_cpu_off = modern ? PSCI_CPU_OFF : (uint32_t)dtb_number(at, "cpu_off", 0);
}

static uint32_t uart_kind(const struct dtb_at *at)
{
	static const struct {
		char compatible[27];
		uint8_t kind;
	} known[] = {
		{ "arm,pl011", UART_PL011 },
		{ "arm,sbsa-uart", UART_PL011 },
		{ "brcm,bcm2835-aux-uart", UART_MINI },
		{ "ns16550a", UART_16550 },
		{ "ns16550", UART_16550 },
		{ "snps,dw-apb-uart", UART_16550 },
		{ "cdns,uart-r1p12", UART_CADENCE },
		{ "xlnx,xuartps", UART_CADENCE },
		{ "fsl,imx6q-uart", UART_IMX },
		{ "amlogic,meson-gx-uart", UART_MESON },
		{ "amlogic,meson-g12a-uart", UART_MESON },
		{ "amlogic,meson-s4-uart", UART_MESON },
		{ "amlogic,meson-ao-uart", UART_MESON },
		{ "ti,am654-uart", UART_OMAP },
	};

	for (uint32_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (dtb_lists(at, "compatible", known[i].compatible))
			return known[i].kind;
	return UART_NONE;
}

static void visit_uart(struct dtb_at *at, struct search *search)
{
	struct uart uart = { .kind = uart_kind(at), .shift = 2, .width = 4 };
	int named = search->path && dtb_is_path(at, search->path, search->path_end);
	uint64_t size;
	uint32_t ignored;

	if (uart.kind == UART_NONE || search->named || dtb_reg(at, 0, &uart.base, &size))
		return;
	if (!named && (search->facts->uart.kind || !dtb_enabled(at)))
		return;
	if (uart.kind == UART_16550) {
		uart.shift = (uint32_t)dtb_number(at, "reg-shift", 0) & 3;
		uart.width = (uint32_t)dtb_number(at, "reg-io-width", 1);
		uart.base += dtb_number(at, "reg-offset", 0);
		uart.big_endian = dtb_prop(at, "big-endian", &ignored) != NULL;
	}
	if (uart.width != 1 && uart.width != 2)
		uart.width = 4;
	uart.fixed = !dtb_lists(at, "compatible", "arm,pl011");
	search->named = (uint32_t)named;
	search->facts->uart = uart;
}

/* First walk: the initrd, and what names the console. Options behind ':' are not part of the name. */
static int visit_chosen(struct dtb_at *at, void *to)
{
	struct search *search = to;
	const char *text;

	if (at->depth != 1 || !text_equal(at->level[1].name, "chosen"))
		return 0;
	search->facts->initrd = dtb_number(at, "linux,initrd-start", 0);
	search->facts->initrd_end = dtb_number(at, "linux,initrd-end", 0);
	text = dtb_string(at, "stdout-path");
	if (!text)
		text = dtb_string(at, "linux,stdout-path");
	if (!text)
		return 1;
	search->path = text;
	while (*text && *text != ':')
		text++;
	search->path_end = text;
	return 1;
}

/* Second walk: an alias instead of a path. */
static int visit_aliases(struct dtb_at *at, void *to)
{
	struct search *search = to;
	char name[32];
	uint32_t length = 0;

	if (at->depth != 1 || !text_equal(at->level[1].name, "aliases"))
		return 0;
	for (const char *c = search->path; c < search->path_end && length < sizeof(name) - 1; c++)
		name[length++] = *c;
	name[length] = 0;
	search->path = dtb_string(at, length ? name : "serial0");
	search->path_end = search->path;
	while (search->path && *search->path_end)
		search->path_end++;
	return 1;
}

static int visit_all(struct dtb_at *at, void *to)
{
	struct search *search = to;
	struct facts *facts = search->facts;
	const char *name = at->level[at->depth].name;

	if (at->depth == 1 && (is_type(at, "memory") || begins(name, "memory@"))) {
		if (dtb_enabled(at))
			add_regs(at, &facts->memory);
	} else if (at->depth == 2 && text_equal(at->level[1].name, "reserved-memory")) {
		add_regs(at, &facts->reserved);
	} else if (at->depth == 2 && text_equal(at->level[1].name, "cpus")) {
		visit_cpu(at, facts);
	} else if (at->depth >= 1) {
		visit_psci(at, facts);
		visit_uart(at, search);
	}
	return 0;
}

int facts_read(struct facts *facts, const struct dtb *tree)
{
	struct search search = { .facts = facts };
	uint64_t start, size;

	*facts = (struct facts){ .cpu_count = 0 };
	if (dtb_walk(tree, visit_chosen, &search) < 0)
		return -1;
	if (!search.path || search.path == search.path_end || *search.path != '/')
		if (dtb_walk(tree, visit_aliases, &search) < 0)
			return -1;
	for (uint32_t i = 0; dtb_reserved(tree, i, &start, &size) == 0; i++)
		add_range(&facts->reserved, start, size);
	return dtb_walk(tree, visit_all, &search) < 0 ? -1 : 0;
}
