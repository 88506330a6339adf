/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Certified Flow Table: set-associative buckets of eight flows, Space-Saving replacement
 * within a bucket, and the mass of replaced flows kept per bucket, so that every flow has proven
 * bounds and packets and bytes are conserved.
 *
 * Guarantees for a bucket (Metwally et al., Space-Saving, ICDT 2005, with weight
 * w = packets + bytes / 256 per packet): a flow's weight is at most its priority, and a flow that
 * is absent weighs at most the smallest priority; a present flow's packets lie in [slot, slot +
 * spill]; a bucket that never spilled is exact and complete. fold.h makes bounds of that.
 *
 * Re-entrancy. A slice belongs to one CPU, but a context may be interrupted by another on that CPU
 * (process by softirq) or preempted by one. `busy` counts the contexts inside. Whoever finds
 * itself alone may insert; anyone else only adds to flows that are present, atomically, and a new
 * flow it brings goes to the slice's contended counters: counted, in no flow. Eviction takes the
 * lane's tag away *before* it looks at `busy` again: a context inside by then may have matched the
 * lane, so the eviction is given up; one that enters later cannot match it any more. So no
 * interleaving loses, doubles or misfiles a count.
 */
#ifndef NS_FLOWTABLE_H
#define NS_FLOWTABLE_H

#include "hash.h"
#include "hll.h"
#include "usual.h"

enum { NS_NO_LANE = NS_WAYS, NS_WEIGHT_BYTES_SHIFT = 8 };

/* Index of a slice: each CPU has one for each direction and parity. */
NS_INLINE ns_u32 ns_slice_index(ns_u32 cpu, ns_u32 direction, ns_u32 epoch)
{
	return (cpu * NS_DIRECTIONS + direction) * NS_PARITIES + (epoch & 1);
}

/* The epoch after this one. Never 0, the epoch of a bucket that was never used; parities go on
 * alternating. */
NS_INLINE ns_u32 ns_next_epoch(ns_u32 epoch)
{
	return epoch + 1 ? epoch + 1 : 2;
}

/* The last eighth of the buckets is the sample region. */
NS_INLINE ns_u32 ns_main_buckets(ns_u32 lg_buckets)
{
	return (1u << lg_buckets) - (1u << lg_buckets >> 3);
}

NS_INLINE ns_u32 ns_main_bucket(ns_u64 fingerprint, ns_u32 lg_buckets)
{
	return (ns_u32)(((fingerprint >> 26 & 0xffffffff) * ns_main_buckets(lg_buckets)) >> 32);
}

NS_INLINE ns_u32 ns_sample_bucket(ns_u64 fingerprint, ns_u32 lg_buckets)
{
	ns_u32 sample = 1u << lg_buckets >> 3;

	return ns_main_buckets(lg_buckets) + ((ns_u32)(fingerprint >> 32) & (sample - 1));
}

/* Whether the flow is one of the 1 in 2^sample_shift that live in the sample region. */
NS_INLINE int ns_sampled(ns_u64 fingerprint, ns_u32 sample_shift)
{
	return fingerprint >> (64 - sample_shift) == 0;
}

/**
 * ns_bucket_index - bucket of a flow within its slice
 * @fingerprint: of the flow
 * @lg_buckets: of the slice, 3 to 16
 * @sample_shift: 1 to 32; few flows are sampled, so their region stays unspilled, hence exact, long
 *	after the main region is overrun
 *
 * Return: 0 <= index < 2^lg_buckets.
 */
NS_INLINE ns_u32 ns_bucket_index(ns_u64 fingerprint, ns_u32 lg_buckets, ns_u32 sample_shift)
{
	return ns_sampled(fingerprint, sample_shift) ? ns_sample_bucket(fingerprint, lg_buckets)
						     : ns_main_bucket(fingerprint, lg_buckets);
}

/* Read what user space wrote as one word: the epoch and what goes with it. */
NS_INLINE struct ns_control ns_read_control(const struct ns_control *control)
{
	ns_u64 word = ns_load64((const ns_u64 *)control);

	return (struct ns_control){.epoch = (ns_u32)word, .sample_shift = (ns_u32)(word >> 32)};
}

NS_INLINE ns_u32 ns_weight(const struct ns_packet *packet)
{
	return packet->packets + (ns_u32)(packet->bytes >> NS_WEIGHT_BYTES_SHIFT);
}

