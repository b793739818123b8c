// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/hilhvc: requests are written, in pieces of any size, and done at once; their
 * replies are read, up to an end of file. wire.h says what they look like.
 */
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/memory.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hilhvc.h"

#define OUT_MAX (64u << 20)
#define SAY_MAX 192

struct hil_out {
	char *data;
	size_t size, room, read;
};

struct file_state {
	struct mutex lock;
	struct hil_out out;
	size_t have; /* bytes of the record below */
	bool poisoned;
	struct {
		struct hil_head head;
		u8 body[HIL_MAX_BODY] __aligned(8);
	} record;
};

static DEFINE_MUTEX(one_at_a_time);

u32 hil_crc32(u32 crc, const void *data, size_t size)
{
	const u8 *byte = data;

	crc = ~crc;
	while (size--) {
		crc ^= *byte++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static int room_for(struct hil_out *out, size_t size)
{
	size_t room = max(2 * out->room, out->size + size + PAGE_SIZE);
	char *data;

	if (out->size + size <= out->room)
		return 0;
	if (room > OUT_MAX)
		return -ENOSPC;
	data = kvmalloc(room, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	if (out->size)
		memcpy(data, out->data, out->size);
	kvfree(out->data);
	out->data = data;
	out->room = room;
	return 0;
}

int hil_put(struct hil_out *out, const void *data, size_t size)
{
	int error = room_for(out, size);

	if (!error) {
		memcpy(out->data + out->size, data, size);
		out->size += size;
	}
	return error;
}

int hil_say(struct hil_out *out, int error, const char *format, ...)
{
	char text[SAY_MAX];
	va_list args;
	int size;

	va_start(args, format);
	size = vscnprintf(text, sizeof(text), format, args);
	va_end(args);
	return hil_put(out, text, size) ?: error;
}

static u32 record_crc(const struct hil_head *head, const void *body)
{
	u32 crc = hil_crc32(0, head, HIL_HEAD_CRC);

	return hil_crc32(crc, body, head->size);
}

static bool damaged(const struct file_state *state)
{
	return record_crc(&state->record.head, state->record.body) != state->record.head.crc;
}

static int do_op(const struct file_state *state, struct hil_out *out)
{
	const struct hil_request *req = (const void *)state->record.body;
	bool sweep = state->record.head.op == HIL_OP_SWEEP;
	const char *why;
	int error;

	if (state->record.head.op == HIL_OP_IDENTIFY)
		return hil_op_identify(out);
	if (state->record.head.op != HIL_OP_HVC && !sweep)
		return hil_say(out, -ENOSYS, "no operation %u", state->record.head.op);
	if (state->record.head.size != sizeof(*req))
		return hil_say(out, -EINVAL, "a request of %u bytes", state->record.head.size);
	error = hil_refuse_request(req, sweep, &why);
	if (error)
		return hil_say(out, error, "%s", why);
	if (req->stub_vectors)
		hil_stub_vectors = req->stub_vectors - kimage_voffset;
	return sweep ? hil_op_sweep(req, out) : hil_op_hvc(req, out);
}

/* Appends one reply. A negative result is of this host's memory, not of the request. */
static int answer(struct file_state *state)
{
	struct hil_head head = state->record.head;
	struct hil_out *out = &state->out;
	size_t at = out->size;
	int error = room_for(out, sizeof(head));

	if (error)
		return error;
	out->size += sizeof(head);
	if (state->poisoned) {
		head = (struct hil_head){ .magic = HIL_MAGIC, .version = HIL_VERSION };
		head.status = hil_say(out, -EBADMSG, "a damaged record: the rest is not read");
	} else {
		mutex_lock(&one_at_a_time);
		head.status = do_op(state, out);
		mutex_unlock(&one_at_a_time);
	}
	if (head.status == -ENOSPC || head.status == -ENOMEM || head.status == -EINTR) {
		out->size = at;
		return head.status;
	}
	head.size = out->size - at - sizeof(head);
	head.crc = record_crc(&head, out->data + at + sizeof(head));
	memcpy(out->data + at, &head, sizeof(head));
	return 0;
}

/* The number of bytes that the record lacks; 0 when it is whole or can't be trusted. */
static size_t wanted(struct file_state *state)
{
	const struct hil_head *head = &state->record.head;

	if (state->have < sizeof(*head))
		return sizeof(*head) - state->have;
	state->poisoned = head->magic != HIL_MAGIC || head->version != HIL_VERSION ||
			  head->size > HIL_MAX_BODY;
	return state->poisoned ? 0 : sizeof(*head) + head->size - state->have;
}

static ssize_t take(struct file_state *state, const char __user *data, size_t size)
{
	size_t done = 0, part;
	int error;

	while (!state->poisoned) {
		part = wanted(state);
		if (!part) {
			state->poisoned = state->poisoned || damaged(state);
			error = answer(state);
			state->have = 0;
			if (error)
				return error;
			continue;
		}
		if (done == size)
			return done;
		if (fatal_signal_pending(current))
			return -EINTR;
		part = min(part, size - done);
		if (copy_from_user((char *)&state->record + state->have, data + done, part))
			return -EFAULT;
		state->have += part;
		done += part;
	}
	return size; /* thrown away */
}

static ssize_t hil_write(struct file *file, const char __user *data, size_t size, loff_t *pos)
{
	struct file_state *state = file->private_data;
	ssize_t done;

	mutex_lock(&state->lock);
	done = take(state, data, size);
	mutex_unlock(&state->lock);
	return done;
}

static ssize_t hil_read(struct file *file, char __user *data, size_t size, loff_t *pos)
{
	struct file_state *state = file->private_data;
	struct hil_out *out = &state->out;
	ssize_t part;

	mutex_lock(&state->lock);
	part = min(size, out->size - out->read);
	if (copy_to_user(data, out->data + out->read, part))
		part = -EFAULT;
	else
		out->read += part;
	if (out->read == out->size)
		out->read = out->size = 0;
	mutex_unlock(&state->lock);
	return part;
}

static int hil_open(struct inode *inode, struct file *file)
{
	struct file_state *state;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	mutex_init(&state->lock);
	file->private_data = state;
	return stream_open(inode, file);
}

static int hil_release(struct inode *inode, struct file *file)
{
	struct file_state *state = file->private_data;

	kvfree(state->out.data);
	kfree(state);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = hil_open,
	.read = hil_read,
	.write = hil_write,
	.release = hil_release,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hilhvc",
	.mode = 0600,
	.fops = &operations,
};

static int __init hil_init(void)
{
	int error = hil_area_init();

	if (error)
		return error;
	error = hil_run_init();
	if (error)
		goto no_run;
	error = misc_register(&device);
	if (error)
		goto no_device;
	return 0;
no_device:
	hil_run_exit();
no_run:
	hil_area_exit();
	return error;
}

static void __exit hil_exit(void)
{
	misc_deregister(&device);
	hil_run_exit();
	hil_area_exit();
}

module_init(hil_init);
module_exit(hil_exit);
MODULE_DESCRIPTION("Issues hvc instructions with the whole register file, for hilagent");
MODULE_LICENSE("GPL");
