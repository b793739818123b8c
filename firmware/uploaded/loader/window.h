/* SPDX-License-Identifier: Apache-2.0 */
/* An upload's blocks, from a UART without flow control into their order. */
#ifndef HIL_WINDOW_H
#define HIL_WINDOW_H

#include "uart.h"
#include "wire.h"

#define FRAME_HEAD 8 /* u32 number, u32 turn */
#define FRAME_MAX (FRAME_HEAD + UPLOAD_BLOCK_MAX + 4)
#define RING_SIZE 0x20000u /* a power of two, over the whole window with its frames' heads */

struct window {
	struct uart uart;
	uint32_t boot_id, run_id, block;
	uint64_t silence, gap; /* in ticks */
	uint64_t heard_at, said_at, polled_at; /* as now() */
	uint32_t head, tail, lost; /* of the ring */
	uint32_t size, left, zero, over; /* of the frame that comes, and of its COBS */
	uint32_t base, have, turn, damaged; /* as in upload_status */
	uint32_t at; /* bytes of block `base` that were taken */
	uint32_t fresh, damaged_said; /* blocks that came and were not said; damage that was */
	uint32_t gone; /* it was silent too long */
	uint64_t done;
	uint8_t event[SIZEOF_HEAD + SIZEOF_UPLOAD_STATUS + 8] __attribute__((aligned(8)));
	uint8_t frame[FRAME_MAX + 4] __attribute__((aligned(8)));
	uint8_t slots[UPLOAD_WINDOW][UPLOAD_BLOCK_MAX] __attribute__((aligned(8)));
	uint8_t ring[RING_SIZE];
};

void window_open(struct window *w, const struct wire_upload *plan);
/* Takes what the UART has into the ring; to be called about every 10 us of other work. */
void window_poll(struct window *w);
/* The next byte of the stream, or -1 when nothing has come for too long. Waits. */
int window_next(struct window *w);
/* Tells the host how it stands (UPLOADED_*). */
void window_say(struct window *w, uint32_t state);

#endif
