/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests from memory instead of a line (see memory.py): they came along in the bundle,
 * as the initrd of a kexec, and the replies go behind them. CPU 0 does them in their order
 * by the same functions as link.c does, and says nothing to anybody.
 */
#include "arch.h"
#include "cache.h"
#include "crc32.h"
#include "line.h"
#include "mem.h"
#include "payload.h"

#define LOOK_US 200 /* between two looks at a job */
#define ALIGNED(size) (((size) + BATCH_ALIGN - 1) & ~(uint32_t)(BATCH_ALIGN - 1))

static struct {
	const struct wire_batch *head; /* null: there is none */
	const uint8_t *next, *end; /* requests */
	uint8_t *replies; /* where the next one goes */
	uint8_t *room_end;
	const struct wire_bundle *bundle;
	const struct wire_next *go; /* the kernel is in its place: it gets the results */
	struct wire_results results;
	struct request rq;
	struct reply rp;
} batch;

/* The CRC of a structure whose last word holds it, and of what follows. */
static uint32_t crc_of(const void *head, uint32_t size, const void *rest, uint32_t rest_size)
{
	uint32_t none = 0, crc = crc32_update(0, head, size - sizeof(none));

	crc = crc32_update(crc, &none, sizeof(none));
	return crc32_update(crc, rest, rest_size);
}

static int is_bundle(const struct wire_bundle *head, uint64_t size)
{
	static struct wire_bundle copy;
	uint32_t most = (BUNDLE_HEAD_BYTES - SIZEOF_BUNDLE) / SIZEOF_BUNDLE_ENTRY, crc;

	if (head->magic != MAGIC_BUNDLE || head->version != VERSION_BUNDLE || head->size != size ||
	    head->count > most)
		return 0;
	copy = *head;
	copy.crc = 0;
	crc = crc32_update(0, &copy, sizeof(copy));
	return crc32_update(crc, head + 1, BUNDLE_HEAD_BYTES - SIZEOF_BUNDLE) == head->crc;
}

/* A member of a good bundle, clean in every cache; null if it has none of that name. */
static const struct wire_bundle_entry *member(const char *name)
{
	const struct wire_bundle *head = batch.bundle;
	const struct wire_bundle_entry *entry = (const void *)(head + 1);

	for (uint32_t i = 0; i < head->count; i++, entry++) {
		if (!text_equal((const char *)entry->name, name))
			continue;
		if (entry->offset & 7 || entry->offset > head->size ||
		    entry->size > head->size - entry->offset)
			return NULL;
		cache_before_write((const uint8_t *)head + entry->offset, entry->size);
		return entry;
	}
	return NULL;
}

static const void *start_of(const struct wire_bundle_entry *entry)
{
	return (const uint8_t *)batch.bundle + entry->offset;
}

/* Under guard_call: nobody has said that anything is there. */
static uint64_t find(uint64_t start, uint64_t size, uint64_t unused, uint64_t unused2)
{
	const struct wire_bundle_entry *jobs;
	const struct wire_batch *head;

	(void)unused;
	(void)unused2;
	batch.bundle = (const void *)start;
	cache_before_write(batch.bundle, BUNDLE_HEAD_BYTES); /* only to clean */
	if (!is_bundle(batch.bundle, size))
		return 0;
	jobs = member("jobs");
	if (!jobs || jobs->size < SIZEOF_BATCH + SIZEOF_RESULTS)
		return 0;
	head = start_of(jobs);
	if (head->magic != MAGIC_BATCH || head->version != VERSION_BATCH || head->size & 7 ||
	    head->room < SIZEOF_RESULTS ||
	    (uint64_t)head->size + head->room != jobs->size - SIZEOF_BATCH ||
	    crc_of(head, SIZEOF_BATCH, head + 1, head->size) != head->crc)
		return 0;
	batch.next = (const uint8_t *)(head + 1);
	batch.end = batch.next + head->size;
	batch.replies = (uint8_t *)batch.end + SIZEOF_RESULTS;
	batch.room_end = (uint8_t *)batch.end + head->room;
	batch.head = head;
	return 1;
}

uint32_t batch_find(struct pcpu *self)
{
	uint64_t size = facts.initrd_end - facts.initrd, found = 0;

	if (!facts.initrd || facts.initrd & 7 || size < BUNDLE_HEAD_BYTES ||
	    !is_ram(facts.initrd, size))
		return 0;
	if (guard_call(self, find, facts.initrd, size, 0, 0, &found))
		return 0;
	return found && batch.head;
}