NS_INLINE ns_u16 ns_tag(ns_u64 fingerprint)
{
	return (ns_u16)(fingerprint | 1);
}

/* Mark the lanes of four tags that are zero with their highest bit; exact, no false lanes. */
NS_INLINE ns_u64 ns_zero_lanes(ns_u64 word)
{
	const ns_u64 low = 0x7fff7fff7fff7fffULL;

	return ~(((word & low) + low) | word | low);
}

/* Mark the lanes whose tag is @tag, all eight in one word: lane i of the first four at bit 16 i, of
 * the others at 16 i + 8. */
NS_INLINE ns_u64 ns_lanes_with(const struct ns_hot *hot, ns_u16 tag)
{
	const ns_u64 *words = (const ns_u64 *)hot->tag;
	const ns_u64 pattern = tag * 0x0001000100010001ULL;

	return ns_zero_lanes(ns_load64(&words[0]) ^ pattern) >> 15 |
	       ns_zero_lanes(ns_load64(&words[1]) ^ pattern) >> 7;
}

/* Lane of the lowest mark of ns_lanes_with(), not 0. BPF has no count-trailing-zeros: the lowest
 * mark moves the lane's number, at its place in the factor, to the top. */
NS_INLINE ns_u32 ns_marked_lane(ns_u64 marks)
{
	const ns_u64 lanes = 1ULL << 45 | 2ULL << 29 | 3ULL << 13 | 4ULL << 53 | 5ULL << 37 |
			     6ULL << 21 | 7ULL << 5;

	return (ns_u32)((marks & -marks) * lanes >> 61);
}

NS_INLINE ns_u32 ns_find_lane(const struct ns_hot *hot, ns_u64 fingerprint)
{
	ns_u64 marks = ns_lanes_with(hot, ns_tag(fingerprint));
	ns_u32 lane = ns_marked_lane(marks);

	if (NS_LIKELY(marks && hot->slot[lane].fingerprint == fingerprint))
		return lane;
	for (ns_u32 i = 1; i < NS_WAYS; i++) {
		marks &= marks - 1;
		if (!marks)
			break;
		lane = ns_marked_lane(marks);
		if (hot->slot[lane].fingerprint == fingerprint)
			return lane;
	}
	return NS_NO_LANE;
}

NS_INLINE ns_u32 ns_empty_lane(const struct ns_hot *hot)
{
	const ns_u64 *words = (const ns_u64 *)hot->tag;
	ns_u64 marks = ns_zero_lanes(ns_load64(&words[0])) >> 15;

	if (!marks)
		marks = ns_zero_lanes(ns_load64(&words[1])) >> 7;
	return marks ? ns_marked_lane(marks) : NS_NO_LANE;
}

NS_INLINE ns_u32 ns_lowest_priority(const struct ns_hot *hot)
{
	ns_u32 lane = 0, lowest = hot->priority[0];

	for (ns_u32 i = 1; i < NS_WAYS; i++) {
		if (hot->priority[i] < lowest) {
			lowest = hot->priority[i];
			lane = i;
		}
	}
	return lane;
}

/* Enter a slice; returns whether the caller is alone in it. Every enter needs a leave. */
NS_INLINE int ns_slice_enter(struct ns_slice *slice)
{
	ns_atomic_add64(&slice->busy, 1);
	ns_compiler_barrier();
	return ns_load64(&slice->busy) == 1;
}

NS_INLINE void ns_slice_leave(struct ns_slice *slice)
{
	ns_compiler_barrier();
	ns_atomic_add64(&slice->busy, (ns_u64)-1);
}

/* Conserve a packet whose flow could not be entered. */
NS_INLINE void ns_slice_contended(struct ns_slice *slice, const struct ns_packet *packet)
{
	ns_atomic_add64(&slice->contended_packets, packet->packets);
	ns_atomic_add64(&slice->contended_bytes, packet->bytes);
}

/* Flags are set by a byte store that leaves the SYN count beside them alone. */
NS_INLINE void ns_slot_tcp(struct ns_slot *slot, ns_u32 tcp)
{
	ns_u8 *flags = (ns_u8 *)&slot->tcp;

	if (tcp >= NS_TCP_SYN_ONE)
		ns_atomic_add32(&slot->tcp, tcp & ~0xffu);
	if ((*flags | tcp) & 0xff & ~(ns_u32)*flags)
		*flags |= (ns_u8)tcp;
}

