// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The flow table exactly as the hooks include it: ns_observe() with another key after parsing.
 *
 * Two variants tell what safety under interruption costs. BENCH_NO_SLICE_GUARD leaves out entering
 * and leaving a slice; BENCH_NO_ATOMICS that and the atomic adds. Both are wrong anywhere else.
 */
#include "keys.bpf.h"

#ifdef BENCH_NO_ATOMICS
#define BENCH_NO_SLICE_GUARD
/* Without locked adds nothing orders one packet after another, so the chain must. */
static __always_inline void bench_add64(ns_u64 *at, ns_u64 value)
{
	ns_u64 before = *at;

	*at = before + value;
	bench_depend(before);
}
#define ns_atomic_add32(at, value) (*(at) += (value))
#define ns_atomic_add64(at, value) bench_add64(at, value)
#endif

#include "flowtable.h"

#ifdef BENCH_NO_SLICE_GUARD
/* An eviction looks whether its caller is alone, so the word has to say so. */
#define ns_slice_enter(slice) ((slice)->busy = 1, 1)
#define ns_slice_leave(slice) ns_compiler_barrier()
#endif

static __always_inline int ns_is_mine(const struct ns_view *view, const struct ns_packet *packet)
{
	(void)view;
	(void)packet;
	return 1;
}

static __always_inline enum ns_parsed ns_parse_unusual(const struct ns_view *view,
						       const struct ns_carrier *carrier,
						       struct ns_packet *packet)
{
	return ns_parse_any(view, carrier, packet);
}

#define ns_parse_usual bench_parse
#include "maps.bpf.h"

SEC("?tc")
int bench_table(struct __sk_buff *skb)
{
	struct ns_view view = bench_view(skb);
	struct ns_carrier carrier = bench_carrier(skb);

	ns_observe(&view, &carrier, NS_PARSED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
