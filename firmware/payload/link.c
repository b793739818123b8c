/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server on the line. A request is done once: its (run_id, seq) is
 * remembered with the reply, a repeat is answered from there, whatever is older
 * is dropped. HELLO begins a run, or its count of seq anew; requests of any other run are refused,
 * so a host that slept through a reset can't drive the new boot.
 */
#include "arch.h"
#include "line.h"
#include "mem.h"
#include "payload.h"

#define NAKS_PER_SECOND 100
#define XON 0x11
#define REST_US 20 /* between two looks at an idle line: a 16-byte FIFO fills in 107 at 1.5 Mbaud */
#define REST_BUSY_US 40
#define OFFER_SECONDS 2 /* a virtual CPU may have to wait for its host */

static struct {
	struct rx rx;
	struct request rq;
	struct reply rp;
	uint8_t reply[PACKET_MAX + 8] __attribute__((aligned(8)));
	uint8_t event[PACKET_MAX + 8] __attribute__((aligned(8)));
	uint32_t reply_size; /* 0: none yet */
	uint32_t run_id, cpu;
	uint16_t seq, hello_seq, events;
	uint8_t raw; /* encoding of the last good request, so of events; armoured before it */
	uint8_t heard; /* a HELLO was accepted */
	uint8_t owed; /* the reply is sent by the CPU that takes the link */
	uint32_t lost_said;
	uint64_t beacon_at, nak_at, lost_at;
} link;

static volatile uint32_t offer_seen[NR_CPUS]; /* each written by its CPU */
static uint8_t gone[NR_CPUS]; /* each used by its CPU alone: it has handed the link over */

static void put(void *to, uint8_t byte)
{
	(void)to;
	line_put(byte);
}

static void fill_head(uint8_t *packet, uint32_t kind, uint32_t op, uint32_t seq, uint32_t status)
{
	*(struct wire_head *)packet = (struct wire_head){
		.kind = (uint8_t)kind,
		.op = (uint8_t)op,
		.seq = (uint16_t)seq,
		.status = (uint16_t)status,
		.boot_id = boot.id,
		.run_id = link.run_id,
	};
}

void link_event(uint32_t event, const void *body, uint32_t size)
{
	fill_head(link.event, KIND_EVENT, event, ++link.events, STATUS_OK);
	memcpy(link.event + SIZEOF_HEAD, body, size);
	frame_send(link.event, frame_finish(link.event, size), !link.raw, put, NULL);
}

static void log_text(const char *text)
{
	uint32_t size = 0;

	while (text[size])
		size++;
	link_event(EVENT_LOG, text, size);
}

static void nak(void)
{
	if (now() - link.nak_at < ticks_per_second() / NAKS_PER_SECOND)
		return;
	fill_head(link.event, KIND_NAK, 0, 0, STATUS_OK);
	/* As the last good request, not as the noise: raw, it may hold an XOFF that nobody undoes. */
	frame_send(link.event, frame_finish(link.event, 0), !link.raw, put, NULL);
	link.nak_at = now();
}

static void send_reply(void)
{
	frame_send(link.reply, link.reply_size, !link.raw, put, NULL);
}

/* An answer that is not kept: the request was not taken. `detail` goes along if not 0. */
static void turn_away(const struct wire_head *head, uint32_t status, uint32_t detail)
{
	fill_head(link.event, KIND_REPLY, head->op, head->seq, status);
	memcpy(link.event + SIZEOF_HEAD, &detail, sizeof(detail));
	((struct wire_head *)link.event)->run_id = head->run_id;
	frame_send(link.event, frame_finish(link.event, detail ? sizeof(detail) : 0),
		   (int)link.rx.armoured, put, NULL);
}

/*
 * Hands the UART to rp.cpu: offered, accepted within OFFER_SECONDS, then let go; or taken back.
 * Returns 1 when it is gone.
 */
static int hand_over(struct pcpu *self)
{
	struct pcpu *other = pcpu_of(link.rp.cpu);
	uint64_t start = now();
	uint32_t taken;

	line_drain();
	other->mail.take_link = 1;
	sev();
	while (!offer_seen[link.rp.cpu] && now() - start < OFFER_SECONDS * ticks_per_second())
		line_poll();
	taken = offer_seen[link.rp.cpu] != 0;
	link.owed = (uint8_t)taken;
	gone[self->index] = (uint8_t)taken;
	dsb();
	other->mail.take_link =
		taken ? 2 : 0; /* from here on `link` and the ring are the other's */
	sev();
	return (int)taken;
}

static void finish(struct pcpu *self, uint32_t op, uint32_t status)
{
	enum after after = status == STATUS_OK ? link.rp.after : AFTER_NOTHING;

	fill_head(link.reply, KIND_REPLY, op, link.seq, status);
	link.reply_size = frame_finish(link.reply, link.rp.size);
	if (after == AFTER_MOVE) {
		if (hand_over(self))
			return;
		fill_head(link.reply, KIND_REPLY, op, link.seq, STATUS_FAILED);
		link.reply_size = frame_finish(link.reply, 0);
	}
	send_reply();
	if (after == AFTER_NOTHING || after == AFTER_MOVE)
		return;
	line_drain();
	if (after == AFTER_JOB)
		jobs_run_own(self);
	else if (after == AFTER_BOOT)
		leave_boot(&link.rp.boot);
	else if (psci_system(self, after == AFTER_POWEROFF) != STATUS_OK)
		log_text("PSCI came back: neither reset nor off");
}

