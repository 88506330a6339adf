/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A span: ticks of a memory table, one after the other, folded together. Each tick is an epoch of
 * its own, as in the kernel, so a span holds what the same ticks folded singly add up to; that is
 * cheaper by far where ticks are short and their packets few, as in a capture.
 */
#ifndef NS_SPAN_H
#define NS_SPAN_H

#include "folded.h"
#include "memory_table.h"

enum { NS_SPAN_RECORDS = 1 << 15 }; /* a span with more ends with its tick: 2.6 MB */

struct ns_span {
	struct ns_folded folded;
	struct ns_tally before[NS_DIRECTIONS * NS_PARITIES]; /* of the slices, which only grow */
	ns_u64 first_tick, last_tick;
	ns_u32 ticks;
	ns_u32 most_ticks; /* 0: any number */
};

/**
 * ns_span_close - close the table's epoch and add it as a tick
 * @span: what to add to
 * @table: the table; its next epoch begins
 * @tick: id of the tick
 *
 * Return: 0; 1 when the span should be taken now: it is long, of as many ticks as it may have, or
 * this tick spilled, so that bounds on absent flows stay those of one tick; -1 without memory.
 */
int ns_span_close(struct ns_span *span, struct ns_memory_table *table, ns_u64 tick);

/* New tuple (first_tick, last_tick, ticks, folded) and begin anew; None when it has no ticks. */
PyObject *ns_span_take(struct ns_span *span);

#endif