/* Nobody can ask twice: the answer is waited for as long as the job gets on. */
static uint32_t gets_on(uint32_t cpu)
{
	struct wire_job_status was, is;
	uint64_t since = now();

	for (jobs_status(cpu, &was);; line_rest(LOOK_US)) {
		fatal_watch();
		jobs_status(cpu, &is);
		if (is.state != JOB_RUNNING)
			return 1;
		if (is.at != was.at || is.done != was.done) {
			was = is;
			since = now();
		} else if (now() - since > batch.head->hang_s * ticks_per_second()) {
			return 0;
		}
	}
}

/* What the host can't know before: it asks for the most, and gets what a sweep has filled. */
static void cut_part(struct wire_job_part *part)
{
	const struct wire_sweep_result *sweep;
	const struct pcpu *p = pcpu_of(part->cpu);
	uint32_t end = lab_result_size(p);

	sweep = (const void *)(pcpu_area(p) + PCPU_RESULT);
	if (p->mail.job.kind == JOBKIND_SWEEP && p->job_state == JOB_DONE) {
		end = WIRE_FRAMES_OFFSET + sweep->frames * 2 * SIZEOF_FRAME;
		if (part->offset < WIRE_FRAMES_OFFSET)
			end = SIZEOF_SWEEP_RESULT + sweep->sigs * SIZEOF_SIG +
			      sweep->runs * (uint32_t)sizeof(uint32_t);
	}
	if (part->offset > end)
		part->offset = end;
	if (part->size > end - part->offset)
		part->size = end - part->offset;
}

/* Leaves the next request in batch.rq; 0 if what stands there is none. */
static const struct wire_head *take(void)
{
	const struct wire_head *head = (const void *)batch.next;
	uint64_t left = (uint64_t)(batch.end - batch.next);

	if (left < SIZEOF_HEAD || head->size > WIRE_MAX_BODY ||
	    left < ALIGNED(SIZEOF_HEAD + head->size) || head->kind != KIND_REQUEST ||
	    head->run_id != batch.head->run_id)
		return NULL;
	batch.next += ALIGNED(SIZEOF_HEAD + head->size);
	batch.rq.op = head->op;
	batch.rq.size = head->size;
	memset(batch.rq.body, 0, sizeof(batch.rq.body));
	memcpy(batch.rq.body, head + 1, head->size);
	return head;
}

/* The vectors came along; whether they are those that are meant is lab_vectors' to say. */
static void fill_slot(void)
{
	const struct wire_bundle_entry *vectors = member("vectors");

	if (!vectors || vectors->size > SLOT_SIZE || jobs_any_running())
		return;
	cache_before_write(lab_slot, SLOT_SIZE);
	memcpy(lab_slot, start_of(vectors), vectors->size);
	cache_code_written(lab_slot, SLOT_SIZE);
}

