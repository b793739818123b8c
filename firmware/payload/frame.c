/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames (see wire.py): raw 00 COBS 00, and armoured lines ":" base64 CR LF. Both
 * parsers see every byte, so the host may change over at any time, and a delimiter is
 * all that is needed to find the way back after a loss.
 */
#include "codec.h"
#include "crc32.h"
#include "frame.h"

void rx_reset(struct rx *rx)
{
	rx->raw_size = rx->armour_size = rx->armour_bad = 0;
	rx->raw_over = rx->armour_on = rx->armour_over = 0;
}

/* Whether `size` bytes at `packet` are a whole packet with a good CRC. */
static int is_packet(const uint8_t *packet, int size)
{
	const struct wire_head *head = (const struct wire_head *)packet;
	uint32_t crc;

	if (size < SIZEOF_HEAD + 4 || head->size != size - SIZEOF_HEAD - 4)
		return 0;
	crc = crc32_update(0, packet, (size_t)size - 4);
	for (int i = 0; i < 4; i++, crc >>= 8)
		if (packet[size - 4 + i] != (uint8_t)crc)
			return 0;
	return 1;
}

/* A good packet ends what the other parser has of it too. */
static enum rx_event packet(struct rx *rx, uint8_t *from, int size, int armoured)
{
	rx->armoured = (uint32_t)armoured;
	if (size < 0 || !is_packet(from, size))
		return RX_BAD;
	rx_reset(rx);
	rx->packet = from;
	rx->size = (uint32_t)size;
	return RX_PACKET;
}

static enum rx_event raw_end(struct rx *rx)
{
	uint32_t size = rx->raw_over ? 0 : rx->raw_size;
	int bad = rx->raw_over;

	rx->raw_size = rx->raw_over = 0;
	rx->armour_on = 0;
	if (bad) {
		rx->armoured = 0;
		return RX_BAD;
	}
	if (size < RAW_MIN)
		return RX_NONE;
	return packet(rx, rx->raw, cobs_decode(rx->raw, sizeof(rx->raw), rx->raw, size), 0);
}

/* Within a raw frame or a console's text a ':' means nothing; a bad line there is no frame. */
static enum rx_event armour_end(struct rx *rx)
{
	enum rx_event event;
	int size = -1;

	rx->armour_on = 0;
	if (rx->armour_size < ARMOUR_MIN || rx->armour_bad * 4 > rx->armour_size)
		return RX_NONE;
	if (!rx->armour_over)
		size = base64_decode(rx->armour, sizeof(rx->armour), rx->armour, rx->armour_size);
	event = packet(rx, rx->armour, size, 1);
	return event == RX_BAD && !rx->armour_line ? RX_NONE : event;
}

static enum rx_event armour_byte(struct rx *rx, uint8_t byte)
{
	if (byte == ':') {
		rx->armour_on = 1;
		rx->armour_over = 0;
		rx->armour_line = rx->last == '\r' || rx->last == '\n' || rx->last == 0;
		rx->armour_size = rx->armour_bad = 0;
	} else if (!rx->armour_on) {
		return RX_NONE;
	} else if (byte == '\r' || byte == '\n') {
		return armour_end(rx);
	} else if (rx->armour_size == sizeof(rx->armour)) {
		rx->armour_over = 1;
	} else {
		rx->armour[rx->armour_size++] = byte;
		rx->armour_bad += byte != '=' && base64_value(byte) < 0;
	}
	return RX_NONE;
}

enum rx_event rx_byte(struct rx *rx, uint8_t byte)
{
	enum rx_event event;

	if (byte == 0) {
		event = raw_end(rx);
	} else {
		if (rx->raw_size == sizeof(rx->raw))
			rx->raw_over = 1;
		else
			rx->raw[rx->raw_size++] = byte;
		event = armour_byte(rx, byte);
	}
	rx->last = byte;
	return event;
}

uint32_t frame_finish(uint8_t *packet, uint32_t size)
{
	struct wire_head *head = (struct wire_head *)packet;
	uint32_t crc;

	head->size = (uint16_t)size;
	size += SIZEOF_HEAD;
	crc = crc32_update(0, packet, size);
	for (int i = 0; i < 4; i++, crc >>= 8)
		packet[size++] = (uint8_t)crc;
	return size;
}

void frame_send(const uint8_t *packet, uint32_t size, int armoured, void (*put)(void *, uint8_t),
		void *to)
{
	if (!armoured) {
		put(to, 0);
		cobs_encode(packet, size, put, to);
		put(to, 0);
		return;
	}
	put(to, '\r');
	put(to, '\n');
	put(to, ':');
	base64_encode(packet, size, put, to);
	put(to, '\r');
	put(to, '\n');
}
