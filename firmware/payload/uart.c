/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PL011 (Arm DDI 0183), 16550 and DesignWare, the BCM2835 mini-UART, which is a 16550
 * with its registers 4 bytes apart, Cadence's (Zynq UltraScale+, UG1085 and UG1087), and
 * those of i.MX, Amlogic Meson and TI's K3, a 16550 with a mode of its own (as Linux's imx.c,
 * meson_uart.c and 8250_omap.c drive them).
 * What they differ in is where a few bits stand: a register's number is its offset >>
 * struct uart.shift.
 */
#include "uart.h"

#define PL011_DR 0x00
#define PL011_FR (0x18 >> 2)
#define PL011_LCRH (0x2c >> 2)
#define PL011_CR (0x30 >> 2)
#define PL011_DMACR (0x48 >> 2)
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

#define OMAP_MDR1 8
#define OMAP_SCR 16
#define MDR1_MODE 0x7u /* 0: a UART, 16 samples a bit; 7: off */
#define SCR_DMA 0x7u

#define CADENCE_CR 0
#define CADENCE_ISR (0x14 >> 2)
#define CADENCE_SR (0x2c >> 2)
#define CADENCE_FIFO (0x30 >> 2)
#define CR_ENABLES 0x3cu /* RXEN, RXDIS, TXEN, TXDIS */
#define CR_ENABLED 0x14u /* RXEN, TXEN */
#define ISR_ROVR (1u << 5)
#define SR_REMPTY (1u << 1)
#define SR_TEMPTY (1u << 3)
#define SR_TFUL (1u << 4)
#define SR_TACTIVE (1u << 11)

#define IMX_URXD 0
#define IMX_UTXD (0x40 >> 2)
#define IMX_UCR1 (0x80 >> 2)
#define IMX_UCR2 (0x84 >> 2)
#define IMX_USR2 (0x98 >> 2)
#define IMX_UTS (0xb4 >> 2)
#define URXD_OVRRUN (1u << 13)
#define UCR1_DMA 0x10cu /* RXDMAEN, TXDMAEN, ATDMAEN */
#define UCR1_UARTEN (1u << 0)
#define UCR2_ON 0x7u /* TXEN, RXEN; SRST, which resets when it is 0 */
#define USR2_TXDC (1u << 3)
#define UTS_RXEMPTY (1u << 5)
#define UTS_TXFULL (1u << 4)

#define MESON_WFIFO 0
#define MESON_RFIFO (0x04 >> 2)
#define MESON_CONTROL (0x08 >> 2)
#define MESON_STATUS (0x0c >> 2)
#define CONTROL_ON 0x3000u /* TX_EN, RX_EN */
#define STATUS_RX_EMPTY (1u << 20)
#define STATUS_TX_FULL (1u << 21)
#define STATUS_TX_EMPTY (1u << 22)
#define STATUS_XMIT_BUSY (1u << 25)

/* What a register says if these bits of it have these values. */
struct sign {
	uint32_t at, bits, values;
};

struct layout {
	uint32_t in, out;
	struct sign can_send, idle, received;
	uint32_t lost_by_data, lost_by_status; /* an overrun: beside the byte, beside `received` */
};

static const struct layout pl011 = {
	.in = PL011_DR,
	.out = PL011_DR,
	.can_send = { PL011_FR, FR_TXFF, 0 },
	.idle = { PL011_FR, FR_BUSY, 0 },
	.received = { PL011_FR, FR_RXFE, 0 },
	.lost_by_data = DR_OE,
};

static const struct layout ns16550 = {
	.in = U16550_DATA,
	.out = U16550_DATA,
	.can_send = { U16550_LSR, LSR_THRE, LSR_THRE },
	.idle = { U16550_LSR, LSR_TEMT, LSR_TEMT },
	.received = { U16550_LSR, LSR_DR, LSR_DR },
	.lost_by_status = LSR_OE,
};

static const struct layout cadence = {
	.in = CADENCE_FIFO,
	.out = CADENCE_FIFO,
	.can_send = { CADENCE_SR, SR_TFUL, 0 },
	.idle = { CADENCE_SR, SR_TEMPTY | SR_TACTIVE, SR_TEMPTY },
	.received = { CADENCE_SR, SR_REMPTY, 0 },
};

static const struct layout imx = {
	.in = IMX_URXD,
	.out = IMX_UTXD,
	.can_send = { IMX_UTS, UTS_TXFULL, 0 },
	.idle = { IMX_USR2, USR2_TXDC, USR2_TXDC },
	.received = { IMX_UTS, UTS_RXEMPTY, 0 },
	.lost_by_data = URXD_OVRRUN,
};

