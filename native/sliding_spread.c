// SPDX-License-Identifier: BSD-2-Clause
/*
 * SlidingSpread: core/sliding_spread.h for Python. Holds the memory, applies a filter to a tick's
 * records, and tells which keys reach a number.
 */
#include "core_module.h"

#include "keyset_memory.h"
#include "sliding_spread.h"

struct sliding_spread {
	PyObject_HEAD struct ns_sliding_spread table;
	int ports_only;
};

static const char type_doc[] =
	"SlidingSpread(by, both, ports_only, window_ticks, capacity, /)\n--\n\n"
	"Distinct others of each key in a window that slides tick by tick.\n\n"
	"by: 80 bytes, the fields that make the key, of IPv4 flows and of IPv6 flows. both: the\n"
	"same for key and other together. ports_only: leave out records whose packets carried no\n"
	"ports. window_ticks: 1 or more. capacity: most pairs remembered, 16 to 2^24; memory is\n"
	"taken as they come.";

static PyObject *sliding_spread_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	Py_ssize_t by_bytes, both_bytes;
	unsigned int ticks, capacity;
	struct sliding_spread *self;
	const char *by, *both;
	int ports_only, failed;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "SlidingSpread takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "y#y#pII", &by, &by_bytes, &both, &both_bytes, &ports_only,
			      &ticks, &capacity))
		return NULL;
	if (by_bytes != sizeof(self->table.by) || both_bytes != by_bytes || !ticks ||
	    capacity < 16 || capacity > 1u << 24) {
		PyErr_SetString(PyExc_ValueError, "SlidingSpread: masks are 80 bytes, window_ticks "
						  "1 or more, capacity 16 to 2^24");
		return NULL;
	}
	self = (struct sliding_spread *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	memcpy(self->table.by, by, sizeof(self->table.by));
	memcpy(self->table.both, both, sizeof(self->table.both));
	self->table.window_ticks = ticks;
	self->ports_only = ports_only;
	self->table.spread = ns_pages(capacity, sizeof(*self->table.spread));
	self->table.pairs = ns_pages(capacity, sizeof(*self->table.pairs));
	failed = ns_keyset_allocate(&self->table.keys, capacity);
	failed |= ns_keyset_allocate(&self->table.pair_keys, capacity);
	if (failed || !self->table.spread || !self->table.pairs) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void sliding_spread_dealloc(PyObject *object)
{
	struct ns_sliding_spread *table = &((struct sliding_spread *)object)->table;

	ns_pages_free(table->spread, table->keys.capacity, sizeof(*table->spread));
	ns_pages_free(table->pairs, table->pair_keys.capacity, sizeof(*table->pairs));
	ns_keyset_free(&table->keys);
	ns_keyset_free(&table->pair_keys);
	Py_TYPE(object)->tp_free(object);
}

static const char add_doc[] =
	"add(tick, records, match, /)\n--\n\n"
	"Let the window end with a tick, and add its records (bytes of ns_record[n]) that pass\n"
	"match (bytes of one ns_match); the same tick may come in parts. Raises ValueError for a\n"
	"tick before the last.";

static void add_batch(struct ns_sliding_spread *table, const struct ns_record *const *records,
		      ns_u32 used)
{
	ns_spread_expect(table, records, used);
	for (ns_u32 i = 0; i < used; i++)
		ns_spread_add(table, records[i]);
}

static void add(struct sliding_spread *self, const struct ns_record *records, Py_ssize_t count,
		const struct ns_match *match)
{
	const struct ns_record *chosen[NS_KEY_BATCH];
	ns_u32 used = 0;

	for (Py_ssize_t i = 0; i < count; i++) {
		const struct ns_record *record = &records[i];

		if (self->ports_only && !(record->key.flags & NS_KEY_HAS_PORTS))
			continue;
		if (!ns_matches(match, record))
			continue;
		chosen[used++] = record;
		if (used == NS_KEY_BATCH) {
			add_batch(&self->table, chosen, used);
			used = 0;
		}
	}
	add_batch(&self->table, chosen, used);
}

static PyObject *sliding_spread_add(PyObject *object, PyObject *arguments)
{
	struct sliding_spread *self = (struct sliding_spread *)object;
	unsigned long long tick;
	struct ns_match match;
	Py_buffer records, filter;
	int ok;

	if (!PyArg_ParseTuple(arguments, "Ky*y*", &tick, &records, &filter))
		return NULL;
	ok = filter.len == sizeof(match) && !(records.len % (Py_ssize_t)sizeof(struct ns_record)) &&
	     tick >= self->table.tick;
	if (ok) {
		memcpy(&match, filter.buf, sizeof(match));
		ns_spread_advance(&self->table, tick);
		add(self, records.buf, records.len / (Py_ssize_t)sizeof(struct ns_record), &match);
	}
	PyBuffer_Release(&records);
	PyBuffer_Release(&filter);
	if (!ok) {
		PyErr_SetString(PyExc_ValueError, "add: records or match of the wrong size, or a "
						  "tick before the last");
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *row(const struct ns_sliding_spread *table, ns_u32 slot)
{
	const struct ns_spread_of *spread = &table->spread[slot];

	return Py_BuildValue("y#KK", (const char *)&table->keys.keys[slot],
			     (Py_ssize_t)sizeof(struct ns_key), (unsigned long long)spread->pairs,
			     (unsigned long long)spread->others);
}

static const char reached_doc[] = "reached(least, most_rows, /)\n--\n\n"
				  "Give the keys that have at least so many others, seen and "
				  "estimated: at most so many rows\n"
				  "of (key, seen, estimated beside them), and how many there are.";

static PyObject *sliding_spread_reached(PyObject *object, PyObject *arguments)
{
	const struct ns_sliding_spread *table = &((struct sliding_spread *)object)->table;
	unsigned long long least;
	Py_ssize_t most, found = 0;
	PyObject *rows;

	if (!PyArg_ParseTuple(arguments, "Kn", &least, &most))
		return NULL;
	rows = PyList_New(0);
	if (!rows)
		return NULL;
	for (ns_u32 slot = 0; slot < table->keys.begun; slot++) {
		const struct ns_spread_of *spread = &table->spread[slot];
		PyObject *one;

		if (!spread->pairs || spread->pairs + spread->others < least)
			continue;
		if (found++ >= most)
			continue;
		one = row(table, slot);
		if (!one || PyList_Append(rows, one)) {
			Py_XDECREF(one);
			Py_DECREF(rows);
			return NULL;
		}
		Py_DECREF(one);
	}
	return Py_BuildValue("Nn", rows, found);
}

/* Slot of a masked 40-byte key, + 1; 0 when it is not held, -1 with an exception for no key. */
static long long slot_of(const struct ns_sliding_spread *table, PyObject *argument)
{
	struct ns_key key;

	if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != sizeof(key)) {
		PyErr_SetString(PyExc_ValueError, "a key is 40 bytes");
		return -1;
	}
	memcpy(&key, PyBytes_AS_STRING(argument), sizeof(key));
	return ns_keyset_find(&table->keys, &key);
}

static const char find_doc[] =
	"find(key, /)\n--\n\nGive (seen, estimated beside them) of a masked 40-byte key.";

static PyObject *sliding_spread_find(PyObject *object, PyObject *argument)
{
	const struct ns_sliding_spread *table = &((struct sliding_spread *)object)->table;
	long long at = slot_of(table, argument);

	if (at < 0)
		return NULL;
	if (!at)
		return Py_BuildValue("ii", 0, 0);
	return Py_BuildValue("KK", (unsigned long long)table->spread[at - 1].pairs,
			     (unsigned long long)table->spread[at - 1].others);
}

static const char flows_doc[] =
	"flows(key, /)\n--\n\n"
	"Give a record (ns_record[n]) for each pair of a masked 40-byte key: its first flow, with\n"
	"the packets and bytes of the pair since then, most of a label's flows left out.";

static PyObject *sliding_spread_flows(PyObject *object, PyObject *argument)
{
	const struct ns_sliding_spread *table = &((struct sliding_spread *)object)->table;
	long long at = slot_of(table, argument);
	struct ns_record *record;
	PyObject *flows;

	if (at < 0)
		return NULL;
	flows = PyBytes_FromStringAndSize(
		NULL, at ? (Py_ssize_t)(table->spread[at - 1].pairs * sizeof(*record)) : 0);
	if (!flows || !at)
		return flows;
	record = (struct ns_record *)PyBytes_AS_STRING(flows);
	for (ns_u32 next = table->oldest; next; next = table->pairs[next - 1].newer) {
		const struct ns_spread_pair *pair = &table->pairs[next - 1];

		if (pair->key == at - 1)
			*record++ = (struct ns_record){
				.key = pair->flow, .packets = pair->packets, .bytes = pair->bytes};
	}
	return flows;
}

static const char state_doc[] =
	"state()\n--\n\n"
	"Give (keys, pairs, whole_from, let_go): how many are remembered; the first tick from\n"
	"which on none was let go before its time, for want of room; and the pairs of the last\n"
	"tick that were, where whole_from is after it.";

static PyObject *sliding_spread_state(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_sliding_spread *table = &((struct sliding_spread *)object)->table;

	return Py_BuildValue("IIKK", table->keys.live, table->pair_keys.live,
			     (unsigned long long)table->whole_from,
			     (unsigned long long)table->let_go);
}

static PyMethodDef methods[] = {
	{"add", sliding_spread_add, METH_VARARGS, add_doc},
	{"reached", sliding_spread_reached, METH_VARARGS, reached_doc},
	{"find", sliding_spread_find, METH_O, find_doc},
	{"flows", sliding_spread_flows, METH_O, flows_doc},
	{"state", sliding_spread_state, METH_NOARGS, state_doc},
	{NULL, NULL, 0, NULL},
};

PyTypeObject ns_sliding_spread_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.SlidingSpread",
	.tp_basicsize = sizeof(struct sliding_spread),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = sliding_spread_new,
	.tp_dealloc = sliding_spread_dealloc,
	.tp_methods = methods,
};
