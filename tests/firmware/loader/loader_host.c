/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader on the host, under sanitizers and in simulated time: a UART with a FIFO, whose
 * bytes come at the line's rate and are lost if nobody reads them, and memory at BASE.
 * On standard input: `struct setup`, the plan; then, each time that the simulated time it was
 * given is over, u64 until (ns; 0: end), u32 size, bytes that are put on the line now. On
 * standard output: for each of these u32 ended (UPLOADED_*, 0 while it runs), u32 size, bytes
 * that the loader sent. Once it has ended it takes u64 address, u32 size and says the bytes there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "cache.h"
#include "loader.h"
#include "uart.h"

#define BASE 0x200000000000ull
#define WAITING (1u << 20)

static struct setup {
	uint64_t memory, byte_ns, step_ns, access_ns; /* step: what a look at the clock costs */
	uint32_t fifo, x;
} setup;

static uint64_t time_ns, until_ns, tx_free_ns, last_ns;
static uint8_t waiting[WAITING], fifo[256], out[1 << 16];
static uint64_t due[WAITING];
static uint32_t first, count, held, held_from, out_size;
static int overrun, spoilt;

static void need(void *to, size_t size)
{
	if (size && fread(to, size, 1, stdin) != 1)
		exit(1);
}

static void say(uint32_t ended)
{
	fwrite(&ended, sizeof(ended), 1, stdout);
	fwrite(&out_size, sizeof(out_size), 1, stdout);
	fwrite(out, out_size, 1, stdout);
	fflush(stdout);
	out_size = 0;
}

static void take_turn(void)
{
	uint32_t size;

	need(&until_ns, sizeof(until_ns));
	if (!until_ns)
		exit(spoilt);
	need(&size, sizeof(size));
	if (size > WAITING - count)
		exit(2);
	for (uint32_t i = 0; i < size; i++, count++) {
		uint32_t at = (first + count) % WAITING;

		need(&waiting[at], 1);
		last_ns = (last_ns > time_ns ? last_ns : time_ns) + setup.byte_ns;
		due[at] = last_ns;
	}
}

static void pass(uint64_t ns)
{
	time_ns += ns;
	while (time_ns >= until_ns) {
		say(0);
		take_turn();
	}
	for (; count && due[first] <= time_ns; first = (first + 1) % WAITING, count--) {
		if (held == setup.fifo)
			overrun = 1;
		else
			fifo[(held_from + held++) % sizeof(fifo)] = waiting[first];
	}
}

uint64_t now(void)
{
	pass(setup.step_ns);
	return time_ns;
}

int uart_can_send(const struct uart *u)
{
	(void)u;
	pass(setup.access_ns);
	return tx_free_ns < time_ns + setup.fifo * setup.byte_ns;
}

void uart_send(const struct uart *u, uint8_t byte)
{
	(void)u;
	pass(setup.access_ns);
	tx_free_ns = (tx_free_ns > time_ns ? tx_free_ns : time_ns) + setup.byte_ns;
	if (out_size < sizeof(out))
		out[out_size++] = byte;
}

int uart_receive(const struct uart *u)
{
	int byte;

	(void)u;
	pass(setup.access_ns);
	if (!held)
		return -1;
	byte = fifo[held_from] | (overrun ? UART_OVERRUN : 0);
	held_from = (held_from + 1) % sizeof(fifo);
	held--;
	overrun = 0;
	return byte;
}

/* Every range that is written is cleaned before and dropped after: counted at both ends. */
static uint64_t cleaned, dropped;

void cache_before_write(const void *start, size_t size)
{
	(void)start;
	cleaned += size;
}

void cache_after_write(const void *start, size_t size)
{
	(void)start;
	dropped += size;
	spoilt = dropped > cleaned ? 3 : spoilt;
}

int main(void)
{
	struct wire_upload plan;
	uint32_t ended, size;
	uint64_t addr;

	need(&setup, sizeof(setup));
	need(&plan, sizeof(plan));
	if (mmap((void *)BASE, setup.memory, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)BASE)
		return 4;
	take_turn();
	ended = (uint32_t)loader_entry(&plan);
	say(ended);
	for (;;) {
		need(&addr, sizeof(addr));
		if (!addr)
			return spoilt;
		need(&size, sizeof(size));
		fwrite((void *)addr, size, 1, stdout);
		fflush(stdout);
	}
}
