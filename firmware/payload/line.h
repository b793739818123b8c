/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial line of the CPU that owns the link: nothing received is lost while
 * something is sent. One owner at a time; its state is shared memory.
 */
#ifndef HIL_LINE_H
#define HIL_LINE_H

#include "facts.h"

void line_open(const struct uart *uart);
/* Empties the UART's receive FIFO into the ring. Call it often. */
void line_poll(void);
/* The next byte received, or -1. Does not touch the UART. */
int line_next(void);
void line_put(uint8_t byte);
void line_text(const char *text); /* LF becomes CR LF */
void line_number(uint64_t value, uint32_t digits); /* hexadecimal */
/*
 * Does nothing for about `us` microseconds if the line is idle. By counting: reading the
 * counter, as reading the UART, takes an emulator's one big lock from everybody else.
 */
void line_rest(uint32_t us);
/* Waits until all has left the wire (bounded). */
void line_drain(void);
/* How often bytes were lost, in the UART or because the ring was full. */
uint32_t line_lost(void);

#endif
