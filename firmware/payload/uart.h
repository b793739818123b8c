/* SPDX-License-Identifier: Apache-2.0 */
/* Polled access to a UART that somebody else has set up; its baud rate stays. */
#ifndef HIL_UART_H
#define HIL_UART_H

#include "facts.h"

/* Switches the receiver and the FIFOs on, where an operating system left them off. */
void uart_prepare(const struct uart *u);
int uart_can_send(const struct uart *u);
/* Needs uart_can_send. */
void uart_send(const struct uart *u, uint8_t byte);
/* Whether everything has left the wire. */
int uart_idle(const struct uart *u);
#define UART_OVERRUN 0x100 /* with a byte: others before it were lost */
/* The next byte received, or -1. */
int uart_receive(const struct uart *u);

#endif
