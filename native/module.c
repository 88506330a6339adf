// SPDX-License-Identifier: BSD-2-Clause
/*
 * netsonde.sketch._core: the module, and folding of slices that lie in someone else's memory (the
 * kernel's maps, or a FlowTable).
 */
#include "core_module.h"

#include "fold.h"

static const char fold_doc[] =
	"fold(hot, cold, slices, lg_buckets, cpus, epoch, /) -> (records, tallies, absent, "
	"ranks)\n--\n\n"
	"Read the closed buffer of every slice.\n\n"
	"hot, cold, slices: buffers as core/abi.h lays them out, of cpus x directions x parities\n"
	"slices. Returns bytes of ns_record[n], of ns_tally[directions] and of\n"
	"ns_absent[directions][buckets], summed over CPUs: a flow has the same bucket on each,\n"
	"and the HyperLogLog's u8[directions][HLL_REGISTERS].\n"
	"Raises ValueError when a buffer is too small for what it should hold.";

struct fold_input {
	Py_buffer hot, cold, slices;
	unsigned int lg_buckets, cpus, epoch;
};

/* Records grow by doubling: a tick holds few flows, but may hold them all. */
struct fold_output {
	struct ns_record *records;
	size_t used, room;
	struct ns_tally tallies[NS_DIRECTIONS];
	struct ns_absent *absent; /* [NS_DIRECTIONS << lg_buckets] */
	ns_u8 ranks[NS_DIRECTIONS][NS_HLL_REGISTERS];
};

static int fold_sizes_ok(const struct fold_input *in)
{
	size_t slices = (size_t)in->cpus * NS_DIRECTIONS * NS_PARITIES;
	size_t buckets;

	if (in->lg_buckets < 3 || in->lg_buckets > 16 || in->cpus < 1 || in->cpus > 4096)
		return 0;
	buckets = slices << in->lg_buckets;
	return (size_t)in->slices.len >= slices * sizeof(struct ns_slice) &&
	       (size_t)in->hot.len >= buckets * sizeof(struct ns_hot) &&
	       (size_t)in->cold.len >= buckets * sizeof(struct ns_cold);
}

static int fold_one_slice(const struct fold_input *in, ns_u32 index, ns_u32 direction,
			  struct fold_output *out)
{
	struct ns_tally *tally = &out->tallies[direction];
	struct ns_absent *absent = out->absent + ((size_t)direction << in->lg_buckets);
	const struct ns_hot *hot = (const struct ns_hot *)in->hot.buf;
	const struct ns_cold *cold = (const struct ns_cold *)in->cold.buf;
	size_t buckets = (size_t)1 << in->lg_buckets, first = (size_t)index << in->lg_buckets;
	const struct ns_slice *slice = (const struct ns_slice *)in->slices.buf + index;
	size_t used = out->used;

	ns_fold_slice(slice, tally);
	for (size_t i = first; i < first + buckets; i++) {
		if (out->used + NS_RECORDS_PER_BUCKET > out->room) {
			size_t room = out->room ? out->room * 2 : 256;
			struct ns_record *grown = realloc(out->records, room * sizeof(*grown));

			if (!grown)
				return -1;
			out->records = grown;
			out->room = room;
		}
		out->used += ns_fold_bucket(&hot[i], &cold[i], in->epoch, out->records + out->used,
					    tally, &absent[i - first]);
	}
	if (out->used > used)
		ns_fold_distinct(slice, in->epoch, out->ranks[direction]);
	return 0;
}

static int fold_all(const struct fold_input *in, struct fold_output *out)
{
	for (ns_u32 cpu = 0; cpu < in->cpus; cpu++) {
		for (ns_u32 direction = 0; direction < NS_DIRECTIONS; direction++) {
			ns_u32 index = ns_slice_index(cpu, direction, in->epoch);

			if (fold_one_slice(in, index, direction, out))
				return -1;
		}
	}
	return 0;
}

static PyObject *fold(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	struct fold_input in;
	struct fold_output out = {0};
	PyObject *result = NULL;
	size_t absent;
	int failed;

	if (!PyArg_ParseTuple(arguments, "y*y*y*III", &in.hot, &in.cold, &in.slices, &in.lg_buckets,
			      &in.cpus, &in.epoch))
		return NULL;
	if (!fold_sizes_ok(&in)) {
		PyErr_SetString(PyExc_ValueError,
				"fold: a buffer does not hold cpus x 4 slices of 2^lg_buckets");
		goto release;
	}
	absent = (size_t)NS_DIRECTIONS << in.lg_buckets;
	out.absent = calloc(absent, sizeof(*out.absent));
	Py_BEGIN_ALLOW_THREADS failed = !out.absent || fold_all(&in, &out);
	Py_END_ALLOW_THREADS if (failed) PyErr_NoMemory();
	else result = Py_BuildValue("y#y#y#y#", (char *)out.records,
				    (Py_ssize_t)(out.used * sizeof(*out.records)),
				    (char *)out.tallies, (Py_ssize_t)sizeof(out.tallies),
				    (char *)out.absent, (Py_ssize_t)(absent * sizeof(*out.absent)),
				    (char *)out.ranks, (Py_ssize_t)sizeof(out.ranks));
	free(out.records);
	free(out.absent);
release:
	PyBuffer_Release(&in.hot);
	PyBuffer_Release(&in.cold);
	PyBuffer_Release(&in.slices);
	return result;
}

static const char places_doc[] =
	"places(config, keys, /)\n--\n\n"
	"Give the buckets a flow may be in, for each of keys (bytes of ns_key[n]): bytes of\n"
	"u32[n][2], its main bucket, and its bucket in the sample region or 2^lg_buckets when it\n"
	"is never sampled. config: bytes of ns_config.";

static PyObject *places(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	PyObject *result = NULL;
	struct ns_config config;
	Py_buffer given, keys;
	size_t flows;
	ns_u32 *place;

	if (!PyArg_ParseTuple(arguments, "y*y*", &given, &keys))
		return NULL;
	if (given.len != sizeof(config) || keys.len % (Py_ssize_t)sizeof(struct ns_key)) {
		PyErr_SetString(PyExc_ValueError, "places: config or keys of the wrong size");
		goto release;
	}
	memcpy(&config, given.buf, sizeof(config));
	flows = (size_t)keys.len / sizeof(struct ns_key);
	result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(flows * 2 * sizeof(*place)));
	if (!result)
		goto release;
	place = (ns_u32 *)PyBytes_AS_STRING(result);
	for (size_t i = 0; i < flows; i++) {
		ns_u64 fingerprint =
			ns_fingerprint(config.hash_key, (const struct ns_key *)keys.buf + i);

		place[2 * i] = ns_main_bucket(fingerprint, config.lg_buckets);
		place[2 * i + 1] = ns_sampled(fingerprint, config.sample_shift)
					   ? ns_sample_bucket(fingerprint, config.lg_buckets)
					   : 1u << config.lg_buckets;
	}
release:
	PyBuffer_Release(&given);
	PyBuffer_Release(&keys);
	return result;
}

static PyMethodDef functions[] = {
	{"places", places, METH_VARARGS, places_doc},
	{"fold", fold, METH_VARARGS, fold_doc},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "netsonde.sketch._core",
	.m_doc = "The native build of core/.",
	.m_size = -1,
	.m_methods = functions,
};

PyMODINIT_FUNC PyInit__core(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (!module)
		return NULL;
	if (PyModule_AddType(module, &ns_flow_table_type) ||
	    PyModule_AddType(module, &ns_key_table_type) ||
	    PyModule_AddType(module, &ns_walk_type)) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
