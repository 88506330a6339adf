// SPDX-License-Identifier: BSD-2-Clause
/*
 * KeyTable: core/keytable.h for Python. Holds the memory, applies a task's filter to a tick's
 * records and gives the entries back.
 */
#include "core_module.h"

#include "keytable.h"

enum { FIRST_CAPACITY = 256 };

struct key_table {
	PyObject_HEAD struct ns_keytable
		table;		/* grows: its capacity is what it has room for now */
	ns_u32 most;		/* entries it may grow to */
	struct ns_key masks[2]; /* of IPv4 and of IPv6 flows */
	int ports_only;
};

static const char type_doc[] = "KeyTable(masks, capacity, ports_only, /)\n--\n\n"
			       "Per-key packets and bytes in bounded memory, with bounds.\n\n"
			       "masks: 80 bytes, the fields that make the key, of IPv4 flows and "
			       "of IPv6 flows. capacity:\n"
			       "most entries held, 16 to 2^24; memory is taken as they come.\n"
			       "ports_only: leave out records whose packets carried no ports.";

static void put_into_index(struct ns_keytable *table)
{
	for (ns_u32 i = 0; i < table->used; i++)
		table->index[ns_keytable_probe(table, &table->entries[i].key)] = i + 1;
}

/* Give a table room for more entries; returns -1 and changes nothing without memory. */
static int make_room(struct ns_keytable *table, ns_u32 capacity)
{
	struct ns_keytable larger = *table;
	ns_u32 index = 32;

	while (index < 2 * capacity)
		index *= 2;
	larger.entries = malloc(capacity * sizeof(*larger.entries));
	larger.weights = malloc(capacity * sizeof(*larger.weights));
	larger.index = calloc(index, sizeof(*larger.index));
	larger.capacity = capacity;
	larger.index_mask = index - 1;
	if (!larger.entries || !larger.weights || !larger.index) {
		free(larger.entries);
		free(larger.weights);
		free(larger.index);
		return -1;
	}
	if (table->used)
		memcpy(larger.entries, table->entries, table->used * sizeof(*larger.entries));
	put_into_index(&larger);
	free(table->entries);
	free(table->weights);
	free(table->index);
	*table = larger;
	return 0;
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
	self->ports_only = ports_only;
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
	free(self->table.index);
	Py_TYPE(object)->tp_free(object);
}

static void add(struct key_table *self, const struct ns_record *record)
{
	struct ns_keytable *table = &self->table;

	if (table->used == table->capacity && table->capacity < self->most) {
		ns_u32 wanted = 2 * table->capacity;

		/* Without memory it stays as it is and drops the lighter half, as when it is full.
		 */
		if (make_room(table, wanted < self->most ? wanted : self->most))
			self->most = table->capacity;
	}
	ns_keytable_add(table, self->masks, record);
}

static const char add_doc[] =
	"add(records, match, /)\n--\n\n"
	"Add the records (bytes of ns_record[n]) that pass match (bytes of one ns_match).";

static PyObject *key_table_add(PyObject *object, PyObject *arguments)
{
	struct key_table *self = (struct key_table *)object;
	struct ns_match match;
	Py_buffer records, filter;

	if (!PyArg_ParseTuple(arguments, "y*y*", &records, &filter))
		return NULL;
	if (filter.len != sizeof(match) || records.len % (Py_ssize_t)sizeof(struct ns_record)) {
		PyErr_SetString(PyExc_ValueError, "add: records or match of the wrong size");
		PyBuffer_Release(&records);
		PyBuffer_Release(&filter);
		return NULL;
	}
	memcpy(&match, filter.buf, sizeof(match));
	for (Py_ssize_t i = 0; i < records.len / (Py_ssize_t)sizeof(struct ns_record); i++) {
		const struct ns_record *record = (const struct ns_record *)records.buf + i;

		if (self->ports_only && !(record->key.flags & NS_KEY_HAS_PORTS))
			continue;
		if (ns_matches(&match, record))
			add(self, record);
	}
	PyBuffer_Release(&records);
	PyBuffer_Release(&filter);
	Py_RETURN_NONE;
}

static const char entries_doc[] = "entries()\n--\n\nGive a copy of the entries: ns_entry[n].";

static PyObject *key_table_entries(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_keytable *table = &((struct key_table *)object)->table;

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
		*ns_keytable_entry(table, &entries[i].key) = entries[i];
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
	struct ns_key key;
	ns_u32 at;

	if (!PyBytes_Check(argument) || PyBytes_GET_SIZE(argument) != sizeof(key)) {
		PyErr_SetString(PyExc_ValueError, "find: a key is 40 bytes");
		return NULL;
	}
	memcpy(&key, PyBytes_AS_STRING(argument), sizeof(key));
	at = ns_keytable_probe(table, &key);
	if (!table->index[at])
		Py_RETURN_NONE;
	return PyBytes_FromStringAndSize((const char *)&table->entries[table->index[at] - 1],
					 sizeof(struct ns_entry));
}

static const char absent_doc[] = "absent()\n--\n\n"
				 "Give (packets, bytes, purges): the most a key that is not held "
				 "may have, and how often the\n"
				 "table was full.";

static PyObject *key_table_absent(PyObject *object, PyObject *Py_UNUSED(none))
{
	const struct ns_keytable *table = &((struct key_table *)object)->table;

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
	.tp_methods = methods,
	.tp_as_sequence = &sequence,
};
