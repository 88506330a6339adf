// SPDX-License-Identifier: BSD-2-Clause
/*
 * merge(): core/merge.h and core/thin.h for Python. Holds the memory, and reads the records of all
 * ticks in their order.
 */
#include "core_module.h"

#include "record_bytes.h"
#include "thin.h"

#include <sys/random.h>

enum { LEAST_ROWS = 256, LEAST_RECORDS = 64, MAX_PARTS = 4096 };

const char ns_merge_doc[] =
	"merge(parts, most, config, seed, /)\n--\n\n"
	"Add the records of ticks of one flow table up, key by key, and keep within so many.\n\n"
	"parts: 1 to 4096 buffers of ns_record[n]. most: records that are left, 64 to 2^24: the\n"
	"heaviest flows, and labels drawn by seed. config: bytes of the ns_config that places "
	"flows,\n"
	"or nothing. Returns bytes of ns_record[n], of ns_absent[directions][buckets] by which "
	"what\n"
	"absent flows may have grew (None: nothing was left out), and of ns_absent[directions], "
	"what\n"
	"was left out. Raises ValueError when flows must be left out and config does not place "
	"them.";

struct job {
	struct ns_merge merge; /* its rows are in held */
	struct ns_record_bytes held;
	struct ns_config config;
	struct ns_absent *hidden;
	struct ns_absent totals[NS_DIRECTIONS];
	ns_u32 left; /* records, in merge.rows */
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

/* Rows of the largest part, whose records mostly differ; with few more those of all are there. */
static size_t expected_rows(const Py_buffer *parts, Py_ssize_t number)
{
	size_t largest = LEAST_ROWS * sizeof(struct ns_record);

	for (Py_ssize_t i = 0; i < number; i++) {
		if ((size_t)parts[i].len > largest)
			largest = (size_t)parts[i].len;
	}
	return largest / sizeof(struct ns_record) * 9 / 8;
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

static int merge_all(struct job *job, const Py_buffer *parts, Py_ssize_t number, ns_u32 most,
		     ns_u64 seed)
{
	if (make_room(job, expected_rows(parts, number)))
		return -1;
	for (Py_ssize_t i = 0; i < number; i++) {
		if (add_part(job, parts[i].buf, (size_t)parts[i].len / sizeof(struct ns_record)))
			return -1;
	}
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

/* Views of a sequence's buffers; returns how many were taken, fewer than all with an exception. */
static Py_ssize_t take_parts(PyObject *sequence, Py_buffer *parts, Py_ssize_t number)
{
	for (Py_ssize_t i = 0; i < number; i++) {
		if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(sequence, i), &parts[i],
				       PyBUF_SIMPLE))
			return i;
		if (parts[i].len % (Py_ssize_t)sizeof(struct ns_record)) {
			PyErr_SetString(PyExc_ValueError, "merge: records of the wrong size");
			return i + 1;
		}
	}
	return number;
}

static PyObject *merge_parts(PyObject *sequence, struct job *job, ns_u32 most, ns_u64 seed)
{
	Py_ssize_t number = PySequence_Fast_GET_SIZE(sequence), taken;
	Py_buffer *parts = calloc((size_t)number, sizeof(*parts));
	PyObject *result = NULL;
	int failed;

	if (!parts)
		return PyErr_NoMemory();
	taken = take_parts(sequence, parts, number);
	if (!PyErr_Occurred()) {
		Py_BEGIN_ALLOW_THREADS failed = merge_all(job, parts, number, most, seed);
		Py_END_ALLOW_THREADS result = failed ? PyErr_NoMemory() : result_of(job, most);
	}
	for (Py_ssize_t i = 0; i < taken; i++)
		PyBuffer_Release(&parts[i]);
	free(parts);
	return result;
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

PyObject *ns_merge_records(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	PyObject *given, *sequence = NULL, *result = NULL;
	struct job job = {0};
	unsigned long long seed;
	unsigned int most;
	Py_buffer config;
	Py_ssize_t parts;

	if (!PyArg_ParseTuple(arguments, "OIy*K", &given, &most, &config, &seed))
		return NULL;
	sequence = PySequence_Fast(given, "merge: parts are a sequence of buffers");
	if (!sequence)
		goto release;
	parts = PySequence_Fast_GET_SIZE(sequence);
	if (most < LEAST_RECORDS || most > 1u << 24 || parts < 1 || parts > MAX_PARTS ||
	    !read_config(&config, &job.config)) {
		PyErr_SetString(
			PyExc_ValueError,
			"merge: most is 64 to 2^24, parts are 1 to 4096, config is an ns_config");
		goto release;
	}
	if (getrandom(job.merge.index.secret, sizeof(job.merge.index.secret), 0) !=
	    sizeof(job.merge.index.secret))
		PyErr_SetFromErrno(PyExc_OSError);
	else
		result = merge_parts(sequence, &job, most, seed);
release:
	Py_XDECREF(sequence);
	PyBuffer_Release(&config);
	ns_record_bytes_clear(&job.held);
	free(job.merge.index.slots);
	free(job.hidden);
	return result;
}
