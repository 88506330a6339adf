// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The same job on the kernel's hash maps, as flow monitors commonly do it: five-tuple to packets
 * and bytes. Shared maps add atomically, per-CPU ones need not.
 */
#include "keys.bpf.h"

struct bench_counts {
	ns_u64 packets, bytes;
};

#define BENCH_MAP(name, kind)                                                                      \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, 1);                                                            \
		__type(key, struct ns_key);                                                        \
		__type(value, struct bench_counts);                                                \
	} name SEC(".maps")

BENCH_MAP(map_hash, BPF_MAP_TYPE_HASH);
BENCH_MAP(map_lru, BPF_MAP_TYPE_LRU_HASH);
BENCH_MAP(map_percpu, BPF_MAP_TYPE_PERCPU_HASH);
BENCH_MAP(map_lru_percpu, BPF_MAP_TYPE_LRU_PERCPU_HASH);

static __always_inline int bench_count(struct __sk_buff *skb, void *map, int shared)
{
	struct ns_view view = bench_view(skb);
	struct ns_carrier carrier = bench_carrier(skb);
	struct bench_counts *counts, first;
	struct ns_packet packet;

	if (!bench_parse(&view, &carrier, &packet))
		return 0;
	counts = bpf_map_lookup_elem(map, &packet.key);
	if (!counts) {
		first = (struct bench_counts){packet.packets, packet.bytes};
		bpf_map_update_elem(map, &packet.key, &first, BPF_NOEXIST);
		return 0;
	}
	bench_depend(counts->packets);
	if (shared) {
		ns_atomic_add64(&counts->packets, packet.packets);
		ns_atomic_add64(&counts->bytes, packet.bytes);
	} else {
		counts->packets += packet.packets;
		counts->bytes += packet.bytes;
	}
	return 0;
}

SEC("?tc")
int bench_hash(struct __sk_buff *skb)
{
	return bench_count(skb, &map_hash, 1);
}

SEC("?tc")
int bench_lru(struct __sk_buff *skb)
{
	return bench_count(skb, &map_lru, 1);
}

SEC("?tc")
int bench_percpu(struct __sk_buff *skb)
{
	return bench_count(skb, &map_percpu, 0);
}

SEC("?tc")
int bench_lru_percpu(struct __sk_buff *skb)
{
	return bench_count(skb, &map_lru_percpu, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
