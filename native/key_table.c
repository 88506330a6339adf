// SPDX-License-Identifier: BSD-2-Clause
/*
 * KeyTable: core/keytable.h for Python. Holds the memory, applies a task's filter to a tick's
 * records and gives the entries back.
 */
#include "core_module.h"

#include "keytable.h"

#include <sys/random.h>

enum { FIRST_CAPACITY = 256, SMALL_CAPACITY = 4096 };

struct key_table {
	PyObject_HEAD struct ns_keytable
		table;		/* grows: its capacity is what it has room for now */
	ns_u32 most;		/* entries it may grow to */
	struct ns_key masks[2]; /* of IPv4 and of IPv6 flows */
	int ports_only;
	int totals; /* no field makes the key: there is one */
	int busy;   /* a thread adds to it without the interpreter's lock */
	int views;  /* of its entries, which must stay where they are */
};

static const char type_doc[] =
	"KeyTable(masks, capacity, ports_only, /)\n--\n\n"
	"Per-key packets and bytes in bounded memory, with bounds.\n\n"
	"masks: 80 bytes, the fields that make the key, of IPv4 flows and "
	"of IPv6 flows. capacity:\n"
	"most entries held, 16 to 2^24; memory is taken as they come.\n"
	"ports_only: leave out records whose packets carried no ports.\n"
	"As a buffer it is its entries, ns_entry[n]; while they are viewed it\n"
	"cannot change.";

/* Give a table room for more entries; returns -1 and changes nothing it holds without memory. */
static int make_room(struct ns_keytable *table, ns_u32 capacity)
{
	struct ns_keyindex larger = table->index;
	struct ns_entry *entries;
	ns_u64 *weights;
	ns_u32 slots = 32;

	while (slots < 2 * capacity)
		slots *= 2;
	larger.slots = calloc(slots, sizeof(*larger.slots));
	larger.mask = slots - 1;
	weights = malloc(capacity * sizeof(*weights));
	entries = larger.slots && weights ? realloc(table->entries, capacity * sizeof(*entries))
					  : NULL;
	if (!entries) {
		free(larger.slots);
		free(weights);
		return -1;
	}
	ns_keyindex_copy(&larger, &table->index);
	free(table->index.slots);
	free(table->weights);
	table->entries = entries;
	table->index = larger;
	table->weights = weights;
	table->capacity = capacity;
	return 0;
}

/* Whether nobody adds to a table now; sets the exception when someone does. */
static int is_free(const struct key_table *self)
{
	if (self->busy)
		PyErr_SetString(PyExc_RuntimeError, "KeyTable: in use by another thread");
	return !self->busy;
}

/* Whether it may be changed, too; sets the exception when its entries are viewed. */
static int is_changeable(const struct key_table *self)
{
	if (!is_free(self))
		return 0;
	if (self->views)
		PyErr_SetString(PyExc_BufferError, "KeyTable: its entries are viewed");
	return !self->views;
}

static int key_table_view(PyObject *object, Py_buffer *view, int flags)
{
	struct key_table *self = (struct key_table *)object;
	Py_ssize_t size = (Py_ssize_t)(self->table.used * sizeof(*self->table.entries));

	if (!is_free(self) ||
	    PyBuffer_FillInfo(view, object, self->table.entries, size, 1, flags)) {
		view->obj = NULL;
		return -1;
	}
	self->views++;
	return 0;
}

static void key_table_unview(PyObject *object, Py_buffer *Py_UNUSED(view))
{
	((struct key_table *)object)->views--;
}

static PyBufferProcs key_table_buffer = {key_table_view, key_table_unview};

static int is_zero(const char *bytes, size_t number)
{
	for (size_t i = 0; i < number; i++) {
		if (bytes[i])
			return 0;
	}
	return 1;
}

