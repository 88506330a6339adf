// SPDX-License-Identifier: BSD-2-Clause
/*
 * FlowTable: a flow table in memory for Python, fed by packets or by a walk over a capture. Fold it
 * with the module's fold().
 */
#include "core_module.h"

#include "link.h"
#include "span.h"

enum { MAX_PACKET_BYTES = 1 << 18, WAITING = 16 };

struct flow_table {
	PyObject_HEAD struct ns_memory_table table;
	struct ns_span span;
	ns_u64 tick; /* id of the one that feed() fills; packets of it are in the table */
	ns_u64 tick_packets;
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
	if (self) {
		self->table.epoch = epoch;
		self->span.folded.lg_buckets = lg_buckets;
	}
	return (PyObject *)self;
}

static void flow_table_dealloc(PyObject *object)
{
	ns_memory_table_close(&((struct flow_table *)object)->table);
	ns_folded_clear(&((struct flow_table *)object)->span.folded);
	Py_TYPE(object)->tp_free(object);
}

static void drop(struct ns_memory_table *table, ns_u32 direction, enum ns_parsed found)
{
	ns_memory_table_drop(table, direction, ns_drop_cause(found), 1);
}

static const char count_doc[] =
	"count(packet, direction, gso_size=0, gso_segs=0, /)\n--\n\n"
	"Count one packet, from its IP header on, as the kernel's programs do.";

static PyObject *flow_table_count(PyObject *object, PyObject *arguments)
{
	struct flow_table *self = (struct flow_table *)object;
	struct ns_carrier carrier = {0};
	struct ns_packet parsed;
	enum ns_parsed found;
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
	found = ns_parse(&view, &carrier, &parsed);
	if (found == NS_PARSED)
		ns_memory_table_add(&self->table, &parsed);
	else
		drop(&self->table, carrier.direction, found);
	PyBuffer_Release(&packet);
	Py_RETURN_NONE;
}

enum feed_end { FEED_SPAN, FEED_MORE, FEED_CORRUPT, FEED_NO_MEMORY };

/* Frames that were parsed and wait for their memory to come into the cache. */
struct waiting {
	struct ns_arrival arrival[WAITING];
	ns_u32 used;
};

static void count_waiting(struct ns_memory_table *table, struct waiting *waiting)
{
	for (ns_u32 i = 0; i < waiting->used; i++)
		ns_memory_table_count(table, &waiting->arrival[i]);
	waiting->used = 0;
}

static void expect_frame(struct ns_memory_table *table, const struct capture_frame *frame,
			 struct waiting *waiting)
{
	struct ns_view view = {.start = frame->start, .bytes = frame->captured_bytes};
	struct ns_arrival *arrival = &waiting->arrival[waiting->used];
	struct ns_carrier carrier = {.direction = NS_IN};
	enum ns_parsed found = ns_find_ip(frame->link, &view, &carrier.l3_offset);

	if (found == NS_PARSED) {
		if (frame->wire_bytes > carrier.l3_offset)
			carrier.l3_bytes = frame->wire_bytes - carrier.l3_offset;
		found = ns_parse(&view, &carrier, &arrival->packet);
	}
	if (found != NS_PARSED) {
		drop(table, NS_IN, found);
		return;
	}
	ns_memory_table_expect(table, arrival);
	if (++waiting->used == WAITING)
		count_waiting(table, waiting);
}

/* End the tick being filled, if it holds anything; as ns_span_close() returns. */
static int close_tick(struct flow_table *self)
{
	if (!self->tick_packets)
		return 0;
	self->tick_packets = 0;
	return ns_span_close(&self->span, &self->table, self->tick);
}

static enum feed_end feed_frames(struct flow_table *self, struct capture *capture, ns_u64 tick_ns,
				 ns_u64 *packets)
{
	ns_u64 until_ns = self->tick_packets ? (self->tick + 1) * tick_ns : 0;
	struct waiting waiting = {.used = 0};
	struct capture_frame frame;
	enum capture_step step;

	while ((step = capture_next(capture, &frame)) == CAPTURE_FRAME) {
		if (frame.wall_ns >= until_ns) {
			int full;

			count_waiting(&self->table, &waiting);
			full = close_tick(self);
			if (full) {
				capture->at = frame.record_at;
				return full < 0 ? FEED_NO_MEMORY : FEED_SPAN;
			}
			self->tick = frame.wall_ns / tick_ns;
			until_ns = (self->tick + 1) * tick_ns;
		}
		expect_frame(&self->table, &frame, &waiting);
		self->tick_packets++;
		++*packets;
	}
	count_waiting(&self->table, &waiting);
	return step == CAPTURE_MORE ? FEED_MORE : FEED_CORRUPT;
}

static const char feed_doc[] =
	"feed(walk, window, offset, tick_ns, most_ticks=0, /)\n--\n\n"
	"Count the packets of a capture's window from offset on, in ticks of tick_ns. Packets are\n"
	"taken in order: one older than the tick being filled counts in it. Returns (offset, "
	"packets,\n"
	"why): why is 'span' (take() the closed ticks, at most most_ticks unless that is 0, then "
	"go "
	"on), 'more' (the window is used up "
	"to\n"
	"offset) or what is corrupt there.";

static PyObject *flow_table_feed(PyObject *object, PyObject *arguments)
{
	struct flow_table *self = (struct flow_table *)object;
	unsigned long long tick_ns;
	struct ns_walk *walk;
	ns_u64 packets = 0;
	enum feed_end end;
	Py_ssize_t offset;
	Py_buffer window;

	if (!PyArg_ParseTuple(arguments, "O!y*nK|I", &ns_walk_type, &walk, &window, &offset,
			      &tick_ns, &self->span.most_ticks))
		return NULL;
	if (offset < 0 || offset > window.len || !tick_ns) {
		PyErr_SetString(PyExc_ValueError,
				"feed: offset lies in the window, tick_ns is 1 or more");
		PyBuffer_Release(&window);
		return NULL;
	}
	walk->capture.bytes = window.buf;
	walk->capture.size = (size_t)window.len;
	walk->capture.at = (size_t)offset;
	Py_BEGIN_ALLOW_THREADS end = feed_frames(self, &walk->capture, tick_ns, &packets);
	Py_END_ALLOW_THREADS PyBuffer_Release(&window);
	if (end == FEED_NO_MEMORY)
		return PyErr_NoMemory();
	return Py_BuildValue("nKs", (Py_ssize_t)walk->capture.at, (unsigned long long)packets,
			     end == FEED_SPAN	? "span"
			     : end == FEED_MORE ? "more"
						: walk->capture.fault);
}

static const char take_doc[] =
	"take(end, /)\n--\n\n"
	"Give the closed ticks since the last call, added up: (first id, last id, ticks, folded as "
	"by\n"
	"fold(), whose tallies are of these ticks alone), or None when there are none. end: close "
	"the\n"
	"tick being filled first.";

static PyObject *flow_table_take(PyObject *object, PyObject *argument)
{
	struct flow_table *self = (struct flow_table *)object;
	int end = PyObject_IsTrue(argument);

	if (end < 0)
		return NULL;
	if (end && close_tick(self) < 0)
		return PyErr_NoMemory();
	return ns_span_take(&self->span);
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
	{"take", flow_table_take, METH_O, take_doc},
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
