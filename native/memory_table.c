// SPDX-License-Identifier: BSD-2-Clause
#include "memory_table.h"

enum { SLICES = NS_DIRECTIONS * NS_PARITIES };

int ns_memory_table_open(struct ns_memory_table *table, const char *secret, Py_ssize_t secret_bytes,
			 unsigned int lg_buckets, unsigned int sample_shift)
{
	size_t buckets;

	if (secret_bytes != NS_HASH_WORDS * 8 || lg_buckets < 3 || lg_buckets > 16 ||
	    sample_shift < NS_SAMPLE_SHIFT_LEAST || sample_shift > 32) {
		PyErr_SetString(PyExc_ValueError, "a flow table: secret is 64 bytes, lg_buckets 3 "
						  "to 16, sample_shift 6 to 32");
		return -1;
	}
	buckets = (size_t)SLICES << lg_buckets;
	memcpy(table->config.hash_key, secret, sizeof(table->config.hash_key));
	table->config.lg_buckets = lg_buckets;
	table->config.sample_shift = sample_shift;
	table->epoch = 1;
	table->sample_shift = sample_shift;
	table->slices = calloc(SLICES, sizeof(*table->slices));
	table->hot = calloc(buckets, sizeof(*table->hot));
	table->cold = calloc(buckets, sizeof(*table->cold));
	if (table->slices && table->hot && table->cold)
		return 0;
	PyErr_NoMemory();
	return -1;
}

void ns_memory_table_close(struct ns_memory_table *table)
{
	free(table->slices);
	free(table->hot);
	free(table->cold);
}

void ns_memory_table_add(struct ns_memory_table *table, const struct ns_packet *packet)
{
	ns_u32 at = ns_slice_index(0, packet->key.direction, table->epoch);
	ns_u64 fingerprint = ns_fingerprint(table->config.hash_key, &packet->key);
	ns_u32 bucket = (at << table->config.lg_buckets) +
			ns_bucket_index(fingerprint, table->config.lg_buckets, table->sample_shift);
	struct ns_slice *slice = &table->slices[at];
	int alone = ns_slice_enter(slice);

	if (!ns_hot_hit(&table->hot[bucket], table->epoch, fingerprint, packet, alone) &&
	    !ns_insert(slice, &table->hot[bucket], &table->cold[bucket], fingerprint, packet))
		ns_slice_contended(slice, packet);
	ns_slice_leave(slice);
}

void ns_memory_table_drop(struct ns_memory_table *table, ns_u32 direction, enum ns_drop cause,
			  ns_u64 packets)
{
	table->slices[ns_slice_index(0, direction, table->epoch)].drops[cause] += packets;
}

ns_u32 ns_memory_table_flip(struct ns_memory_table *table)
{
	ns_u32 closed = table->epoch;

	table->epoch = ns_next_epoch(closed);
	return closed;
}

PyObject *ns_memory_table_buffers(const struct ns_memory_table *table)
{
	Py_ssize_t buckets = (Py_ssize_t)SLICES << table->config.lg_buckets;

	return Py_BuildValue(
		"NNN",
		PyMemoryView_FromMemory((char *)table->hot,
					buckets * (Py_ssize_t)sizeof(*table->hot), PyBUF_READ),
		PyMemoryView_FromMemory((char *)table->cold,
					buckets * (Py_ssize_t)sizeof(*table->cold), PyBUF_READ),
		PyMemoryView_FromMemory((char *)table->slices,
					SLICES * (Py_ssize_t)sizeof(*table->slices), PyBUF_READ));
}
