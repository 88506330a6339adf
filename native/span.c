// SPDX-License-Identifier: BSD-2-Clause
#include "span.h"

/* What a slice's own counters grew by since the last time it was closed. */
static void add_growth(struct ns_span *span, const struct ns_slice *slice, ns_u32 index,
		       ns_u32 direction)
{
	struct ns_tally *tally = &span->folded.tallies[direction], *before = &span->before[index];
	struct ns_tally now = {0};

	ns_fold_slice(slice, &now);
	tally->contended_packets += now.contended_packets - before->contended_packets;
	tally->contended_bytes += now.contended_bytes - before->contended_bytes;
	tally->inserts += now.inserts - before->inserts;
	for (ns_u32 cause = 0; cause < NS_DROP_CAUSES; cause++)
		tally->drops[cause] += now.drops[cause] - before->drops[cause];
	*before = now;
}

static int add_slice(struct ns_span *span, const struct ns_memory_table *table, ns_u32 epoch,
		     ns_u32 direction)
{
	ns_u32 index = ns_slice_index(0, direction, epoch);
	const struct ns_hot *hot = table->hot + ((size_t)index << table->config.lg_buckets);
	const struct ns_cold *cold = table->cold + ((size_t)index << table->config.lg_buckets);
	const ns_u32 *touched;
	ns_u32 used = ns_memory_table_touched(table, index, &touched);

	add_growth(span, &table->slices[index], index, direction);
	for (ns_u32 i = 0; i < used; i++) {
		if (ns_folded_bucket(&span->folded, &hot[touched[i]], &cold[touched[i]], epoch,
				     direction, touched[i]))
			return -1;
	}
	ns_folded_slice(&span->folded, &table->slices[index], epoch, direction);
	return 0;
}

int ns_span_close(struct ns_span *span, struct ns_memory_table *table, ns_u64 tick)
{
	ns_u32 closed = ns_memory_table_flip(table);

	for (ns_u32 direction = 0; direction < NS_DIRECTIONS; direction++) {
		if (add_slice(span, table, closed, direction))
			return -1;
	}
	if (!span->ticks)
		span->first_tick = tick;
	span->last_tick = tick;
	span->ticks++;
	return span->folded.absent || span->folded.used > NS_SPAN_RECORDS ||
	       span->ticks == span->most_ticks;
}

PyObject *ns_span_take(struct ns_span *span)
{
	PyObject *taken;

	if (!span->ticks)
		Py_RETURN_NONE;
	taken = Py_BuildValue("KKIN", (unsigned long long)span->first_tick,
			      (unsigned long long)span->last_tick, span->ticks,
			      ns_folded_tuple(&span->folded));
	ns_folded_clear(&span->folded);
	span->ticks = 0;
	return taken;
}
