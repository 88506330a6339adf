/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Certified Flow Table of one pretended CPU in this process's memory: two directions, two
 * parities, one writer. Laid out as the kernel's maps are, so the same fold() reads both.
 */
#ifndef NS_MEMORY_TABLE_H
#define NS_MEMORY_TABLE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "flowtable.h"

struct ns_memory_table {
	struct ns_config config;
	ns_u32 epoch;
	ns_u32 sample_shift; /* of the current epoch; set it before a flip for the next one */
	struct ns_slice *slices;
	struct ns_hot *hot;
	struct ns_cold *cold;
	ns_u32 *touched; /* [slices << lg_buckets]: of each slice, its buckets of its last epoch */
	ns_u32 touched_used[NS_DIRECTIONS * NS_PARITIES];
};

/* Allocate an empty table of epoch 1; returns 0, or -1 with a Python error set. */
int ns_memory_table_open(struct ns_memory_table *table, const char *secret, Py_ssize_t secret_bytes,
			 unsigned int lg_buckets, unsigned int sample_shift);

void ns_memory_table_close(struct ns_memory_table *table);

/* A parsed packet on its way into the table. */
struct ns_arrival {
	struct ns_packet packet;
	ns_u64 fingerprint;
	ns_u32 slice;
	ns_u32 index; /* of its bucket in the slice */
};

/* Find the place of @arrival->packet in the current epoch and call its memory into the cache. */
void ns_memory_table_expect(const struct ns_memory_table *table, struct ns_arrival *arrival);

/* Count an expected packet into its flow; before the next flip. */
void ns_memory_table_count(struct ns_memory_table *table, const struct ns_arrival *arrival);

/* Both at once. */
void ns_memory_table_add(struct ns_memory_table *table, const struct ns_packet *packet);

/* A slice's buckets that its last epoch wrote to, by index in the slice; gives how many. */
NS_INLINE ns_u32 ns_memory_table_touched(const struct ns_memory_table *table, ns_u32 slice,
					 const ns_u32 **buckets)
{
	*buckets = table->touched + ((size_t)slice << table->config.lg_buckets);
	return table->touched_used[slice];
}

/* Count packets that belong to no flow, in the slice of the current epoch. */
void ns_memory_table_drop(struct ns_memory_table *table, ns_u32 direction, enum ns_drop cause,
			  ns_u64 packets);

/* Move on to the next epoch; gives the closed one. */
ns_u32 ns_memory_table_flip(struct ns_memory_table *table);

/* New read-only memoryviews (hot, cold, slices) that live as long as the table. */
PyObject *ns_memory_table_buffers(const struct ns_memory_table *table);

#endif