static int meet(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Puts a member where the host has found room; whether it stands there whole. */
static uint32_t put(const char *name, uint64_t to, uint64_t room)
{
	const struct wire_bundle_entry *entry = member(name);

	if (!room)
		return !entry;
	if (!entry || entry->size > room || to & 0xfff || !is_ram(to, room) ||
	    meet(to, room, (uint64_t)_head, (uint64_t)(_end - _head)) ||
	    meet(to, room, (uint64_t)batch.bundle, batch.bundle->size))
		return 0;
	cache_before_write((void *)to, room);
	memcpy((void *)to, start_of(entry), entry->size);
	cache_code_written((void *)to, entry->size);
	return crc32_update(0, (const void *)to, entry->size) == entry->crc;
}

static void reserve_us(uint64_t *entry)
{
	cache_before_write(entry, 16);
	entry[0] = __builtin_bswap64((uint64_t)_head);
	entry[1] = __builtin_bswap64((uint64_t)(_end - _head));
	cache_after_write(entry, 16);
}

static uint32_t prepare_next(struct pcpu *self, struct reply *rp)
{
	const struct wire_next *to = (const void *)batch.rq.body;

	if (batch.rq.size != SIZEOF_NEXT || to->results & 7 || to->results > to->dtb_size ||
	    to->results_size > to->dtb_size - to->results || to->reserve & 7 ||
	    to->reserve + 16ull > to->dtb_size)
		return STATUS_BAD_ARG;
	if (meet(to->image, to->image_size, to->rootfs, to->rootfs_size) ||
	    meet(to->image, to->image_size, to->dtb, to->dtb_size) ||
	    meet(to->rootfs, to->rootfs_size, to->dtb, to->dtb_size) ||
	    !put("kernel", to->image, to->image_size) ||
	    !put("rootfs", to->rootfs, to->rootfs_size) || !put("dtb", to->dtb, to->dtb_size))
		return STATUS_FAILED;
	if (jobs_any_running()) /* a CPU that is stuck stays, and all of us with it */
		reserve_us((uint64_t *)(to->dtb + to->reserve));
	batch.go = to;
	rp->boot = (struct wire_boot){ .addr = to->image, .x0 = to->dtb, .el = 2 };
	rp->after = AFTER_BOOT;
	return leave_check(self, &rp->boot);
}

/* Into the property that the next kernel shows to whoever asks it. */
static void hand_on(void)
{
	uint32_t size = SIZEOF_RESULTS + batch.results.size;
	uint64_t at = batch.go->dtb + batch.go->results;

	if (size > batch.go->results_size)
		return;
	cache_before_write((void *)at, size);
	memcpy((void *)at, batch.end, size);
	cache_after_write((void *)at, size);
}

static uint32_t answer(struct pcpu *self, const struct wire_head *asked)
{
	static uint8_t packet[PACKET_MAX + 8] __attribute__((aligned(8)));
	uint32_t cpu = *(const uint32_t *)batch.rq.body, size, status, end = BATCHEND_DONE;

	if (asked->op == OP_JOB_STATUS && cpu < boot.cpus && !gets_on(cpu))
		end = BATCHEND_STUCK;
	if (asked->op == OP_JOB_RESULT && cpu < boot.cpus)
		cut_part((struct wire_job_part *)batch.rq.body);
	if (asked->op == OP_VECTORS &&
	    ((const struct wire_vectors *)batch.rq.body)->target == TARGET_SLOT)
		fill_slot();
	batch.rp = (struct reply){ .body = packet + SIZEOF_HEAD };
	if (asked->op == OP_NEXT)
		status = prepare_next(self, &batch.rp);
	else if (asked->op == OP_LINK_MOVE)
		status = STATUS_REFUSED;
	else
		status = ops_do(self, &batch.rq, &batch.rp);
	*(struct wire_head *)packet = (struct wire_head){
		.kind = KIND_REPLY,
		.op = asked->op,
		.seq = asked->seq,
		.status = (uint16_t)status,
		.boot_id = boot.id,
		.run_id = batch.head->run_id,
	};
	if (status != STATUS_OK)
		batch.rp.after = AFTER_NOTHING;
	size = frame_finish(packet, batch.rp.size);
	if ((uint64_t)(batch.room_end - batch.replies) < ALIGNED(size)) {
		batch.rp.after = AFTER_NOTHING;
		return BATCHEND_FULL;
	}
	memset(packet + size, 0, ALIGNED(size) - size);
	memcpy(batch.replies, packet, ALIGNED(size));
	batch.replies += ALIGNED(size);
	batch.results.count++;
	return end;
}

/* The replies count from here on: before this they have no head. */
static void seal(uint32_t end)
{
	uint8_t *start = (uint8_t *)batch.end;
	struct wire_results *results = &batch.results;

	results->magic = MAGIC_RESULTS;
	results->run_id = batch.head->run_id;
	results->boot_id = boot.id;
	results->size = (uint32_t)(batch.replies - start) - SIZEOF_RESULTS;
	results->end = end;
	results->asked = batch.head->crc;
	results->crc = crc_of(results, SIZEOF_RESULTS, start + SIZEOF_RESULTS, results->size);
	memcpy(start, results, SIZEOF_RESULTS);
	cache_after_write(start, batch.head->room);
}

/* After a bad end only a way out is taken, and nothing is answered any more. */
static enum after way_out(struct pcpu *self, const struct wire_head *asked)
{
	batch.rp.after = AFTER_NOTHING;
	if (asked->op == OP_NEXT)
		return prepare_next(self, &batch.rp) == STATUS_OK ? AFTER_BOOT : AFTER_NOTHING;
	if (!psci_can_reset())
		return AFTER_NOTHING;
	return asked->op == OP_RESET    ? AFTER_RESET :
	       asked->op == OP_POWEROFF ? AFTER_POWEROFF :
					  AFTER_NOTHING;
}

void batch_run(struct pcpu *self)
{
	uint32_t end = BATCHEND_DONE;

	cache_before_write(batch.end, batch.head->room);
	memset((uint8_t *)batch.end, 0, SIZEOF_RESULTS);
	for (uint32_t i = 0; i < batch.head->count && end != BATCHEND_BROKEN; i++) {
		const struct wire_head *asked = take();
		enum after after = AFTER_NOTHING;

		if (!asked) {
			end = BATCHEND_BROKEN;
		} else if (end == BATCHEND_DONE) {
			end = answer(self, asked);
			after = batch.rp.after;
		} else {
			after = way_out(self, asked);
		}
		if (after == AFTER_JOB)
			jobs_run_own(self);
		if (after < AFTER_BOOT)
			continue;
		seal(end);
		if (after == AFTER_BOOT && batch.go)
			hand_on();
		if (after == AFTER_BOOT)
			leave_boot(&batch.rp.boot);
		psci_system(self, after == AFTER_POWEROFF);
	}
	seal(end);
	for (;;)
		wfe();
}