/**
 * ns_hot_hit - count a packet of a flow that is present
 * @hot: the flow's bucket
 * @epoch: current epoch, read once for the packet
 * @fingerprint: of the flow
 * @packet: what to add
 * @alone: what ns_slice_enter() returned
 *
 * Resets a bucket left over from an older epoch when @alone: user space never writes buckets.
 *
 * Return: 1 when counted; 0 when the flow is not present.
 */
NS_INLINE int ns_hot_hit(struct ns_hot *hot, ns_u32 epoch, ns_u64 fingerprint,
			 const struct ns_packet *packet, int alone)
{
	ns_u32 lane;

	if (NS_UNLIKELY(ns_load32(&hot->epoch) != epoch)) {
		if (alone) {
			__builtin_memset(hot, 0, __builtin_offsetof(struct ns_hot, slot));
			ns_compiler_barrier();
			hot->epoch = epoch;
		}
		return 0;
	}
	lane = ns_find_lane(hot, fingerprint);
	if (NS_UNLIKELY(lane >= NS_WAYS))
		return 0;
	ns_atomic_add32(&hot->slot[lane].packets, packet->packets);
	ns_atomic_add64(&hot->slot[lane].bytes, packet->bytes);
	ns_atomic_add32(&hot->priority[lane], ns_weight(packet));
	if (packet->tcp) /* of UDP never */
		ns_slot_tcp(&hot->slot[lane], packet->tcp);
	return 1;
}

/* Move a lane's flow to the spill; returns 0 when another context may be using the lane. */
NS_INLINE int ns_evict(struct ns_slice *slice, struct ns_hot *hot, struct ns_cold *cold,
		       ns_u32 lane, ns_u64 fingerprint)
{
	ns_u16 tag = hot->tag[lane];
	const struct ns_slot *victim = &hot->slot[lane];
	ns_u32 spill;
	ns_u64 draw;

	*(volatile ns_u16 *)&hot->tag[lane] = 0;
	ns_compiler_barrier();
	if (ns_load64(&slice->busy) != 1) {
		*(volatile ns_u16 *)&hot->tag[lane] = tag;
		return 0;
	}
	spill = hot->spill_packets + victim->packets;
	hot->spill_packets = spill;
	hot->spill_bytes += victim->bytes;
	/*
	 * Weighted reservoir of one (Chao 1982): the label is each spilled packet's flow with equal
	 * chance. The draw comes from the keyed fingerprint of the newcomer, so the same packets
	 * give the same table and no helper is called.
	 */
	draw = ns_mix64(fingerprint + spill) >> 32;
	if ((draw * spill) >> 32 < victim->packets) {
		cold->label = *victim;
		cold->label_key = cold->key[lane];
	}
	return 1;
}

/**
 * ns_insert - give a flow that is not present a lane
 * @slice: of @hot
 * @hot: the flow's bucket, of the current epoch
 * @cold: same bucket
 * @fingerprint: of the flow
 * @packet: its packet
 *
 * Only for a caller that is alone in the slice. The newcomer inherits the priority of the flow it
 * replaces, as Space-Saving wants.
 *
 * Return: 1 when counted; 0 when the lane to replace may be in use.
 */
NS_INLINE int ns_insert(struct ns_slice *slice, struct ns_hot *hot, struct ns_cold *cold,
			ns_u64 fingerprint, const struct ns_packet *packet)
{
	ns_u32 lane = ns_empty_lane(hot);
	ns_u32 inherited = 0;

	if (lane >= NS_WAYS) {
		lane = ns_lowest_priority(hot) & (NS_WAYS - 1);
		inherited = hot->priority[lane];
		if (!ns_evict(slice, hot, cold, lane, fingerprint))
			return 0;
	}
	lane &= NS_WAYS - 1;
	cold->key[lane] = packet->key;
	hot->slot[lane].fingerprint = fingerprint;
	hot->slot[lane].bytes = packet->bytes;
	hot->slot[lane].packets = packet->packets;
	hot->slot[lane].tcp = packet->tcp;
	hot->priority[lane] = inherited + ns_weight(packet);
	ns_compiler_barrier();
	*(volatile ns_u16 *)&hot->tag[lane] = ns_tag(fingerprint);
	slice->inserts++;
	ns_hll_add(slice->distinct, hot->epoch, fingerprint);
	return 1;
}

#endif
