/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a closed slice: its flows as records, and what it adds up to.
 */
#ifndef NS_FOLD_H
#define NS_FOLD_H

#include "flowtable.h"

enum { NS_RECORDS_PER_BUCKET = NS_WAYS + 1 };

/* Flows that a label stands for: spill / own packets, rounded up or down by a draw so that it is
 * right on average. */
NS_INLINE ns_u32 ns_label_flows(ns_u32 spill_packets, ns_u32 own_packets, ns_u64 fingerprint)
{
	ns_u64 draw = (ns_mix64(fingerprint ^ spill_packets) >> 32) * own_packets >> 32;
	ns_u64 flows = (spill_packets + draw) / own_packets;

	return flows ? (ns_u32)flows : 1;
}

/* The label stands for all its bucket spilled: each packet's flow was drawn with equal chance, so
 * packets scale by spill / label, and bytes and flows with them (Horvitz-Thompson). */
NS_INLINE void ns_fold_label(const struct ns_hot *hot, const struct ns_cold *cold,
			     struct ns_record *record)
{
	ns_u32 packets = cold->label.packets ? cold->label.packets : 1;

	record->key = cold->label_key;
	record->packets = hot->spill_packets;
	record->bytes = cold->label.bytes / packets * hot->spill_packets;
	record->tcp = cold->label.tcp;
	record->kind = NS_RECORD_LABEL;
	record->credit_packets = 0;
	record->credit_bytes = 0;
	record->others = ns_label_flows(hot->spill_packets, packets, cold->label.fingerprint) - 1;
}

NS_INLINE ns_u64 ns_least(ns_u64 a, ns_u64 b)
{
	return a < b ? a : b;
}

/* Most bytes of packets that weigh so much: ns_weight() takes less than 256 bytes off each packet,
 * and adds one for it. */
NS_INLINE ns_u64 ns_bytes_within(ns_u64 weight)
{
	return weight << NS_WEIGHT_BYTES_SHIFT;
}

/**
 * ns_bucket_absent - what a flow may have that a closed bucket does not hold
 * @hot: the bucket
 *
 * It was replaced for the last time, if ever, when its priority was the smallest, and priorities
 * only grow, so its weight is at most the smallest one now. All it had is in the spill.
 */
NS_INLINE struct ns_absent ns_bucket_absent(const struct ns_hot *hot)
{
	struct ns_absent absent = {0};
	ns_u64 lowest;

	if (!hot->spill_packets)
		return absent;
	lowest = hot->priority[ns_lowest_priority(hot) & (NS_WAYS - 1)];
	absent.packets = ns_least(hot->spill_packets, lowest);
	absent.bytes = ns_least(hot->spill_bytes, ns_bytes_within(lowest));
	return absent;
}

/**
 * ns_credit - what a present flow, other than an absent one, cannot have beside its slot
 * @slot: of the flow
 * @priority: of the flow: the weight in its slot and what it inherited
 * @absent: of its bucket
 * @record: whose credit is set
 *
 * What it had before it came (back) weighs at most what it inherited. The weight in the slot is not
 * kept; each packet's bytes lose at most 255 to rounding, so it is at least
 * packets + (bytes - 255 * packets) / 256.
 */
NS_INLINE void ns_credit(const struct ns_slot *slot, ns_u32 priority,
			 const struct ns_absent *absent, struct ns_record *record)
{
	ns_u64 rounded = slot->packets * 255ULL;
	ns_u64 own = slot->packets;
	ns_u64 inherited;

	if (slot->bytes > rounded)
		own += (slot->bytes - rounded) >> NS_WEIGHT_BYTES_SHIFT;
	inherited = priority > own ? priority - own : 0;
	record->credit_packets = (ns_u32)(absent->packets - ns_least(absent->packets, inherited));
	record->credit_bytes = absent->bytes - ns_least(absent->bytes, ns_bytes_within(inherited));
}

/**
 * ns_fold_bucket - write a bucket's flows as records
 * @hot: bucket of a closed epoch
 * @cold: same bucket
 * @epoch: the closed epoch; a bucket of another one is empty
 * @records: room for NS_RECORDS_PER_BUCKET
 * @tally: what to add the bucket's counts to
 * @absent: what to add the bucket's bound on absent flows to
 *
 * Return: number of records written.
 */
NS_INLINE ns_u32 ns_fold_bucket(const struct ns_hot *hot, const struct ns_cold *cold, ns_u32 epoch,
				struct ns_record *records, struct ns_tally *tally,
				struct ns_absent *absent)
{
	struct ns_absent here;
	ns_u32 written = 0;

	if (hot->epoch != epoch)
		return 0;
	here = ns_bucket_absent(hot);
	absent->packets += here.packets;
	absent->bytes += here.bytes;
	tally->used_buckets++;
	for (ns_u32 lane = 0; lane < NS_WAYS; lane++) {
		const struct ns_slot *slot = &hot->slot[lane];

		if (!hot->tag[lane])
			continue;
		records[written] = (struct ns_record){
			.key = cold->key[lane],
			.packets = slot->packets,
			.bytes = slot->bytes,
			.tcp = slot->tcp,
			.kind = NS_RECORD_FLOW,
		};
		ns_credit(slot, hot->priority[lane], &here, &records[written++]);
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

/* Join a closed slice's registers with those of other CPUs: a flow counts once. */
NS_INLINE void ns_fold_distinct(const struct ns_slice *slice, ns_u32 epoch, ns_u8 *ranks)
{
	for (ns_u32 i = 0; i < NS_HLL_REGISTERS; i++) {
		ns_u32 rank = ns_hll_read(slice->distinct[i], epoch);

		if (rank > ranks[i])
			ranks[i] = (ns_u8)rank;
	}
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
