/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exception in the payload itself. Only the link's CPU may use the UART, so
 * another one leaves its dump in its area, says that it is dead, and is reported.
 */
#include "arch.h"
#include "line.h"
#include "mem.h"
#include "payload.h"

static volatile uint32_t dead[NR_CPUS]; /* each written by its CPU */
static uint32_t reporting;

__attribute__((weak)) void lab_dump(struct pcpu *p, void (*puts)(const char *))
{
	(void)p;
	puts("(no register dump)\n");
}

__attribute__((noreturn)) static void stop(struct pcpu *self)
{
	line_drain();
	psci_system(self, 0);
	for (;;)
		wfe();
}

__attribute__((noreturn)) static void report(struct pcpu *p)
{
	struct pcpu *self = pcpu_of(link_owner());

	if (reporting++)
		stop(self);
	line_text("\nHIL: an exception that nothing guards on CPU ");
	line_number(p->index, 2);
	line_text("\n");
	lab_dump(p, line_text);
	/* struct save begins with the frame that came home: its head, without sys and v */
	link_event(EVENT_DYING, pcpu_area(p) + PCPU_SAVE, FRAME_SYS);
	line_text("HIL: ");
	line_text(psci_can_reset() ? "resetting\n" : "stopped; only power helps\n");
	stop(self);
}

void fatal_watch(void)
{
	for (uint32_t cpu = 0; cpu < boot.cpus; cpu++)
		if (dead[cpu])
			report(pcpu_of(cpu));
}

void fatal_exception(struct pcpu *p)
{
	p->cpu_state = CPU_FAILED;
	dsb();
	dead[p->index] = 1;
	sev();
	if (p->index == link_owner())
		report(p);
	for (;;)
		wfe();
}
