// SPDX-License-Identifier: BSD-2-Clause
/*
 * FlowTable: a flow table in memory for Python, fed by packets or by a walk over a capture. Fold it
 * with the module's fold().
 */
#include "core_module.h"

#include "link.h"
#include "memory_table.h"

enum { MAX_PACKET_BYTES = 1 << 18 };

struct flow_table {
	PyObject_HEAD struct ns_memory_table table;
};

static const char type_doc[] =
	"FlowTable(secret, lg_buckets, sample_shift, epoch=1, /)\n--\n\n"
	"A flow table in memory: one CPU, two directions, two parities.\n\n"
	"secret: 64 bytes, the hash key. lg_buckets: 3 to 16. sample_shift: 6 to 32.\n"
	"epoch: the first one, 1 to 2^32 - 1.";

static PyObject *flow_table_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	unsigned int lg_buckets, sample_shift, epoch = 1;
	struct flow_table *self;
	Py_ssize_t secret_bytes;
	const char *secret;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "FlowTable takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "y#II|I", &secret, &secret_bytes, &lg_buckets,
			      &sample_shift, &epoch))
		return NULL;
	if (!epoch) {
		PyErr_SetString(PyExc_ValueError, "FlowTable: epoch is 1 or more");
		return NULL;
	}
	self = (struct flow_table *)type->tp_alloc(type, 0);
	if (self &&
	    ns_memory_table_open(&self->table, secret, secret_bytes, lg_buckets, sample_shift))
		Py_CLEAR(self);
	if (self)
		self->table.epoch = epoch;
	return (PyObject *)self;
}

static void flow_table_dealloc(PyObject *object)
{
	ns_memory_table_close(&((struct flow_table *)object)->table);
	Py_TYPE(object)->tp_free(object);
}

static void count(struct ns_memory_table *table, const struct ns_view *view,
		  const struct ns_carrier *carrier)
{
	struct ns_packet packet;
	enum ns_parsed parsed = ns_parse(view, carrier, &packet);

	if (parsed == NS_PARSED)
		ns_memory_table_add(table, &packet);
	else
		ns_memory_table_drop(table, carrier->direction, ns_drop_cause(parsed), 1);
}

static void count_frame(struct ns_memory_table *table, const struct capture_frame *frame)
{
	struct ns_view view = {.start = frame->start, .bytes = frame->captured_bytes};
	struct ns_carrier carrier = {.direction = NS_IN};
	enum ns_parsed found = ns_find_ip(frame->link, &view, &carrier.l3_offset);

	if (found == NS_PARSED) {
		if (frame->wire_bytes > carrier.l3_offset)
			carrier.l3_bytes = frame->wire_bytes - carrier.l3_offset;
		count(table, &view, &carrier);
	} else {
		ns_memory_table_drop(table, NS_IN, ns_drop_cause(found), 1);
	}
}

static const char count_doc[] =
	"count(packet, direction, gso_size=0, gso_segs=0, /)\n--\n\n"
	"Count one packet, from its IP header on, as the kernel's programs do.";

static PyObject *flow_table_count(PyObject *object, PyObject *arguments)
{
	struct flow_table *self = (struct flow_table *)object;
	struct ns_carrier carrier = {0};
	struct ns_view view;
	Py_buffer packet;

	if (!PyArg_ParseTuple(arguments, "y*I|II", &packet, &carrier.direction, &carrier.gso_size,
			      &carrier.gso_segs))
		return NULL;
	if (carrier.direction >= NS_DIRECTIONS || packet.len > MAX_PACKET_BYTES) {
		PyErr_SetString(PyExc_ValueError, "count: direction is 0 or 1, a packet 256 KiB");
		PyBuffer_Release(&packet);
		return NULL;
	}
	view.start = packet.buf;
	view.bytes = carrier.l3_bytes = (ns_u32)packet.len;
	count(&self->table, &view, &carrier);
	PyBuffer_Release(&packet);
	Py_RETURN_NONE;
}

enum feed_end { FEED_TICK, FEED_MORE, FEED_CORRUPT };

struct feed {
	ns_u64 until_ns; /* of the tick that is being filled */
	ns_u64 packets;
	ns_u64 next_ns; /* of the packet that ended the tick */
};

