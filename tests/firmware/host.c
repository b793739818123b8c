/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payload's portable files, run on the host under sanitizers. Commands come on
 * standard input as op (u8), size (u32), bytes; answers go out as size (u32), bytes.
 * Each input stands in a block of exactly its size, so one byte too far is seen.
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec.h"
#include "crc32.h"
#include "facts.h"
#include "frame.h"
#include "mem.h"
#include "uart.h"

#ifndef PLANTED
#define PLANTED 0 /* bytes that a block is too short by, to see that it is seen */
#endif

static uint8_t out[1 << 20];
static uint32_t out_size;
static struct rx rx;

static void put(void *to, uint8_t byte)
{
	(void)to;
	if (out_size < sizeof(out))
		out[out_size++] = byte;
}

static void put_u32(uint32_t value)
{
	for (int i = 0; i < 4; i++, value >>= 8)
		put(NULL, (uint8_t)value);
}

static void put_u64(uint64_t value)
{
	put_u32((uint32_t)value);
	put_u32((uint32_t)(value >> 32));
}

static void decode(int (*with)(uint8_t *, size_t, const uint8_t *, size_t), const uint8_t *in,
		   uint32_t size)
{
	uint32_t room = in[0] | (uint32_t)in[1] << 8;
	uint8_t *to = malloc(room > PLANTED ? room - PLANTED : 1);
	int got = with(to, room, in + 2, size - 2);

	put_u32((uint32_t)got);
	for (int i = 0; i < got; i++)
		put(NULL, to[i]);
	free(to);
}

/* Each event as position, event, armoured, size and packet; no more than fit. */
static void feed(const uint8_t *in, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		enum rx_event event = rx_byte(&rx, in[i]);

		if (event == RX_NONE)
			continue;
		put_u32(i);
		put_u32(event);
		put_u32(rx.armoured);
		put_u32(event == RX_PACKET ? rx.size : 0);
		for (uint32_t j = 0; event == RX_PACKET && j < rx.size; j++)
			put(NULL, rx.packet[j]);
	}
}

static void put_ranges(const struct ranges *ranges)
{
	put_u32(ranges->count);
	for (uint32_t i = 0; i < ranges->count; i++) {
		put_u64(ranges->at[i].start);
		put_u64(ranges->at[i].size);
	}
}

static void read_tree(const uint8_t *in, uint32_t size)
{
	static struct facts facts;
	struct dtb tree;
	int failed = dtb_open(&tree, in, size) ? 1 : facts_read(&facts, &tree) ? 2 : 0;

	put_u32((uint32_t)failed);
	if (failed)
		return;
	put_ranges(&facts.memory);
	put_ranges(&facts.reserved);
	put_u32(facts.conduit);
	put_u32(facts.psci_cpu_on);
	put_u32(facts.psci_old);
	put_u32(facts.uart.kind);
	put_u32(facts.uart.shift);
	put_u32(facts.uart.width);
	put_u32(facts.uart.big_endian);
	put_u64(facts.uart.base);
	put_u32(facts.cpu_count);
	for (uint32_t i = 0; i < facts.cpu_count; i++) {
		put_u64(facts.cpu[i].mpidr);
		put_u64(facts.cpu[i].release);
		put_u32(facts.cpu[i].enable);
	}
	put_u64(facts.initrd);
	put_u64(facts.initrd_end);
}

/* kind, shift, width, big_endian, then 256 bytes that are its registers; what each call said. */
static void drive_uart(const uint8_t *in)
{
	static uint8_t registers[256] __attribute__((aligned(8)));
	struct uart u = { .kind = in[0], .shift = in[1], .width = in[2], .big_endian = in[3] };

	memcpy(registers, in + 4, sizeof(registers));
	u.base = (uint64_t)registers;
	put_u32((uint32_t)uart_can_send(&u));
	put_u32((uint32_t)uart_idle(&u));
	put_u32((uint32_t)uart_receive(&u));
	uart_send(&u, 0xa5);
	uart_prepare(&u);
	for (uint32_t i = 0; i < sizeof(registers); i++)
		put(NULL, registers[i]);
}

/* Moves within a block: to, from, size (u16 each), then the block; answers the block. */
static void move(uint8_t *in, uint32_t size)
{
	uint8_t *block = in + 6;

	memmove(block + in[0] + 256 * in[1], block + in[2] + 256 * in[3],
		(size_t)(in[4] + 256 * in[5]));
	for (uint32_t i = 6; i < size; i++)
		put(NULL, in[i]);
}

static void command(uint8_t op, uint8_t *in, uint32_t size)
{
	uint8_t *packet;

	switch (op) {
	case 'c':
		put_u32(crc32_update(crc32_update(0, in, size / 3), in + size / 3,
				     size - size / 3));
		break;
	case 'd':
		decode(cobs_decode, in, size);
		break;
	case 'e':
		cobs_encode(in, size, put, NULL);
		break;
	case 'b':
		decode(base64_decode, in, size);
		break;
	case 'B':
		base64_encode(in, size, put, NULL);
		break;
	case 'r':
		rx_reset(&rx);
		rx.last = 0;
		break;
	case 'f':
		feed(in, size);
		break;
	case 's': /* armoured (u8), head, body */
		packet = malloc(size - 1 + 4);
		memcpy(packet, in + 1, size - 1);
		frame_send(packet, frame_finish(packet, size - 1 - SIZEOF_HEAD), in[0], put, NULL);
		free(packet);
		break;
	case 't':
		read_tree(in, size);
		break;
	case 'u':
		drive_uart(in);
		break;
	case 'm':
		move(in, size);
		break;
	}
}

int main(void)
{
	uint8_t head[5];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		uint32_t size = head[1] | (uint32_t)head[2] << 8 | (uint32_t)head[3] << 16;
		uint8_t *in = malloc(size ? size : 1);

		if (size && fread(in, size, 1, stdin) != 1)
			return 1;
		out_size = 0;
		command(head[0], in, size);
		fwrite(&out_size, sizeof(out_size), 1, stdout);
		fwrite(out, out_size, 1, stdout);
		fflush(stdout);
		free(in);
	}
	return 0;
}
