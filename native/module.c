// SPDX-License-Identifier: BSD-2-Clause
/*
 * netsonde.sketch._core: the module, and folding of slices that lie in someone else's memory (the
 * kernel's maps, or a FlowTable).
 */
#include "core_module.h"

#include "folded.h"
#include "keyset.h"

static const char fold_doc[] =
	"fold(hot, cold, slices, lg_buckets, cpus, epoch, thin_shift=0, /)\n--\n\n"
	"Read the closed buffer of every slice; gives (records, tallies, absent, ranks).\n\n"
	"thin_shift: 0 to 16; tell the records of 1 in 2^thin_shift buckets only, as estimates.\n"
	"hot, cold, slices: buffers as core/abi.h lays them out, of cpus x directions x parities\n"
	"slices. Returns bytes of ns_record[n], of ns_tally[directions], of\n"
	"ns_absent[directions][buckets], summed over CPUs: a flow has the same bucket on each "
	"(None\n"
	"when nothing was spilled), and of the HyperLogLog's u8[directions][HLL_REGISTERS].\n"
	"Raises ValueError when a buffer is too small for what it should hold.";

enum { MOST_THIN_SHIFT = 16 };

struct fold_input {
	Py_buffer hot, cold, slices;
	unsigned int lg_buckets, cpus, epoch;
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
			  struct ns_folded *out)
{
	const struct ns_hot *hot = (const struct ns_hot *)in->hot.buf;
	const struct ns_cold *cold = (const struct ns_cold *)in->cold.buf;
	size_t buckets = (size_t)1 << in->lg_buckets, first = (size_t)index << in->lg_buckets;
	const struct ns_slice *slice = (const struct ns_slice *)in->slices.buf + index;

	ns_fold_slice(slice, &out->tallies[direction]);
	for (size_t i = 0; i < buckets; i++) {
		if (ns_folded_bucket(out, &hot[first + i], &cold[first + i], in->epoch, direction,
				     (ns_u32)i))
			return -1;
	}
	ns_folded_slice(out, slice, in->epoch, direction);
	return 0;
}

static int fold_all(const struct fold_input *in, struct ns_folded *out)
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
	struct ns_folded out = {0};
	PyObject *result = NULL;
	int failed;

	if (!PyArg_ParseTuple(arguments, "y*y*y*III|I", &in.hot, &in.cold, &in.slices,
			      &in.lg_buckets, &in.cpus, &in.epoch, &out.thin_shift))
		return NULL;
	if (!fold_sizes_ok(&in) || out.thin_shift > MOST_THIN_SHIFT) {
		PyErr_SetString(PyExc_ValueError, "fold: a buffer does not hold cpus x 4 slices of "
						  "2^lg_buckets, or thin_shift is over 16");
		goto release;
	}
	out.lg_buckets = in.lg_buckets;
	Py_BEGIN_ALLOW_THREADS failed = fold_all(&in, &out);
	Py_END_ALLOW_THREADS result = failed ? PyErr_NoMemory() : ns_folded_tuple(&out);
	ns_folded_clear(&out);
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

static const char select_doc[] =
	"select(records, match, masks, key, /)\n--\n\n"
	"Give the records (bytes of ns_record[n]) that pass match (bytes of one ns_match) and\n"
	"whose key is a masked 40-byte key. masks: 80 bytes, of IPv4 flows and of IPv6 flows.";

static PyObject *select_records(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer records, filter, masks, wanted;
	struct ns_record *kept = NULL;
	PyObject *result = NULL;
	struct ns_match match;
	size_t used = 0;

	if (!PyArg_ParseTuple(arguments, "y*y*y*y*", &records, &filter, &masks, &wanted))
		return NULL;
	if (records.len % (Py_ssize_t)sizeof(*kept) || filter.len != sizeof(match) ||
	    masks.len != 2 * sizeof(struct ns_key) || wanted.len != sizeof(struct ns_key)) {
		PyErr_SetString(PyExc_ValueError, "select: an argument of the wrong size");
		goto release;
	}
	memcpy(&match, filter.buf, sizeof(match));
	kept = malloc((size_t)records.len + 1);
	if (!kept) {
		PyErr_NoMemory();
		goto release;
	}
	for (size_t i = 0; i < (size_t)records.len / sizeof(*kept); i++) {
		const struct ns_record *record = (const struct ns_record *)records.buf + i;
		struct ns_key key = ns_masked(&record->key, masks.buf);

		if (ns_key_equal(&key, wanted.buf) && ns_matches(&match, record))
			kept[used++] = *record;
	}
	result = PyBytes_FromStringAndSize((char *)kept, (Py_ssize_t)(used * sizeof(*kept)));
release:
	free(kept);
	PyBuffer_Release(&records);
	PyBuffer_Release(&filter);
	PyBuffer_Release(&masks);
	PyBuffer_Release(&wanted);
	return result;
}

static PyMethodDef functions[] = {
	{"select", select_records, METH_VARARGS, select_doc},
	{"places", places, METH_VARARGS, places_doc},
	{"fold", fold, METH_VARARGS, fold_doc},
	{"columns", ns_columns, METH_VARARGS, ns_columns_doc},
	{"rows", ns_rows, METH_VARARGS, ns_rows_doc},
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
	    PyModule_AddType(module, &ns_merge_type) ||
	    PyModule_AddType(module, &ns_sliding_count_type) ||
	    PyModule_AddType(module, &ns_sliding_spread_type) ||
	    PyModule_AddType(module, &ns_walk_type)) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
