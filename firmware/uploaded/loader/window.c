/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FIFO of 16 bytes fills in 107 us at 1.5 Mbaud, so whatever takes longer looks at the
 * UART meanwhile; but no more often than its FIFO needs, since a register of a UART is slow,
 * and an emulator's other threads wait for whoever reads one. The host keeps to the window: what is on its way fits into the ring, and
 * every block that comes has a slot. A block that is lost or damaged is asked for by the
 * gap that it leaves.
 */
#include "arch.h"
#include "crc32.h"
#include "frame.h"
#include "mem.h"
#include "window.h"

#define SAY_AFTER 4 /* blocks */
#define SAY_EACH 10 /* a second, at least */
#define SAY_DAMAGE 50 /* a second, at most, because of damage alone */
#define STEP 256u /* bytes between two looks at the UART */

void window_open(struct window *w, const struct wire_upload *plan)
{
	memset(w, 0, offsetof(struct window, frame));
	w->uart = (struct uart){
		.kind = plan->uart_kind,
		.shift = plan->uart_shift,
		.width = plan->uart_width,
		.fixed = plan->uart_fixed,
		.big_endian = plan->uart_big_endian,
		.base = plan->uart_base,
	};
	w->boot_id = plan->boot_id;
	w->run_id = plan->run_id;
	w->block = plan->block;
	w->silence = plan->silence_s * ticks_per_second();
	w->gap = plan->poll_us * ticks_per_second() / 1000000;
	w->heard_at = w->said_at = now();
}

void window_poll(struct window *w)
{
	uint64_t time = now();
	int byte;

	if (time - w->polled_at < w->gap)
		return;
	w->polled_at = time;
	while ((byte = uart_receive(&w->uart)) >= 0) {
		w->lost += (byte & UART_OVERRUN) != 0;
		if (w->head - w->tail == RING_SIZE)
			w->lost++;
		else
			w->ring[w->head++ % RING_SIZE] = (uint8_t)byte;
	}
}

/* A UART that is stopped must not stop us: after a second the byte is dropped. */
static void put(void *to, uint8_t byte)
{
	struct window *w = to;
	uint64_t start = now();

	while (!uart_can_send(&w->uart)) {
		window_poll(w);
		if (now() - start > ticks_per_second())
			return;
	}
	uart_send(&w->uart, byte);
	window_poll(w);
}

void window_say(struct window *w, uint32_t state)
{
	*(struct wire_head *)w->event = (struct wire_head){
		.kind = KIND_EVENT,
		.op = EVENT_UPLOAD,
		.boot_id = w->boot_id,
		.run_id = w->run_id,
	};
	*(struct wire_upload_status *)(w->event + SIZEOF_HEAD) = (struct wire_upload_status){
		.state = state,
		.base = w->base,
		.have = w->have,
		.turn = w->turn,
		.lost = w->lost,
		.damaged = w->damaged,
		.done = w->done,
	};
	frame_send(w->event, frame_finish(w->event, SIZEOF_UPLOAD_STATUS), 0, put, w);
	w->said_at = now();
	w->damaged_said = w->damaged;
	w->fresh = 0;
}

static uint32_t word(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int keeps_crc(struct window *w, uint32_t size)
{
	uint32_t crc = 0;

	for (uint32_t at = 0; at < size; at += STEP) {
		crc = crc32_update(crc, w->frame + at, size - at < STEP ? size - at : STEP);
		window_poll(w);
	}
	return crc == word(w->frame + size);
}

static void keep(struct window *w, uint8_t *slot)
{
	for (uint32_t at = 0; at < w->block; at += STEP) {
		uint32_t left = w->block - at;

		memcpy(slot + at, w->frame + FRAME_HEAD + at, left < STEP ? left : STEP);
		window_poll(w);
	}
}

/* A whole frame is there, w->size bytes; 0 if it is a block, and it has its slot then. */
static int frame_end(struct window *w)
{
	uint32_t number, offset, turn;

	if (w->over || w->left || w->size != FRAME_HEAD + w->block + 4 ||
	    !keeps_crc(w, FRAME_HEAD + w->block))
		return -1;
	number = word(w->frame);
	turn = word(w->frame + 4);
	offset = number - w->base;
	w->fresh++;
	w->heard_at = now();
	if ((int32_t)(turn - w->turn) > 0)
		w->turn = turn;
	if (offset >= UPLOAD_WINDOW || (w->have >> offset & 1))
		return 0; /* it came before, and only the word of it was lost */
	keep(w, w->slots[number % UPLOAD_WINDOW]);
	w->have |= 1u << offset;
	return 0;
}

/* A byte of a frame: decodes its COBS as it comes. */
static void store(struct window *w, uint8_t byte)
{
	if (w->size > FRAME_MAX)
		w->over = 1;
	else
		w->frame[w->size++] = byte;
}

static void frame_byte(struct window *w, uint8_t byte)
{
	if (byte == 0) {
		if (w->size && frame_end(w))
			w->damaged++;
		w->size = w->left = w->zero = w->over = 0;
	} else if (w->left) {
		w->left--;
		store(w, byte);
	} else {
		if (w->zero)
			store(w, 0);
		w->left = byte - 1u;
		w->zero = byte != 255;
	}
}

/* Looks at the line and what it brought; returns -1 if it has been silent too long. */
static int pump(struct window *w)
{
	uint64_t quiet;

	window_poll(w);
	for (uint32_t i = 0; w->head != w->tail; i++) {
		frame_byte(w, w->ring[w->tail++ % RING_SIZE]);
		if (i % 8 == 7)
			window_poll(w);
	}
	quiet = now() - w->said_at;
	if (w->fresh >= SAY_AFTER || quiet > ticks_per_second() / SAY_EACH ||
	    (w->damaged != w->damaged_said && quiet > ticks_per_second() / SAY_DAMAGE))
		window_say(w, UPLOADED_RUNNING);
	w->gone |= now() - w->heard_at > w->silence;
	return w->gone ? -1 : 0;
}

int window_next(struct window *w)
{
	int byte;

	while (!(w->have & 1))
		if (pump(w))
			return -1;
	byte = w->slots[w->base % UPLOAD_WINDOW][w->at++];
	if (w->at == w->block) {
		w->at = 0;
		w->have >>= 1;
		w->base++;
		pump(w);
	}
	return byte;
}
