/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fewer records for the same traffic, user space: the heaviest flows stay, and drawn labels stand
 * for the others.
 *
 * What a flow that is left out had becomes what any flow of its main bucket may have (ns_absent):
 * there is one record of a flow, so the largest in a bucket will do, and a flow that stays is
 * credited with as much. Labels are drawn systematically with chances proportional to their packets
 * (Madow 1949; those over the interval stay as they are), so sums of packets, bytes and flows over
 * any choice of keys stay unbiased (Horvitz-Thompson).
 */
#ifndef NS_THIN_H
#define NS_THIN_H

#include "fold.h"
#include "largest.h"
#include "merge.h"

enum { NS_LABEL_SHARE = 8 }; /* of the room, one in so many is for labels */

struct ns_thin {
	const struct ns_config *config; /* places flows */
	struct ns_absent *hidden; /* [NS_DIRECTIONS << lg_buckets], zeroed; most in a bucket */
	struct ns_absent *totals; /* [NS_DIRECTIONS], zeroed: sums of what is left out */
	ns_u64 *weights;	  /* [records], scratch */
	ns_u64 seed;
};

NS_INLINE ns_u64 ns_record_weight(const struct ns_record *record)
{
	return record->packets + (record->bytes >> NS_WEIGHT_BYTES_SHIFT);
}

/* What of a flow's main bucket is left out. */
NS_INLINE struct ns_absent *ns_thin_place(const struct ns_thin *thin, const struct ns_key *key)
{
	ns_u32 lg = thin->config->lg_buckets;
	ns_u32 bucket = ns_main_bucket(ns_fingerprint(thin->config->hash_key, key), lg);

	return &thin->hidden[((ns_u64)(key->direction & 1) << lg) + bucket];
}

/* Leave a flow out: it becomes a label that stands for itself. */
NS_INLINE void ns_thin_hide(const struct ns_thin *thin, struct ns_record *flow)
{
	struct ns_absent *place = ns_thin_place(thin, &flow->key);
	struct ns_absent *total = &thin->totals[flow->key.direction & 1];

	total->packets += flow->packets;
	total->bytes += flow->bytes;
	if (flow->packets > place->packets)
		place->packets = flow->packets;
	if (flow->bytes > place->bytes)
		place->bytes = flow->bytes;
	flow->kind = NS_RECORD_LABEL;
	flow->others = 0;
	flow->credit_packets = 0;
	flow->credit_bytes = 0;
}

/* A flow that stays has nothing of what is left out in its bucket. */
NS_INLINE void ns_thin_credit(const struct ns_thin *thin, struct ns_record *flow)
{
	const struct ns_absent *place = ns_thin_place(thin, &flow->key);

	flow->credit_packets = ns_saturated32(flow->credit_packets + place->packets);
	flow->credit_bytes += place->bytes;
}

/**
 * ns_thin_flows - leave the lightest flows out
 * @thin: how; its hidden and totals are filled
 * @records: merged ones: a flow has one record
 * @n: how many
 * @room: flows that may stay; of equal ones the first
 */
static inline void ns_thin_flows(const struct ns_thin *thin, struct ns_record *records, ns_u32 n,
				 ns_u32 room)
{
	ns_u32 flows = 0, equal = room;
	ns_u64 limit;

	for (ns_u32 i = 0; i < n; i++) {
		if (records[i].kind == NS_RECORD_FLOW)
			thin->weights[flows++] = ns_record_weight(&records[i]);
	}
	if (flows <= room)
		return;
	limit = ns_kth_largest(thin->weights, flows, room);
	for (ns_u32 i = 0; i < flows; i++)
		equal -= thin->weights[i] > limit;
	for (ns_u32 i = 0; i < n; i++) {
		ns_u64 weight = ns_record_weight(&records[i]);

		if (records[i].kind != NS_RECORD_FLOW || weight > limit)
			continue;
		if (weight == limit && equal)
			equal--;
		else
			ns_thin_hide(thin, &records[i]);
	}
	for (ns_u32 i = 0; i < n; i++) {
		if (records[i].kind == NS_RECORD_FLOW)
			ns_thin_credit(thin, &records[i]);
	}
}

/* Uniform in [0, 1), 53 bits; the same for the same seed and number. */
NS_INLINE double ns_draw(ns_u64 seed, ns_u64 number)
{
	return (double)(ns_mix64(ns_mix64(seed) + number) >> 11) * 0x1p-53;
}

/* A whole number that is value on average. */
NS_INLINE ns_u64 ns_rounded(double value, double draw)
{
	return (ns_u64)(value + draw);
}

/* Packets of labels below an interval that leaves room for so many: those over it stay. */
static inline double ns_label_interval(const struct ns_record *records, ns_u32 n, ns_u32 room)
{
	double interval = 0;

	/* Each round takes those over the interval out of what is shared; few are needed. */
	for (ns_u32 round = 0; round < 64; round++) {
		ns_u32 over = 0;
		double below = 0, next;

		for (ns_u32 i = 0; i < n; i++) {
			if (records[i].kind != NS_RECORD_LABEL)
				continue;
			if (round && (double)records[i].packets >= interval)
				over++;
			else
				below += (double)records[i].packets;
		}
		next = over < room ? below / (room - over) : interval;
		if (round && next >= interval)
			break;
		interval = next;
	}
	/* Sums of fractions round: never one draw too many. */
	return interval * (1 + 0x1p-30);
}

/* Let a drawn label stand for an interval of packets. */
NS_INLINE void ns_label_scale(struct ns_record *label, double interval, ns_u64 seed)
{
	double factor = interval / (double)label->packets;
	ns_u64 flows = ns_rounded((label->others + 1.0) * factor, ns_draw(seed, 1));

	label->packets = ns_rounded(interval, ns_draw(seed, 2));
	label->bytes = ns_rounded((double)label->bytes * factor, ns_draw(seed, 3));
	label->others = flows ? ns_saturated32(flows - 1) : 0;
}

/**
 * ns_thin_labels - let fewer labels stand for all
 * @records: flows, which stay, and labels
 * @n: how many
 * @room: labels that may stay, 1 or more
 * @seed: of the draws
 *
 * Return: how many records are left, in their order.
 */
static inline ns_u32 ns_thin_labels(struct ns_record *records, ns_u32 n, ns_u32 room, ns_u64 seed)
{
	ns_u32 labels = 0, kept = 0;
	double interval, next;

	for (ns_u32 i = 0; i < n; i++)
		labels += records[i].kind == NS_RECORD_LABEL;
	if (labels <= room)
		return n;
	interval = ns_label_interval(records, n, room);
	next = interval * ns_draw(seed, 0);
	for (ns_u32 i = 0; i < n; i++) {
		double packets = (double)records[i].packets;

		if (records[i].kind == NS_RECORD_LABEL && packets < interval) {
			next -= packets;
			if (next >= 0)
				continue;
			next += interval;
			ns_label_scale(&records[i], interval, seed + i + 1);
		}
		records[kept++] = records[i];
	}
	return kept;
}

/**
 * ns_thin - keep within so many records
 * @thin: how; its hidden and totals are filled
 * @records: merged ones
 * @n: how many
 * @most: that may be left, NS_LABEL_SHARE or more
 *
 * Return: how many are left.
 */
static inline ns_u32 ns_thin(const struct ns_thin *thin, struct ns_record *records, ns_u32 n,
			     ns_u32 most)
{
	ns_u32 labels = most / NS_LABEL_SHARE;

	if (n <= most)
		return n;
	ns_thin_flows(thin, records, n, most - labels);
	return ns_thin_labels(records, n, labels, thin->seed);
}

#endif
