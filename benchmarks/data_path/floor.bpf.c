// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The rungs below every table: what a run costs, what parsing adds, what the benchmark's own keys
 * add. `bench_harness` is the zero of all net figures.
 */
#include "keys.bpf.h"

SEC("?tc")
int bench_empty(struct __sk_buff *skb)
{
	(void)skb;
	return 0;
}

SEC("?tc")
int bench_parsing(struct __sk_buff *skb)
{
	struct ns_view view = bench_view(skb);
	struct ns_carrier carrier = bench_carrier(skb);
	struct ns_packet packet;

	if (ns_parse_usual(&view, &carrier, &packet))
		BENCH_USE(packet);
	return 0;
}

SEC("?tc")
int bench_harness(struct __sk_buff *skb)
{
	struct ns_view view = bench_view(skb);
	struct ns_carrier carrier = bench_carrier(skb);
	struct ns_packet packet;

	if (bench_parse(&view, &carrier, &packet))
		BENCH_USE(packet);
	return 0;
}

static const volatile ns_u64 bench_secret[NS_HASH_WORDS] = {1, 2, 3, 4, 5, 6, 7, 8};

SEC("?tc")
int bench_fingerprint(struct __sk_buff *skb)
{
	struct ns_view view = bench_view(skb);
	struct ns_carrier carrier = bench_carrier(skb);
	const ns_u64 *secret = (const ns_u64 *)bench_secret;
	struct ns_packet packet;

	__asm__ volatile("" : "+r"(secret)); /* as ns_constants() has it */
	if (bench_parse(&view, &carrier, &packet)) {
		ns_u64 fingerprint = ns_fingerprint(secret, &packet.key);

		BENCH_USE(fingerprint);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