static PyObject *key_table_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	struct key_table *self;
	Py_ssize_t masks_bytes;
	unsigned int capacity;
	const char *masks;
	int ports_only;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "KeyTable takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "y#Ip", &masks, &masks_bytes, &capacity, &ports_only))
		return NULL;
	if (masks_bytes != sizeof(self->masks) || capacity < 16 || capacity > 1u << 24) {
		PyErr_SetString(PyExc_ValueError,
				"KeyTable: masks are 80 bytes, capacity 16 to 2^24");
		return NULL;
	}
	self = (struct key_table *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	memcpy(self->masks, masks, sizeof(self->masks));
	if (getrandom(self->table.index.secret, sizeof(self->table.index.secret), 0) !=
	    sizeof(self->table.index.secret)) {
		Py_DECREF(self);
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	self->ports_only = ports_only;
	self->totals = is_zero(masks, (size_t)masks_bytes);
	self->most = capacity;
	if (make_room(&self->table, capacity < FIRST_CAPACITY ? capacity : FIRST_CAPACITY)) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void key_table_dealloc(PyObject *object)
{
	struct key_table *self = (struct key_table *)object;

	free(self->table.entries);
	free(self->table.weights);
	free(self->table.index.slots);
	Py_TYPE(object)->tp_free(object);
}

/* Room for a batch, up to the most entries. Without memory it stays as it is and drops the lighter
 * half, as when it is full. */
static void expect_batch(struct key_table *self)
{
	struct ns_keytable *table = &self->table;
	ns_u32 wanted = (table->capacity < SMALL_CAPACITY ? 4 : 2) * table->capacity;

	if (table->used + NS_KEY_BATCH <= table->capacity || table->capacity == self->most)
		return;
	if (make_room(table, wanted < self->most ? wanted : self->most))
		self->most = table->capacity;
}

static int passes(const struct key_table *self, const struct ns_match *match,
		  const struct ns_record *record)
{
	if (self->ports_only && !(record->key.flags & NS_KEY_HAS_PORTS))
		return 0;
	return ns_matches(match, record);
}

/* The one key of a table of totals needs no looking up for each record. */
static void add_totals(struct key_table *self, const struct ns_match *match,
		       const struct ns_record *records, size_t number)
{
	const struct ns_key key = {.proto = 0};
	struct ns_entry *entry = NULL;

	for (size_t i = 0; i < number; i++) {
		if (!passes(self, match, &records[i]))
			continue;
		if (!entry)
			entry = ns_keytable_entry(&self->table,
						  ns_keyindex_hash(&self->table.index, &key), &key);
		ns_entry_add(entry, &records[i]);
	}
}

static void add(struct key_table *self, const struct ns_match *match,
		const struct ns_record *records, size_t number)
{
	struct ns_keyed batch[NS_KEY_BATCH];
	ns_u32 used = 0;

	if (self->totals) {
		add_totals(self, match, records, number);
		return;
	}
	expect_batch(self);
	for (size_t i = 0; i < number; i++) {
		if (!passes(self, match, &records[i]))
			continue;
		ns_keytable_expect(&self->table, self->masks, &records[i], &batch[used++]);
		if (used == NS_KEY_BATCH) {
			ns_keytable_add(&self->table, batch, used);
			expect_batch(self);
			used = 0;
		}
	}
	ns_keytable_add(&self->table, batch, used);
}

static const char add_doc[] =
	"add(records, match, /)\n--\n\n"
	"Add the records (bytes of ns_record[n]) that pass match (bytes of one ns_match). Other\n"
	"threads may run meanwhile, but must leave this table alone.";

static PyObject *key_table_add(PyObject *object, PyObject *arguments)
{
	struct key_table *self = (struct key_table *)object;
	Py_buffer records, filter;
	struct ns_match match;
	PyObject *result = NULL;

	if (!PyArg_ParseTuple(arguments, "y*y*", &records, &filter))
		return NULL;
	if (filter.len != sizeof(match) || records.len % (Py_ssize_t)sizeof(struct ns_record)) {
		PyErr_SetString(PyExc_ValueError, "add: records or match of the wrong size");
		goto release;
	}
	if (!is_changeable(self))
		goto release;
	memcpy(&match, filter.buf, sizeof(match));
	self->busy = 1;
	Py_BEGIN_ALLOW_THREADS add(self, &match, records.buf,
				   (size_t)records.len / sizeof(struct ns_record));
	Py_END_ALLOW_THREADS self->busy = 0;
	result = Py_NewRef(Py_None);
release:
	PyBuffer_Release(&records);
	PyBuffer_Release(&filter);
	return result;
}

static const char entries_doc[] = "entries()\n--\n\nGive a copy of the entries: ns_entry[n].";

static PyObject *key_table_entries(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_keytable *table = &((struct key_table *)object)->table;

	if (!is_free((struct key_table *)object))
		return NULL;
	return PyBytes_FromStringAndSize((const char *)table->entries,
					 (Py_ssize_t)(table->used * sizeof(*table->entries)));
}

static const char restore_doc[] =
	"restore(entries, absent_packets, absent_bytes, purges, /)\n--\n\n"
	"Make an empty table what another one of its masks was: its entries() and absent().";

static PyObject *key_table_restore(PyObject *object, PyObject *arguments)
{
	struct key_table *self = (struct key_table *)object;
	struct ns_keytable *table = &self->table;
	unsigned long long packets, bytes;
	const struct ns_entry *entries;
	unsigned int purges;
	Py_ssize_t count;
	Py_buffer view;

	if (!PyArg_ParseTuple(arguments, "y*KKI", &view, &packets, &bytes, &purges))
		return NULL;
	if (!is_changeable(self)) {
		PyBuffer_Release(&view);
		return NULL;
	}
	entries = (const struct ns_entry *)view.buf;
	count = view.len / (Py_ssize_t)sizeof(*entries);
	if (table->used || view.len % (Py_ssize_t)sizeof(*entries) ||
	    count > (Py_ssize_t)self->most) {
		PyErr_SetString(PyExc_ValueError,
				"restore: too many entries, or of the wrong size");
		PyBuffer_Release(&view);
		return NULL;
	}
	if (count > (Py_ssize_t)table->capacity && make_room(table, (ns_u32)count)) {
		PyBuffer_Release(&view);
		return PyErr_NoMemory();
	}
	for (Py_ssize_t i = 0; i < count; i++)
		*ns_keytable_entry(table, ns_keyindex_hash(&table->index, &entries[i].key),
				   &entries[i].key) = entries[i];
	table->absent_packets = packets;
	table->absent_bytes = bytes;
	table->purges = purges;
	PyBuffer_Release(&view);
	Py_RETURN_NONE;
}

static const char find_doc[] =
	"find(key, /)\n--\n\nGive the ns_entry of a masked 40-byte key, or None.";

static PyObject *key_table_find(PyObject *object, PyObject *argument)
{
	const struct ns_keytable *table = &((struct key_table *)object)->table;
	const struct ns_entry *entry;
	struct ns_key key;

	if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != sizeof(key)) {
		PyErr_SetString(PyExc_ValueError, "find: a key is 40 bytes");
		return NULL;
	}
	memcpy(&key, PyBytes_AS_STRING(argument), sizeof(key));
	if (!is_free((struct key_table *)object))
		return NULL;
	entry = ns_keytable_find(table, &key);
	if (!entry)
		Py_RETURN_NONE;
	return PyBytes_FromStringAndSize((const char *)entry, sizeof(*entry));
}

static const char absent_doc[] = "absent()\n--\n\n"
				 "Give (packets, bytes, purges): the most a key that is not held "
				 "may have, and how often the\n"
				 "table was full.";

static PyObject *key_table_absent(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_keytable *table = &((struct key_table *)object)->table;

	if (!is_free((struct key_table *)object))
		return NULL;
	return Py_BuildValue("KKI", (unsigned long long)table->absent_packets,
			     (unsigned long long)table->absent_bytes, table->purges);
}

static Py_ssize_t key_table_length(PyObject *object)
{
	return ((struct key_table *)object)->table.used;
}

static PyMethodDef methods[] = {
	{"add", key_table_add, METH_VARARGS, add_doc},
	{"entries", key_table_entries, METH_NOARGS, entries_doc},
	{"restore", key_table_restore, METH_VARARGS, restore_doc},
	{"find", key_table_find, METH_O, find_doc},
	{"absent", key_table_absent, METH_NOARGS, absent_doc},
	{NULL, NULL, 0, NULL},
};

static PySequenceMethods sequence = {.sq_length = key_table_length};

PyTypeObject ns_key_table_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.KeyTable",
	.tp_basicsize = sizeof(struct key_table),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = key_table_new,
	.tp_dealloc = key_table_dealloc,
	.tp_as_buffer = &key_table_buffer,
	.tp_methods = methods,
	.tp_as_sequence = &sequence,
};
