/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What closed slices held, in memory of this process: records that grow as needed, sums, bounds on
 * absent flows and the HyperLogLog's ranks. The layer over core/fold.h that allocates.
 *
 * Thinning: where whoever adds records up could not keep pace, only those of 1 in 2^thin_shift
 * buckets are told, drawn anew each epoch, and each stands for as many. Sums of such estimates are
 * unbiased (Horvitz-Thompson); totals stay exact, and what is left out is in the bounds.
 */
#ifndef NS_FOLDED_H
#define NS_FOLDED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fold.h"
#include "record_bytes.h"

struct ns_folded {
	unsigned int lg_buckets;
	unsigned int thin_shift;
	struct ns_record_bytes held; /* grows by doubling: a tick holds few flows, or all it can */
	size_t used;
	struct ns_tally tallies[NS_DIRECTIONS];
	struct ns_absent *absent; /* [NS_DIRECTIONS << lg_buckets]; NULL while nothing was hidden */
	ns_u8 ranks[NS_DIRECTIONS][NS_HLL_REGISTERS];
	int spilled[NS_DIRECTIONS]; /* the slots do not tell all that ranks must know */
};

/**
 * ns_folded_bucket - add one bucket of a closed epoch
 * @folded: what to add to; zeroed but for lg_buckets and thin_shift before the first
 * @hot: the bucket
 * @cold: same bucket
 * @epoch: the closed epoch; a bucket of another one is empty
 * @direction: of its slice
 * @index: of the bucket in its slice
 *
 * Return: 0, or -1 without memory.
 */
int ns_folded_bucket(struct ns_folded *folded, const struct ns_hot *hot, const struct ns_cold *cold,
		     ns_u32 epoch, ns_u32 direction, ns_u32 index);

/* After the buckets of a slice: add the flows that gave way, which only its registers know. */
void ns_folded_slice(struct ns_folded *folded, const struct ns_slice *slice, ns_u32 epoch,
		     ns_u32 direction);

/* New tuple of bytes: ns_record[n], ns_tally[NS_DIRECTIONS], ns_absent[NS_DIRECTIONS][buckets] or
 * None when nothing was hidden, u8[NS_DIRECTIONS][NS_HLL_REGISTERS]. The records are taken out, so
 * it must be cleared. */
PyObject *ns_folded_tuple(struct ns_folded *folded);

/* Free it, with the interpreter's lock; zeroed but for lg_buckets and thin_shift. */
void ns_folded_clear(struct ns_folded *folded);

#endif
