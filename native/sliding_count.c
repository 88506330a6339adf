// SPDX-License-Identifier: BSD-2-Clause
/*
 * SlidingCount: core/sliding_count.h for Python. Holds the memory, chooses the heaviest keys of a
 * tick, and tells which keys reach a number or have changed by one.
 */
#include "core_module.h"

#include "keyset_memory.h"
#include "largest.h"
#include "sliding_count.h"

struct sliding_count {
	PyObject_HEAD struct ns_sliding_count table;
	int bytes; /* what counts: bytes, or packets */
};

static const char type_doc[] =
	"SlidingCount(in_bytes, window_ticks, before, capacity, /)\n--\n\n"
	"Packets or bytes of each key in a window that slides tick by tick.\n\n"
	"in_bytes: whether bytes count. window_ticks: 1 or more. before: whether the window of "
	"the\n"
	"same length before it is kept too. capacity: most counts of a key in a tick that are\n"
	"remembered, as many for each tick, at least one and at most 2^24; memory is taken as\n"
	"they come.";

static PyObject *sliding_count_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	unsigned int window_ticks, capacity;
	struct sliding_count *self;
	struct ns_sliding_count *table;
	int bytes, before;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "SlidingCount takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "pIpI", &bytes, &window_ticks, &before, &capacity))
		return NULL;
	if (!window_ticks || window_ticks > 1u << 20 || capacity > 1u << 24 ||
	    capacity < window_ticks * (before ? 2 : 1)) {
		PyErr_SetString(PyExc_ValueError, "SlidingCount: window_ticks 1 to 2^20, capacity "
						  "at least one a tick and at most 2^24");
		return NULL;
	}
	self = (struct sliding_count *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->bytes = bytes;
	table = &self->table;
	table->window_ticks = window_ticks;
	table->before_ticks = before ? window_ticks : 0;
	table->tick_room = window_ticks * (before ? 2 : 1);
	table->items_a_tick = capacity / table->tick_room;
	table->of = ns_pages(capacity, sizeof(*table->of));
	table->items = ns_pages(capacity, sizeof(*table->items));
	table->ticks = calloc(table->tick_room, sizeof(*table->ticks));
	if (ns_keyset_allocate(&table->keys, capacity) || !table->of || !table->items ||
	    !table->ticks) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void sliding_count_dealloc(PyObject *object)
{
	struct ns_sliding_count *table = &((struct sliding_count *)object)->table;

	ns_pages_free(table->of, table->keys.capacity, sizeof(*table->of));
	ns_pages_free(table->items, table->keys.capacity, sizeof(*table->items));
	ns_keyset_free(&table->keys);
	free(table->ticks);
	Py_TYPE(object)->tp_free(object);
}

static ns_u64 sure(const struct sliding_count *self, const struct ns_entry *entry)
{
	return self->bytes ? entry->bytes : entry->packets;
}

static ns_u64 estimated(const struct sliding_count *self, const struct ns_entry *entry)
{
	return self->bytes ? entry->label_bytes : entry->label_packets;
}

/* Keys with at most this much are left out, so that the others have room; -1: none. */
static int most_left_out(const struct sliding_count *self, const struct ns_entry *entries,
			 size_t used, ns_u64 *limit)
{
	ns_u64 *weights;

	*limit = 0;
	if (used <= self->table.items_a_tick)
		return 0;
	weights = malloc(used * sizeof(*weights));
	if (!weights)
		return -1;
	for (size_t i = 0; i < used; i++)
		weights[i] = sure(self, &entries[i]) + estimated(self, &entries[i]);
	*limit = ns_kth_largest(weights, (ns_u32)used, self->table.items_a_tick);
	free(weights);
	return 1;
}

static int add_entries(struct sliding_count *self, const struct ns_entry *entries, size_t used,
		       ns_u64 absent)
{
	struct ns_count_tick *tick = ns_count_now(&self->table);
	ns_u64 limit, missed = 0;
	int cut = most_left_out(self, entries, used, &limit);

	for (size_t i = 0; cut >= 0 && i < used; i++) {
		ns_u64 count = sure(self, &entries[i]), guess = estimated(self, &entries[i]);

		if ((!cut || count + guess > limit) &&
		    !ns_count_add(&self->table, tick, &entries[i].key, count, guess))
			continue;
		if (count > missed)
			missed = count;
	}
	ns_count_miss(&self->table, tick, missed + absent);
	return cut;
}

static const char add_doc[] =
	"add(tick, entries, absent, /)\n--\n\n"
	"Let the window end with a tick, and add what its keys had: ns_entry[n] of a KeyTable,\n"
	"each key once, and the most that any other key may have. The same tick may come in\n"
	"parts. Raises ValueError for a tick before the last.";

static PyObject *sliding_count_add(PyObject *object, PyObject *arguments)
{
	struct sliding_count *self = (struct sliding_count *)object;
	unsigned long long tick, absent;
	Py_buffer entries;
	int failed = 0, ok;

	if (!PyArg_ParseTuple(arguments, "Ky*K", &tick, &entries, &absent))
		return NULL;
	ok = !(entries.len % (Py_ssize_t)sizeof(struct ns_entry)) && tick >= self->table.tick;
	if (ok) {
		ns_count_advance(&self->table, tick);
		failed = add_entries(self, entries.buf,
				     (size_t)entries.len / sizeof(struct ns_entry), absent) < 0;
	}
	PyBuffer_Release(&entries);
	if (!ok) {
		PyErr_SetString(PyExc_ValueError,
				"add: entries of the wrong size, or a tick before the last");
		return NULL;
	}
	if (failed)
		return PyErr_NoMemory();
	Py_RETURN_NONE;
}

static PyObject *row(const struct ns_sliding_count *table, ns_u32 slot)
{
	const struct ns_count_of *of = &table->of[slot];

	return Py_BuildValue("y#KKKK", (const char *)&table->keys.keys[slot],
			     (Py_ssize_t)sizeof(struct ns_key), (unsigned long long)of->count[0],
			     (unsigned long long)of->estimated[0], (unsigned long long)of->count[1],
			     (unsigned long long)of->estimated[1]);
}

/* Whether a key has that much in the window; or, where the window before is kept, has changed by
 * that much and by that factor. */
static int reaches(const struct ns_sliding_count *table, const struct ns_count_of *of, ns_u64 least,
		   double factor)
{
	ns_u64 now = of->count[0] + of->estimated[0], before = of->count[1] + of->estimated[1];
	ns_u64 more = now > before ? now : before, less = now > before ? before : now;

	if (!table->before_ticks)
		return now >= least;
	return more - less >= least && (double)more >= factor * (double)less;
}

static const char reached_doc[] =
	"reached(least, factor, most_rows, /)\n--\n\n"
	"Give the keys that have at least so much in the window; where the window before is kept,\n"
	"those that differ from it by so much and are factor times as large or as small: at most\n"
	"so many rows of (key, seen, estimated beside it, both of the window before), and how\n"
	"many there are.";

static PyObject *sliding_count_reached(PyObject *object, PyObject *arguments)
{
	const struct ns_sliding_count *table = &((struct sliding_count *)object)->table;
	unsigned long long least;
	Py_ssize_t most, found = 0;
	PyObject *rows;
	double factor;

	if (!PyArg_ParseTuple(arguments, "Kdn", &least, &factor, &most))
		return NULL;
	rows = PyList_New(0);
	if (!rows)
		return NULL;
	for (ns_u32 slot = 0; slot < table->keys.begun; slot++) {
		PyObject *one;

		if (!table->of[slot].items || !reaches(table, &table->of[slot], least, factor))
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

static const char find_doc[] =
	"find(key, /)\n--\n\n"
	"Give (seen, estimated beside it, both of the window before) of a masked 40-byte key.";

static PyObject *sliding_count_find(PyObject *object, PyObject *argument)
{
	const struct ns_sliding_count *table = &((struct sliding_count *)object)->table;
	const struct ns_count_of *of;
	struct ns_key key;
	ns_u32 at;

	if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != sizeof(key)) {
		PyErr_SetString(PyExc_ValueError, "a key is 40 bytes");
		return NULL;
	}
	memcpy(&key, PyBytes_AS_STRING(argument), sizeof(key));
	at = ns_keyset_find(&table->keys, &key);
	if (!at)
		return Py_BuildValue("iiii", 0, 0, 0, 0);
	of = &table->of[at - 1];
	return Py_BuildValue("KKKK", (unsigned long long)of->count[0],
			     (unsigned long long)of->estimated[0], (unsigned long long)of->count[1],
			     (unsigned long long)of->estimated[1]);
}

static const char state_doc[] =
	"state()\n--\n\n"
	"Give (keys, items, absent, absent before): how many are remembered, and the most that "
	"any\n"
	"key may have in the window, and in the one before, beside what is known of it.";

static PyObject *sliding_count_state(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_sliding_count *table = &((struct sliding_count *)object)->table;

	return Py_BuildValue("IIKK", table->keys.live, table->items_held[0] + table->items_held[1],
			     (unsigned long long)table->absent[0],
			     (unsigned long long)table->absent[1]);
}

static PyMethodDef methods[] = {
	{"add", sliding_count_add, METH_VARARGS, add_doc},
	{"reached", sliding_count_reached, METH_VARARGS, reached_doc},
	{"find", sliding_count_find, METH_O, find_doc},
	{"state", sliding_count_state, METH_NOARGS, state_doc},
	{NULL, NULL, 0, NULL},
};

PyTypeObject ns_sliding_count_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.SlidingCount",
	.tp_basicsize = sizeof(struct sliding_count),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = sliding_count_new,
	.tp_dealloc = sliding_count_dealloc,
	.tp_methods = methods,
};