static enum feed_end feed_tick(struct ns_memory_table *table, struct capture *capture,
			       struct feed *feed)
{
	struct capture_frame frame;
	enum capture_step step;

	while ((step = capture_next(capture, &frame)) == CAPTURE_FRAME) {
		if (frame.wall_ns >= feed->until_ns) {
			capture->at = frame.record_at;
			feed->next_ns = frame.wall_ns;
			return FEED_TICK;
		}
		count_frame(table, &frame);
		feed->packets++;
	}
	return step == CAPTURE_MORE ? FEED_MORE : FEED_CORRUPT;
}

static const char feed_doc[] =
	"feed(walk, window, offset, until_ns, /)\n--\n\n"
	"Count the packets of a capture's window from offset on, up to the first one at or after\n"
	"until_ns (unix time). Returns (offset, packets, next_ns, why): why is 'tick' (next_ns is "
	"of\n"
	"the packet that waits), 'more' (the window is used up to offset) or what is corrupt.";

static PyObject *flow_table_feed(PyObject *object, PyObject *arguments)
{
	struct flow_table *self = (struct flow_table *)object;
	struct ns_walk *walk;
	struct feed feed = {0};
	unsigned long long until_ns;
	enum feed_end end;
	Py_ssize_t offset;
	Py_buffer window;

	if (!PyArg_ParseTuple(arguments, "O!y*nK", &ns_walk_type, &walk, &window, &offset,
			      &until_ns))
		return NULL;
	if (offset < 0 || offset > window.len) {
		PyErr_SetString(PyExc_ValueError, "feed: offset lies outside the window");
		PyBuffer_Release(&window);
		return NULL;
	}
	walk->capture.bytes = window.buf;
	walk->capture.size = (size_t)window.len;
	walk->capture.at = (size_t)offset;
	feed.until_ns = until_ns;
	Py_BEGIN_ALLOW_THREADS end = feed_tick(&self->table, &walk->capture, &feed);
	Py_END_ALLOW_THREADS PyBuffer_Release(&window);
	return Py_BuildValue("nKKs", (Py_ssize_t)walk->capture.at, (unsigned long long)feed.packets,
			     (unsigned long long)feed.next_ns,
			     end == FEED_TICK	? "tick"
			     : end == FEED_MORE ? "more"
						: walk->capture.fault);
}

static const char flip_doc[] = "flip(sample_shift=None, /)\n--\n\n"
			       "Move on to the next epoch, in which 1 of 2^sample_shift flows is "
			       "sampled (the table's own\n"
			       "to 32; by default as before); gives the closed one.";

static PyObject *flow_table_flip(PyObject *object, PyObject *arguments)
{
	struct ns_memory_table *table = &((struct flow_table *)object)->table;
	unsigned int sample_shift = table->sample_shift;

	if (!PyArg_ParseTuple(arguments, "|I", &sample_shift))
		return NULL;
	if (sample_shift < table->config.sample_shift || sample_shift > 32) {
		PyErr_SetString(PyExc_ValueError, "flip: sample_shift is the table's own to 32");
		return NULL;
	}
	table->sample_shift = sample_shift;
	return PyLong_FromUnsignedLong(ns_memory_table_flip(table));
}

static const char buffers_doc[] =
	"buffers()\n--\n\n"
	"Give read-only (hot, cold, slices) that live as long as the table, for fold().";

static PyObject *flow_table_buffers(PyObject *object, PyObject *Py_UNUSED(none))
{
	return ns_memory_table_buffers(&((struct flow_table *)object)->table);
}

static PyMethodDef methods[] = {
	{"count", flow_table_count, METH_VARARGS, count_doc},
	{"feed", flow_table_feed, METH_VARARGS, feed_doc},
	{"flip", flow_table_flip, METH_VARARGS, flip_doc},
	{"buffers", flow_table_buffers, METH_NOARGS, buffers_doc},
	{NULL, NULL, 0, NULL},
};

PyTypeObject ns_flow_table_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.FlowTable",
	.tp_basicsize = sizeof(struct flow_table),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = flow_table_new,
	.tp_dealloc = flow_table_dealloc,
	.tp_methods = methods,
};
