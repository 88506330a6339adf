/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every rung of the ladder shares: a view of a packet that lies in one piece, and a new flow
 * key for each run, made inside the program. A repeated run of one packet would find its key in the
 * first-level cache each time and flatter every table by up to ten times.
 */
#ifndef NS_BENCH_KEYS_BPF_H
#define NS_BENCH_KEYS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "port.h"

#define NS_VIEW_DEFINED
struct ns_view {
	const ns_u8 *start, *end;
};

enum { BENCH_MAX_OFFSET = 0xffff };

static __always_inline const ns_u8 *ns_view_at(const struct ns_view *view, ns_u32 offset,
					       ns_u8 *scratch, ns_u32 size)
{
	const ns_u8 *at;

	(void)scratch;
	if (offset > BENCH_MAX_OFFSET)
		return (const ns_u8 *)0;
	at = view->start + offset;
	return at + size > view->end ? (const ns_u8 *)0 : at;
}

static __always_inline const ns_u8 *ns_view_words(const struct ns_view *view, ns_u32 offset,
						  ns_u32 size)
{
	return ns_view_at(view, offset, (ns_u8 *)0, size);
}

#include "hash.h"
#include "usual.h"

enum bench_mode {
	BENCH_UNIFORM = 0, /* any of mask + 1 flows, in a scrambled order */
	BENCH_TABLE = 1,   /* flows drawn beforehand, for instance by Zipf's law */
	BENCH_FRESH = 2,   /* every packet a new flow */
};

enum { BENCH_TABLE_ENTRIES = 1 << 20, BENCH_ETHERNET_BYTES = 14 };

struct bench_keys {
	ns_u32 mode;
	ns_u32 mask;
	ns_u64 counter;
	ns_u32 table[BENCH_TABLE_ENTRIES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, ns_u32);
	__type(value, struct bench_keys);
} bench_keys SEC(".maps");

static __always_inline struct bench_keys *bench_keys_map(void)
{
	ns_u32 zero = 0;

	return bpf_map_lookup_elem(&bench_keys, &zero);
}

/*
 * Make the next key wait for a value that the table under test has just read: packets of a real
 * host are far apart, so a table may not hide its cache misses behind the next packet's work. The
 * flow table needs no call: its atomic adds already order all memory accesses (on x86).
 */
static __always_inline void bench_depend(ns_u64 value)
{
	struct bench_keys *keys = bench_keys_map();

	__asm__ volatile("%0 &= 0" : "+r"(value));
	if (keys)
		keys->counter += value;
}

/* The flow of a packet. Its lowest bit is its direction: a host has flows of both. */
static __always_inline ns_u32 bench_flow(const struct bench_keys *keys, ns_u64 count)
{
	if (keys->mode == BENCH_UNIFORM)
		return (ns_u32)ns_mix64(count) & keys->mask;
	if (keys->mode == BENCH_TABLE)
		return keys->table[count & (BENCH_TABLE_ENTRIES - 1)];
	return (ns_u32)count;
}

static __always_inline void bench_next_key(struct ns_key *key)
{
	struct bench_keys *keys = bench_keys_map();
	ns_u64 scattered;

	if (!keys)
		return;
	scattered = bench_flow(keys, keys->counter++) * 0x9e3779b97f4a7c15ULL;
	*(ns_u32 *)(key->src + 12) ^= (ns_u32)(scattered >> 32);
	key->sport ^= (ns_u16)scattered;
}

/* ns_parse_usual(), and then the key of another flow. The benchmark's packet is a usual one. */
static __always_inline int bench_parse(const struct ns_view *view, const struct ns_carrier *carrier,
				       struct ns_packet *packet)
{
	int parsed = ns_parse_usual(view, carrier, packet);

	if (parsed)
		bench_next_key(&packet->key);
	return parsed;
}

static __always_inline struct ns_view bench_view(struct __sk_buff *skb)
{
	return (struct ns_view){
		.start = (const ns_u8 *)(long)skb->data,
		.end = (const ns_u8 *)(long)skb->data_end,
	};
}

static __always_inline struct ns_carrier bench_carrier(struct __sk_buff *skb)
{
	const struct bench_keys *keys = bench_keys_map();

	return (struct ns_carrier){
		.direction = keys ? bench_flow(keys, keys->counter) & 1 : 0,
		.l3_offset = BENCH_ETHERNET_BYTES,
		.l3_bytes = skb->len - BENCH_ETHERNET_BYTES,
	};
}

/* Keep the compiler from dropping work whose result nobody uses. */
#define BENCH_USE(object) __asm__ volatile("" ::"r"(&(object)) : "memory")

#endif
