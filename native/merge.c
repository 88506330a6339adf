// SPDX-License-Identifier: BSD-2-Clause
/*
 * Merge: core/merge.h and core/thin.h for Python. Holds the memory, and reads the records of ticks
 * one tick after the other.
 */
#include "core_module.h"

#include "record_bytes.h"
#include "thin.h"

#include <sys/random.h>

enum { LEAST_ROWS = 256, LEAST_RECORDS = 64, MOST_ROWS = 1 << 24 };

static const char type_doc[] =
	"Merge(rows, /)\n--\n\n"
	"Adds the records of ticks of one flow table up, key by key. rows: so many keys are "
	"expected;\n"
	"there is room for more.";

struct job {
	struct ns_merge merge; /* its rows are in held */
	struct ns_record_bytes held;
	struct ns_config config;
	struct ns_absent *hidden;
	struct ns_absent totals[NS_DIRECTIONS];
	ns_u32 left; /* records, in merge.rows */
};

struct merge_object {
	PyObject_HEAD struct job job;
	int busy; /* a thread is in it, without the interpreter's lock */
};

/* Room for so many rows; returns -1 without memory. */
static int make_room(struct job *job, size_t rows)
{
	struct ns_merge *merge = &job->merge;
	struct ns_keyindex larger = merge->index;
	size_t slots = 2;

	while (slots < 2 * rows)
		slots *= 2;
	larger.slots = calloc(slots, sizeof(*larger.slots));
	larger.mask = (ns_u32)slots - 1;
	if (!larger.slots || ns_record_bytes_room(&job->held, rows)) {
		free(larger.slots);
		return -1;
	}
	ns_keyindex_copy(&larger, &merge->index);
	free(merge->index.slots);
	merge->index = larger;
	merge->rows = job->held.records;
	merge->capacity = (ns_u32)rows;
	return 0;
}

static int add_part(struct job *job, const struct ns_record *records, size_t number)
{
	struct ns_merge *merge = &job->merge;
	struct ns_merging batch[2 * NS_KEY_BATCH];
	ns_u32 used = 0;

	for (size_t i = 0; i < number; i++) {
		if (!used && merge->used + 2 * NS_KEY_BATCH > merge->capacity &&
		    make_room(job, (size_t)merge->capacity / 2 * 3))
			return -1;
		used += ns_merge_split(merge, &records[i], &batch[used]);
		if (used >= NS_KEY_BATCH) {
			ns_merge_add(merge, batch, used);
			used = 0;
		}
	}
	ns_merge_add(merge, batch, used);
	return 0;
}

static int thin(struct job *job, ns_u32 most, ns_u64 seed)
{
	size_t buckets = (size_t)NS_DIRECTIONS << job->config.lg_buckets;
	struct ns_thin how = {.config = &job->config, .totals = job->totals, .seed = seed};

	how.hidden = job->hidden = calloc(buckets, sizeof(*how.hidden));
	how.weights = malloc(job->merge.used * sizeof(*how.weights));
	if (how.hidden && how.weights)
		job->left = ns_thin(&how, job->merge.rows, job->merge.used, most);
	free(how.weights);
	return how.hidden && how.weights ? 0 : -1;
}

/* Make what is left of the rows. */
static int end_job(struct job *job, ns_u32 most, ns_u64 seed)
{
	ns_merge_end(&job->merge);
	job->left = job->merge.used;
	if (job->left > most && job->config.lg_buckets)
		return thin(job, most, seed);
	return 0;
}

static PyObject *result_of(struct job *job, ns_u32 most)
{
	PyObject *records;
	size_t hidden = sizeof(*job->hidden) * NS_DIRECTIONS << job->config.lg_buckets;
	int some = job->totals[NS_IN].packets || job->totals[NS_OUT].packets;

	if (job->left > most) {
		PyErr_SetString(PyExc_ValueError,
				"merge: more records than may be left, and no config");
		return NULL;
	}
	records = ns_record_bytes_take(&job->held, job->left);
	/* N takes the reference, y# makes None of NULL. */
	return Py_BuildValue("Ny#y#", records, some ? (const char *)job->hidden : NULL,
			     (Py_ssize_t)hidden, (const char *)job->totals,
			     (Py_ssize_t)sizeof(job->totals));
}

/* Read config, or nothing, which leaves lg_buckets 0; returns whether it is either. */
static int read_config(const Py_buffer *given, struct ns_config *config)
{
	if (!given->len)
		return 1;
	if (given->len != sizeof(*config))
		return 0;
	memcpy(config, given->buf, sizeof(*config));
	return config->lg_buckets >= 3 && config->lg_buckets <= 16;
}

