/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps every hook shares, and the one way to count a packet into them. A hook defines struct
 * ns_view, ns_view_at(), ns_view_words(), ns_parse_unusual() and ns_is_mine() before it includes
 * this file. Arrays are mmapable, so
 * user space reads them without a system call; their sizes are set before load from the number of
 * CPUs and buckets.
 */
#ifndef NS_MAPS_BPF_H
#define NS_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flowtable.h"
#include "link.h"

const volatile struct ns_config ns_config = {};

/* The constants by way of one pointer of which the compiler knows nothing: else it loads their
 * address, ten bytes of code, for each of them. */
static __always_inline const struct ns_config *ns_constants(void)
{
	const struct ns_config *at = (const struct ns_config *)&ns_config;

	__asm__ volatile("" : "+r"(at));
	return at;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, struct ns_control);
} ns_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, struct ns_slice);
} ns_slices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, struct ns_hot);
} ns_hot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, struct ns_cold);
} ns_cold SEC(".maps");

/*
 * Updating this map from user space returns after an RCU grace period (maybe_wait_bpf_programs(),
 * kernel commit 1ae80cf31938): every program that read the old epoch has ended by then.
 */
struct ns_barrier_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, ns_u32);
} ns_barrier_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__array(values, struct ns_barrier_inner);
} ns_barrier SEC(".maps") = {.values = {&ns_barrier_inner}};

/* Count a packet that belongs to a flow into its slice. */
static __always_inline void ns_count(struct ns_slice *slice, ns_u32 slice_index,
				     struct ns_control control, const struct ns_packet *packet)
{
	const struct ns_config *config = ns_constants();
	ns_u64 fingerprint = ns_fingerprint(config->hash_key, &packet->key);
	ns_u32 index = (slice_index << config->lg_buckets) +
		       ns_bucket_index(fingerprint, config->lg_buckets, control.sample_shift);
	struct ns_hot *hot = bpf_map_lookup_elem(&ns_hot, &index);
	struct ns_cold *cold;
	int alone;

	if (NS_UNLIKELY(!hot)) {
		ns_atomic_add64(&slice->drops[NS_DROP_NO_BUCKET], packet->packets);
		return;
	}
	alone = ns_slice_enter(slice);
	if (NS_UNLIKELY(!ns_hot_hit(hot, control.epoch, fingerprint, packet, alone))) {
		cold = alone ? bpf_map_lookup_elem(&ns_cold, &index) : (void *)0;
		if (!cold || !ns_insert(slice, hot, cold, fingerprint, packet))
			ns_slice_contended(slice, packet);
	}
	ns_slice_leave(slice);
}

/* The constants are known when the program is verified: what was not asked for costs nothing. */
static __always_inline int ns_is_excluded(const struct ns_packet *packet)
{
	return ns_config.encapsulated == NS_ENCAPSULATED_EXCLUDE &&
	       ns_carries_another(&packet->key);
}

/*
 * Parse a packet and count it, or count why it belongs to no flow. @found is what finding its IP
 * header gave. A hook that sees other hosts' packets says in ns_is_mine() which are this one's.
 */
static __always_inline void ns_observe(const struct ns_view *view, const struct ns_carrier *carrier,
				       enum ns_parsed found)
{
	ns_u32 zero = 0, slice_index;
	const struct ns_control *written = bpf_map_lookup_elem(&ns_control, &zero);
	struct ns_control control;
	struct ns_packet packet;
	struct ns_slice *slice;
	enum ns_parsed parsed;

	if (NS_UNLIKELY(!written))
		return;
	control = ns_read_control(written);
	slice_index = ns_slice_index(bpf_get_smp_processor_id(), carrier->direction, control.epoch);
	slice = bpf_map_lookup_elem(&ns_slices, &slice_index);
	if (NS_UNLIKELY(!slice))
		return;
	parsed = found;
	if (NS_LIKELY(parsed == NS_PARSED) && !NS_LIKELY(ns_parse_usual(view, carrier, &packet)))
		parsed = ns_parse_unusual(view, carrier, &packet);
	if (NS_UNLIKELY(parsed != NS_PARSED))
		ns_atomic_add64(&slice->drops[ns_drop_cause(parsed)], 1);
	else if (!ns_is_excluded(&packet) && ns_is_mine(view, &packet))
		ns_count(slice, slice_index, control, &packet);
}

#endif
