/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PL011 (Arm DDI 0183), 16550 and DesignWare (registers 1 << shift apart), and the
 * BCM2835 mini-UART, which is a 16550 with its registers 4 bytes apart.
 */
#include "uart.h"

#define PL011_DR 0x00
#define PL011_FR 0x18
#define PL011_LCRH 0x2c
#define PL011_CR 0x30
#define PL011_DMACR 0x48
#define DR_OE (1u << 11)
#define FR_BUSY (1u << 3)
#define FR_RXFE (1u << 4)
#define FR_TXFF (1u << 5)
#define LCRH_FEN (1u << 4)
#define CR_ON 0x301u /* UARTEN, TXE, RXE */
#define BUSY_TRIES 1000000

#define U16550_DATA 0
#define U16550_FCR 2
#define U16550_LSR 5
#define LSR_DR (1u << 0)
#define LSR_OE (1u << 1) /* cleared by any read of LSR */
#define LSR_THRE (1u << 5)
#define LSR_TEMT (1u << 6)

static uint32_t get(const struct uart *u, uint32_t index)
{
	uint64_t at = u->base + (u->kind == UART_PL011 ? index : index << u->shift);

	if (u->width == 1)
		return *(volatile uint8_t *)at;
	if (u->width == 2)
		return *(volatile uint16_t *)at;
	return *(volatile uint32_t *)at;
}

static void put(const struct uart *u, uint32_t index, uint32_t value)
{
	uint64_t at = u->base + (u->kind == UART_PL011 ? index : index << u->shift);

	if (u->width == 1)
		*(volatile uint8_t *)at = (uint8_t)value;
	else if (u->width == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

/* LCRH may be written only while the UART is off and idle; CR_ON may be half off after Linux. */
static void prepare_pl011(const struct uart *u)
{
	uint32_t cr = get(u, PL011_CR), lcrh = get(u, PL011_LCRH);

	put(u, PL011_DMACR, 0); /* or a DMA engine that Linux programmed takes our bytes */
	if (lcrh & LCRH_FEN) {
		if ((cr & CR_ON) != CR_ON)
			put(u, PL011_CR, cr | CR_ON);
		return;
	}
	for (int i = 0; i < BUSY_TRIES && (get(u, PL011_FR) & FR_BUSY); i++)
		;
	put(u, PL011_CR, cr & ~1u);
	put(u, PL011_LCRH, lcrh | LCRH_FEN | 0x60); /* 8 bits */
	put(u, PL011_CR, cr | CR_ON);
	/*
	 * A byte that came before the FIFO was on is flushed above. QEMU had stopped taking
	 * the host's bytes then, and starts again only when DR is read.
	 */
	(void)get(u, PL011_DR);
}

void uart_prepare(const struct uart *u)
{
	if (u->kind == UART_PL011 && !u->fixed)
		prepare_pl011(u);
	else if (u->kind == UART_16550)
		put(u, U16550_FCR, 1); /* FIFOs on; nothing is cleared if they were */
}

int uart_can_send(const struct uart *u)
{
	if (u->kind == UART_PL011)
		return !(get(u, PL011_FR) & FR_TXFF);
	return u->kind == UART_NONE || (get(u, U16550_LSR) & LSR_THRE);
}

void uart_send(const struct uart *u, uint8_t byte)
{
	if (u->kind != UART_NONE)
		put(u, u->kind == UART_PL011 ? PL011_DR : U16550_DATA, byte);
}

int uart_idle(const struct uart *u)
{
	if (u->kind == UART_PL011)
		return !(get(u, PL011_FR) & FR_BUSY);
	return u->kind == UART_NONE || (get(u, U16550_LSR) & LSR_TEMT) != 0;
}

static int pl011_data(uint32_t data)
{
	return (int)(data & 0xff) | (data & DR_OE ? UART_OVERRUN : 0);
}

int uart_receive(const struct uart *u)
{
	uint32_t status;

	if (u->kind == UART_PL011)
		return get(u, PL011_FR) & FR_RXFE ? -1 : pl011_data(get(u, PL011_DR));
	status = u->kind == UART_NONE ? 0 : get(u, U16550_LSR);
	if (!(status & LSR_DR))
		return -1;
	return (int)(get(u, U16550_DATA) & 0xff) | (status & LSR_OE ? UART_OVERRUN : 0);
}
