/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records of several closed ticks as those of one, user space: flows and labels of the same key add
 * up. Sums of bounds are bounds, so whatever is asked of the result is as certain as of the parts.
 *
 * A flow that stands for others (thinning) does so with another factor in each tick, so that part
 * becomes a label of its key: an estimate by itself, as labels are.
 */
#ifndef NS_MERGE_H
#define NS_MERGE_H

#include "fold.h"
#include "keyindex.h"

/* Rows are records whose key.reserved is their kind meanwhile: a flow and a label of one key are
 * two rows. */
struct ns_merge {
	struct ns_record *rows; /* [capacity] */
	struct ns_keyindex index;
	ns_u32 capacity;
	ns_u32 used;
};

/* A row on its way to those of its key. */
struct ns_merging {
	struct ns_record row;
	ns_u32 hash;
};

NS_INLINE ns_u32 ns_saturated32(ns_u64 sum)
{
	return (ns_u32)ns_least(sum, 0xffffffff);
}

/* Flags are joined, SYNs without ACK added up as far as their 24 bits go. */
NS_INLINE ns_u32 ns_joined_tcp(ns_u32 a, ns_u32 b)
{
	ns_u32 syns = (a >> 8) + (b >> 8);

	return (syns < 0xffffff ? syns : 0xffffff) << 8 | ((a | b) & 0xff);
}

/* Add a row to another one of its key and kind. */
NS_INLINE void ns_row_add(struct ns_record *to, const struct ns_record *row)
{
	to->packets += row->packets;
	to->bytes += row->bytes;
	to->tcp = ns_joined_tcp(to->tcp, row->tcp);
	to->credit_packets = ns_saturated32((ns_u64)to->credit_packets + row->credit_packets);
	to->credit_bytes += row->credit_bytes;
	if (to->kind == NS_RECORD_LABEL)
		to->others = ns_saturated32(to->others + 1ULL + row->others);
}

NS_INLINE void ns_merge_expect(const struct ns_merge *merge, struct ns_merging *merging)
{
	merging->row.key.reserved = (ns_u8)merging->row.kind;
	merging->hash = ns_keyindex_hash(&merge->index, &merging->row.key);
	ns_keyindex_expect(&merge->index, merging->hash);
}

/**
 * ns_merge_split - make rows of a record and ask the cache for what adding them will touch
 * @merge: what they will be added to
 * @record: a flow or a label
 * @merging: room for two
 *
 * Return: how many rows, 1 or 2.
 */
NS_INLINE ns_u32 ns_merge_split(const struct ns_merge *merge, const struct ns_record *record,
				struct ns_merging *merging)
{
	struct ns_record *others = &merging[1].row;

	merging[0].row = *record;
	ns_merge_expect(merge, &merging[0]);
	if (record->kind == NS_RECORD_LABEL || !record->others)
		return 1;
	merging[0].row.others = 0;
	*others = *record;
	others->kind = NS_RECORD_LABEL;
	others->packets = record->packets * record->others;
	others->bytes = record->bytes * record->others;
	others->others = record->others - 1;
	others->credit_packets = 0;
	others->credit_bytes = 0;
	ns_merge_expect(merge, &merging[1]);
	return 2;
}

/* Add rows that were split, in their order; there is room for all of them to be new. */
static inline void ns_merge_add(struct ns_merge *merge, const struct ns_merging *merging,
				ns_u32 number)
{
	for (ns_u32 i = 0; i < number; i++)
		ns_keyindex_expect_row(&merge->index, merge->rows, sizeof(*merge->rows),
				       merging[i].hash);
	for (ns_u32 i = 0; i < number; i++) {
		const struct ns_record *row = &merging[i].row;
		ns_u32 at = ns_keyindex_find(&merge->index, merge->rows, sizeof(*merge->rows),
					     merging[i].hash, &row->key);

		if (merge->index.slots[at]) {
			ns_row_add(&merge->rows[ns_keyindex_position(merge->index.slots[at])], row);
			continue;
		}
		merge->index.slots[at] = ns_keyindex_slot(merging[i].hash, merge->used);
		merge->rows[merge->used++] = *row;
	}
}

/* Make records of the rows. */
static inline void ns_merge_end(struct ns_merge *merge)
{
	for (ns_u32 i = 0; i < merge->used; i++)
		merge->rows[i].key.reserved = 0;
}

#endif
