/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a closed slice: its flows as records, and what it adds up to.
 */
#ifndef NS_FOLD_H
#define NS_FOLD_H

#include "flowtable.h"

enum { NS_RECORDS_PER_BUCKET = NS_WAYS + 1 };

/* The label stands for all its bucket spilled: each packet's flow was drawn with equal chance, so
 * packets scale by spill / label, and bytes with them (Horvitz-Thompson). */
NS_INLINE void ns_fold_label(const struct ns_hot *hot, const struct ns_cold *cold,
			     struct ns_record *record)
{
	ns_u32 packets = cold->label.packets ? cold->label.packets : 1;

	record->key = cold->label_key;
	record->packets = hot->spill_packets;
	record->bytes = cold->label.bytes / packets * hot->spill_packets;
	record->tcp = cold->label.tcp;
	record->kind = NS_RECORD_LABEL;
}

/**
 * ns_fold_bucket - write a bucket's flows as records
 * @hot: bucket of a closed epoch
 * @cold: same bucket
 * @epoch: the closed epoch; a bucket of another one is empty
 * @records: room for NS_RECORDS_PER_BUCKET
 * @tally: what to add the bucket's counts to
 *
 * Return: number of records written.
 */
NS_INLINE ns_u32 ns_fold_bucket(const struct ns_hot *hot, const struct ns_cold *cold, ns_u32 epoch,
				struct ns_record *records, struct ns_tally *tally)
{
	ns_u32 written = 0;

	if (hot->epoch != epoch)
		return 0;
	tally->used_buckets++;
	for (ns_u32 lane = 0; lane < NS_WAYS; lane++) {
		const struct ns_slot *slot = &hot->slot[lane];

		if (!hot->tag[lane])
			continue;
		records[written++] = (struct ns_record){
			.key = cold->key[lane],
			.packets = slot->packets,
			.bytes = slot->bytes,
			.tcp = slot->tcp,
			.kind = NS_RECORD_FLOW,
		};
		tally->packets += slot->packets;
		tally->bytes += slot->bytes;
	}
	if (hot->spill_packets) {
		ns_fold_label(hot, cold, &records[written++]);
		tally->packets += hot->spill_packets;
		tally->bytes += hot->spill_bytes;
		tally->spilled_packets += hot->spill_packets;
		tally->spilled_bytes += hot->spill_bytes;
		tally->spilled_buckets++;
	}
	return written;
}

/* Add a slice's own counters, which are cumulative. */
NS_INLINE void ns_fold_slice(const struct ns_slice *slice, struct ns_tally *tally)
{
	tally->contended_packets += slice->contended_packets;
	tally->contended_bytes += slice->contended_bytes;
	tally->inserts += slice->inserts;
	for (ns_u32 cause = 0; cause < NS_DROP_CAUSES; cause++)
		tally->drops[cause] += slice->drops[cause];
}

#endif
