/* SPDX-License-Identifier: Apache-2.0 */
/* A ring between the UART's small FIFO and the parser; sending polls it. */
#include "arch.h"
#include "line.h"
#include "uart.h"

#define RING_SIZE 4096u /* a power of two, over two frames of the greatest size */

static struct uart uart;
static uint32_t head, tail, lost;
static uint32_t rounds_a_us; /* of spin() */
static uint8_t ring[RING_SIZE];

static void spin(uint64_t rounds)
{
	while (rounds--)
		__asm__ volatile("" ::: "memory");
}

/* One measurement of about 100 us or more; a host that pauses us meanwhile only shortens the rest. */
static void calibrate(void)
{
	uint64_t rounds = 1024, start, took;

	do {
		rounds *= 2;
		start = now();
		spin(rounds);
		took = now() - start;
	} while (took < ticks_per_second() / 10000 && rounds < 1 << 20);
	rounds_a_us = (uint32_t)(rounds * ticks_per_second() / (took + 1) / 1000000);
}

void line_open(const struct uart *from)
{
	uart = *from;
	uart_prepare(&uart);
	calibrate();
}

void line_rest(uint32_t us)
{
	if (head != tail)
		return;
	__asm__ volatile("yield"); /* an emulator that runs its CPUs in turn takes the hint */
	spin((uint64_t)us * rounds_a_us);
}

void line_poll(void)
{
	int byte;

	for (uint32_t i = 0; i < RING_SIZE && (byte = uart_receive(&uart)) >= 0; i++) {
		lost += (byte & UART_OVERRUN) != 0;
		if (head - tail == RING_SIZE)
			lost++;
		else
			ring[head++ % RING_SIZE] = (uint8_t)byte;
	}
}

int line_next(void)
{
	return head == tail ? -1 : ring[tail++ % RING_SIZE];
}

/* A UART that is stopped (XOFF, CTS) must not stop the payload: after 1 s the byte is dropped. */
void line_put(uint8_t byte)
{
	uint64_t start = 0;

	while (!uart_can_send(&uart)) {
		line_poll();
		if (!start)
			start = now();
		else if (now() - start > ticks_per_second())
			return;
	}
	uart_send(&uart, byte);
}

void line_text(const char *text)
{
	for (char last = 0; *text; last = *text++) {
		if (*text == '\n' && last != '\r')
			line_put('\r');
		line_put((uint8_t)*text);
	}
}

void line_number(uint64_t value, uint32_t digits)
{
	while (digits--) {
		uint32_t digit = (uint32_t)(value >> 4 * digits) & 15;

		line_put((uint8_t)(digit < 10 ? '0' + digit : 'a' + digit - 10));
	}
}

void line_drain(void)
{
	uint64_t start = now();

	while (!uart_idle(&uart) && now() - start < ticks_per_second())
		line_poll();
}

uint32_t line_lost(void)
{
	return lost;
}
