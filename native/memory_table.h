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
};

/* Allocate an empty table of epoch 1; returns 0, or -1 with a Python error set. */
int ns_memory_table_open(struct ns_memory_table *table, const char *secret, Py_ssize_t secret_bytes,
			 unsigned int lg_buckets, unsigned int sample_shift);

void ns_memory_table_close(struct ns_memory_table *table);

/* Count a parsed packet into its flow. */
void ns_memory_table_add(struct ns_memory_table *table, const struct ns_packet *packet);

/* Count packets that belong to no flow, in the slice of the current epoch. */
void ns_memory_table_drop(struct ns_memory_table *table, ns_u32 direction, enum ns_drop cause,
			  ns_u64 packets);

/* Move on to the next epoch; gives the closed one. */
ns_u32 ns_memory_table_flip(struct ns_memory_table *table);

/* New read-only memoryviews (hot, cold, slices) that live as long as the table. */
PyObject *ns_memory_table_buffers(const struct ns_memory_table *table);

#endif