/* It doesn't tell of an overrun. */
static const struct layout meson = {
	.in = MESON_RFIFO,
	.out = MESON_WFIFO,
	.can_send = { MESON_STATUS, STATUS_TX_FULL, 0 },
	.idle = { MESON_STATUS, STATUS_TX_EMPTY | STATUS_XMIT_BUSY, STATUS_TX_EMPTY },
	.received = { MESON_STATUS, STATUS_RX_EMPTY, 0 },
};

static const struct layout *layout_of(const struct uart *u)
{
	switch (u->kind) {
	case UART_PL011:
		return &pl011;
	case UART_CADENCE:
		return &cadence;
	case UART_IMX:
		return &imx;
	case UART_MESON:
		return &meson;
	default:
		return &ns16550;
	}
}

static uint32_t swapped(const struct uart *u, uint32_t value)
{
	if (!u->big_endian || u->width == 1)
		return value;
	return u->width == 2 ? __builtin_bswap16((uint16_t)value) : __builtin_bswap32(value);
}

__attribute__((noinline)) static uint32_t get(const struct uart *u, uint32_t index)
{
	uint64_t at = u->base + (index << u->shift);

	if (u->width == 1)
		return *(volatile uint8_t *)at;
	if (u->width == 2)
		return swapped(u, *(volatile uint16_t *)at);
	return swapped(u, *(volatile uint32_t *)at);
}

__attribute__((noinline)) static void put(const struct uart *u, uint32_t index, uint32_t value)
{
	uint64_t at = u->base + (index << u->shift);

	value = swapped(u, value);
	if (u->width == 1)
		*(volatile uint8_t *)at = (uint8_t)value;
	else if (u->width == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

__attribute__((noinline)) static int holds(const struct uart *u, const struct sign *sign)
{
	return (get(u, sign->at) & sign->bits) == sign->values;
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

/* Writes only what differs: a port that runs is left alone. */
static void change(const struct uart *u, uint32_t index, uint32_t clear, uint32_t set)
{
	uint32_t is = get(u, index), wanted = (is & ~clear) | set;

	if (is != wanted)
		put(u, index, wanted);
}

/* Told once: the bit is cleared by writing it. */
static int cadence_lost(const struct uart *u)
{
	if (!(get(u, CADENCE_ISR) & ISR_ROVR))
		return 0;
	put(u, CADENCE_ISR, ISR_ROVR);
	return 1;
}

/* Linux leaves a port that it closed half off, and firmware one that it never used. */
void uart_prepare(const struct uart *u)
{
	switch (u->kind) {
	case UART_PL011:
		if (!u->fixed)
			prepare_pl011(u);
		break;
	case UART_16550:
		put(u, U16550_FCR, 1); /* FIFOs on; nothing is cleared if they were */
		break;
	case UART_CADENCE:
		change(u, CADENCE_CR, CR_ENABLES, CR_ENABLED);
		break;
	case UART_IMX:
		change(u, IMX_UCR1, UCR1_DMA, UCR1_UARTEN);
		change(u, IMX_UCR2, 0, UCR2_ON);
		break;
	case UART_MESON:
		change(u, MESON_CONTROL, 0, CONTROL_ON);
		break;
	case UART_OMAP:
		change(u, OMAP_SCR, SCR_DMA, 0);
		change(u, OMAP_MDR1, MDR1_MODE, 0);
		put(u, U16550_FCR, 1);
		break;
	}
}

int uart_can_send(const struct uart *u)
{
	return u->kind == UART_NONE || holds(u, &layout_of(u)->can_send);
}

void uart_send(const struct uart *u, uint8_t byte)
{
	if (u->kind != UART_NONE)
		put(u, layout_of(u)->out, byte);
}

int uart_idle(const struct uart *u)
{
	return u->kind == UART_NONE || holds(u, &layout_of(u)->idle);
}

int uart_receive(const struct uart *u)
{
	const struct layout *layout = layout_of(u);
	uint32_t status, data;

	if (u->kind == UART_NONE)
		return -1;
	status = get(u, layout->received.at);
	if ((status & layout->received.bits) != layout->received.values)
		return -1;
	data = get(u, layout->in);
	if (status & layout->lost_by_status || data & layout->lost_by_data ||
	    (u->kind == UART_CADENCE && cadence_lost(u)))
		return (int)(data & 0xff) | UART_OVERRUN;
	return (int)(data & 0xff);
}