static void clear(struct job *job)
{
	ns_record_bytes_clear(&job->held);
	free(job->merge.index.slots);
	free(job->hidden);
	memset(job, 0, sizeof(*job));
}

static PyObject *merge_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	struct merge_object *self;
	struct ns_keyindex *index;
	unsigned int rows;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "Merge takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "I", &rows))
		return NULL;
	if (rows > MOST_ROWS) {
		PyErr_SetString(PyExc_ValueError, "Merge: rows is at most 2^24");
		return NULL;
	}
	self = (struct merge_object *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	index = &self->job.merge.index;
	if (getrandom(index->secret, sizeof(index->secret), 0) != sizeof(index->secret)) {
		Py_DECREF(self);
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	if (make_room(&self->job, rows > LEAST_ROWS ? rows : LEAST_ROWS)) {
		Py_DECREF(self);
		return PyErr_NoMemory();
	}
	return (PyObject *)self;
}

static void merge_dealloc(PyObject *object)
{
	clear(&((struct merge_object *)object)->job);
	Py_TYPE(object)->tp_free(object);
}

/* Whether it can be used; an exception when not. */
static int is_free(const struct merge_object *self)
{
	if (!self->busy && self->job.merge.rows)
		return 1;
	PyErr_SetString(PyExc_RuntimeError,
			self->busy ? "Merge: another thread is in it" : "Merge: it has ended");
	return 0;
}

static const char add_doc[] = "add(records, /)\n--\n\n"
			      "Add a buffer of ns_record[n].";

static PyObject *merge_add(PyObject *object, PyObject *given)
{
	struct merge_object *self = (struct merge_object *)object;
	Py_buffer records;
	int failed;

	if (!is_free(self) || PyObject_GetBuffer(given, &records, PyBUF_SIMPLE))
		return NULL;
	if (records.len % (Py_ssize_t)sizeof(struct ns_record)) {
		PyErr_SetString(PyExc_ValueError, "merge: records of the wrong size");
		PyBuffer_Release(&records);
		return NULL;
	}
	self->busy = 1;
	Py_BEGIN_ALLOW_THREADS failed =
		add_part(&self->job, records.buf, (size_t)records.len / sizeof(struct ns_record));
	Py_END_ALLOW_THREADS self->busy = 0;
	PyBuffer_Release(&records);
	if (failed) {
		clear(&self->job);
		return PyErr_NoMemory();
	}
	Py_RETURN_NONE;
}

static const char end_doc[] =
	"end(most, config, seed, /)\n--\n\n"
	"Keep within so many records, and give them; nothing can be added any more.\n\n"
	"most: records that are left, 64 to 2^24: the heaviest flows, and labels drawn by seed.\n"
	"config: bytes of the ns_config that places flows, or nothing. Returns bytes of\n"
	"ns_record[n], of ns_absent[directions][buckets] by which what absent flows may have grew\n"
	"(None: nothing was left out), and of ns_absent[directions], what was left out. Raises\n"
	"ValueError when flows must be left out and config does not place them.";

static PyObject *merge_end(PyObject *object, PyObject *arguments)
{
	struct merge_object *self = (struct merge_object *)object;
	PyObject *result = NULL;
	unsigned long long seed;
	unsigned int most;
	Py_buffer config;
	int failed;

	if (!PyArg_ParseTuple(arguments, "Iy*K", &most, &config, &seed))
		return NULL;
	if (!is_free(self)) {
		/* An exception is set. */
	} else if (most < LEAST_RECORDS || most > MOST_ROWS ||
		   !read_config(&config, &self->job.config)) {
		PyErr_SetString(PyExc_ValueError,
				"merge: most is 64 to 2^24, config is an ns_config");
	} else {
		self->busy = 1;
		Py_BEGIN_ALLOW_THREADS failed = end_job(&self->job, most, seed);
		Py_END_ALLOW_THREADS self->busy = 0;
		result = failed ? PyErr_NoMemory() : result_of(&self->job, most);
		clear(&self->job);
	}
	PyBuffer_Release(&config);
	return result;
}

static PyMethodDef methods[] = {
	{"add", merge_add, METH_O, add_doc},
	{"end", merge_end, METH_VARARGS, end_doc},
	{NULL, NULL, 0, NULL},
};

PyTypeObject ns_merge_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.Merge",
	.tp_basicsize = sizeof(struct merge_object),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = merge_new,
	.tp_dealloc = merge_dealloc,
	.tp_methods = methods,
};
