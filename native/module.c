// SPDX-License-Identifier: BSD-2-Clause
/*
 * netsonde.sketch._core: the module, and folding of slices that lie in someone else's memory (the
 * kernel's maps, or a FlowTable).
 */
#include "core_module.h"

#include "fold.h"

static const char fold_doc[] =
	"fold(hot, cold, slices, lg_buckets, cpus, epoch, /) -> (records, tallies)\n--\n\n"
	"Read the closed buffer of every slice.\n\n"
	"hot, cold, slices: buffers as core/abi.h lays them out, of cpus x directions x parities\n"
	"slices. Returns bytes of ns_record[n] and of ns_tally[directions].\n"
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

static int fold_one_slice(const struct fold_input *in, ns_u32 index, struct ns_tally *tally,
			  struct fold_output *out)
{
	const struct ns_hot *hot = (const struct ns_hot *)in->hot.buf;
	const struct ns_cold *cold = (const struct ns_cold *)in->cold.buf;
	size_t buckets = (size_t)1 << in->lg_buckets, first = (size_t)index << in->lg_buckets;

	ns_fold_slice((const struct ns_slice *)in->slices.buf + index, tally);
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
					    tally);
	}
	return 0;
}

static int fold_all(const struct fold_input *in, struct fold_output *out)
{
	for (ns_u32 cpu = 0; cpu < in->cpus; cpu++) {
		for (ns_u32 direction = 0; direction < NS_DIRECTIONS; direction++) {
			ns_u32 index = ns_slice_index(cpu, direction, in->epoch);

			if (fold_one_slice(in, index, &out->tallies[direction], out))
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
	int failed;

	if (!PyArg_ParseTuple(arguments, "y*y*y*III", &in.hot, &in.cold, &in.slices, &in.lg_buckets,
			      &in.cpus, &in.epoch))
		return NULL;
	if (!fold_sizes_ok(&in)) {
		PyErr_SetString(PyExc_ValueError,
				"fold: a buffer does not hold cpus x 4 slices of 2^lg_buckets");
		goto release;
	}
	Py_BEGIN_ALLOW_THREADS failed = fold_all(&in, &out);
	Py_END_ALLOW_THREADS if (failed) PyErr_NoMemory();
	else result = Py_BuildValue("y#y#", (char *)out.records,
				    (Py_ssize_t)(out.used * sizeof(*out.records)),
				    (char *)out.tallies, (Py_ssize_t)sizeof(out.tallies));
	free(out.records);
release:
	PyBuffer_Release(&in.hot);
	PyBuffer_Release(&in.cold);
	PyBuffer_Release(&in.slices);
	return result;
}

static PyMethodDef functions[] = {
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
