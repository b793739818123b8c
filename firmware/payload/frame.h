/* SPDX-License-Identifier: Apache-2.0 */
/* Packets on the line, both ways and in both encodings. Pure C: tested on the host too. */
#ifndef HIL_FRAME_H
#define HIL_FRAME_H

#include <stddef.h>

#include "wire.h"

#define PACKET_MAX (SIZEOF_HEAD + WIRE_MAX_BODY + 4)
#define RAW_MAX (PACKET_MAX + PACKET_MAX / 254 + 1)
#define ARMOUR_MAX ((PACKET_MAX + 2) / 3 * 4)
#define RAW_MIN 8 /* shorter than this between zeros is no frame, so no NAK */
#define ARMOUR_MIN 12

enum rx_event {
	RX_NONE,
	RX_PACKET, /* a packet with a good CRC: rx->packet, rx->size, rx->armoured */
	RX_BAD, /* what looked like a frame was none: NAK, in the encoding rx->armoured */
};

struct rx {
	uint8_t *packet; /* head, body and CRC; 4-byte aligned; valid until the next byte */
	uint32_t size; /* with head and CRC */
	uint32_t armoured;
	uint32_t raw_size, armour_size;
	uint32_t armour_bad; /* bytes of it that are no base64 */
	uint8_t raw_over, armour_on, armour_over;
	uint8_t armour_line; /* its ':' began a line: worth a NAK if it is bad */
	uint8_t last;
	uint8_t raw[RAW_MAX] __attribute__((aligned(8)));
	uint8_t armour[ARMOUR_MAX] __attribute__((aligned(8)));
};

void rx_reset(struct rx *rx);
/* Feeds one byte from the line to both parsers. */
enum rx_event rx_byte(struct rx *rx, uint8_t byte);

/*
 * Completes the packet at `packet` (head set, `size` body bytes behind it, room for the
 * CRC): sets head.size and the CRC. Returns its size.
 */
uint32_t frame_finish(uint8_t *packet, uint32_t size);
void frame_send(const uint8_t *packet, uint32_t size, int armoured, void (*put)(void *, uint8_t),
		void *to);

#endif