/* Our last raw packet may have held an XOFF for a port on the way, and only we can undo it. */
static void release(void)
{
	if (link.raw && link.rx.armoured)
		line_put(XON);
}

/* Whether the request is new and this run's; answers or drops it otherwise. */
static int admit(const struct wire_head *head)
{
	int known = link.heard && head->run_id == link.run_id;
	int again = head->op == OP_HELLO && head->seq != link.hello_seq; /* a new connection */
	int16_t age = (int16_t)(head->seq - link.seq);

	if (head->boot_id && head->boot_id != boot.id)
		return turn_away(head, STATUS_REFUSED, 0), 0;
	if (known && age < 0 && !again)
		return 0;
	if (known && age == 0) {
		release();
		link.raw = !link.rx.armoured;
		send_reply();
		return 0;
	}
	if (!known && head->op != OP_HELLO)
		return turn_away(head, STATUS_REFUSED, 0), 0;
	if (!known && link.heard && jobs_any_running())
		return turn_away(head, STATUS_BUSY, link.run_id), 0;
	return 1;
}

static void handle(struct pcpu *self)
{
	const struct wire_head *head = (const struct wire_head *)link.rx.packet;
	uint32_t op = head->op;

	if (head->kind != KIND_REQUEST || !admit(head))
		return;
	link.heard = 1;
	link.run_id = head->run_id;
	link.seq = head->seq;
	release();
	if (op == OP_HELLO)
		link.hello_seq = head->seq;
	link.raw = !link.rx.armoured;
	link.rq.op = op;
	link.rq.size = head->size;
	memset(link.rq.body, 0, sizeof(link.rq.body));
	memcpy(link.rq.body, link.rx.packet + SIZEOF_HEAD, head->size);
	link.rp = (struct reply){ .body = link.reply + SIZEOF_HEAD };
	finish(self, op, ops_do(self, &link.rq, &link.rp));
}

uint32_t link_owner(void)
{
	return link.cpu;
}

void link_fill_hello(struct wire_hello *hello)
{
	extern const uint8_t _build_id_note[];

	*hello = (struct wire_hello){
		.version = WIRE_VERSION,
		.max_body = WIRE_MAX_BODY,
		.boot_id = boot.id,
		.cpus = (uint16_t)boot.cpus,
		.link_cpu = (uint16_t)link.cpu,
		.cntfrq = (uint32_t)READ_SYSREG(cntfrq_el0),
		.features = boot.features,
		.image = (uint64_t)_head,
		.image_size = (uint64_t)(_end - _head),
		.dtb = boot.dtb,
		.slot = (uint64_t)lab_slot,
		.slot_size = SLOT_SIZE,
		.entry_el = (uint16_t)boot.entry_el,
		.uart_kind = (uint16_t)facts.uart.kind,
		.uart_base = facts.uart.base,
		.psci_conduit = boot.conduit,
		.scratch_size = SCRATCH_SIZE,
		.scratch = (uint64_t)scratch,
		.uart_shift = (uint8_t)facts.uart.shift,
		.uart_width = (uint8_t)facts.uart.width,
		.uart_fixed = (uint8_t)facts.uart.fixed,
		.uart_big_endian = (uint8_t)facts.uart.big_endian,
	};
	memcpy(hello->build_id, _build_id_note + 16, sizeof(hello->build_id));
}

/* Until a host has said HELLO: who we are, each second. */
static void beacon(void)
{
	struct wire_hello hello;

	if (link.heard || now() < link.beacon_at)
		return;
	link.beacon_at = now() + ticks_per_second();
	link_fill_hello(&hello);
	link_event(EVENT_BOOT, &hello, sizeof(hello));
}

/* Bytes that the UART or the ring lost: said once a second at the most. */
static void say_lost(void)
{
	if (line_lost() == link.lost_said || !link.heard || now() < link.lost_at)
		return;
	link.lost_at = now() + ticks_per_second();
	link.lost_said = line_lost();
	log_text("line: received bytes were lost");
}

static void receive(struct pcpu *self)
{
	int byte;

	line_poll();
	while (!gone[self->index] && (byte = line_next()) >= 0) {
		enum rx_event event = rx_byte(&link.rx, (uint8_t)byte);

		line_poll();
		if (event == RX_PACKET)
			handle(self);
		else if (event == RX_BAD)
			nak();
	}
}

void link_serve(struct pcpu *self)
{
	link.cpu = self->index;
	gone[self->index] = 0;
	if (link.owed)
		send_reply();
	link.owed = 0;
	while (!gone[self->index]) {
		receive(self);
		if (gone[self->index])
			return;
		line_rest(jobs_any_running() ? REST_BUSY_US : REST_US);
		jobs_watch(self);
		beacon();
		say_lost();
	}
}

void link_offered(struct pcpu *self)
{
	offer_seen[self->index] = 1;
	sev();
	while (self->mail.take_link == 1)
		wfe();
	offer_seen[self->index] = 0;
	dsb();
	if (self->mail.take_link != 2)
		return;
	self->mail.take_link = 0;
	link_serve(self);
}
