/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many distinct others each key had in a window that slides tick by tick, user space. Each pair
 * (key, other) is remembered with the tick it was last seen in; pairs stand in the order of that
 * tick, so what leaves the window is always at the old end and costs as much as it cost to come.
 *
 * When there is no room, the oldest pair goes before its time, and the window begins later for
 * everybody: ns_sliding_spread.whole_from. Whatever the traffic was, a pair seen in a tick from
 * there on counts exactly once.
 */
#ifndef NS_SLIDING_SPREAD_H
#define NS_SLIDING_SPREAD_H

#include "keyset.h"

struct ns_spread_pair {
	struct ns_key flow; /* the first one of the pair */
	ns_u64 packets;	    /* of all its flows since then */
	ns_u64 bytes;
	ns_u64 tick;   /* last seen */
	ns_u32 key;    /* its key's slot */
	ns_u32 others; /* pairs like it that are estimated and not seen */
	ns_u32 older;  /* slots of its neighbours in time; + 1, 0: none */
	ns_u32 newer;
};

struct ns_spread_of {
	ns_u64 others; /* sum of its pairs' */
	ns_u32 pairs;  /* 0: a free slot */
	ns_u32 reserved;
};

struct ns_sliding_spread {
	struct ns_keyset keys;	     /* as many as pairs */
	struct ns_spread_of *spread; /* by slot of keys */
	struct ns_keyset pair_keys;
	struct ns_spread_pair *pairs; /* by slot of pair_keys */
	struct ns_key by[2];	      /* masks of the key, of IPv4 and of IPv6 */
	struct ns_key both[2];	      /* masks of key and other together */
	ns_u64 window_ticks;
	ns_u64 tick;	   /* the last that was added */
	ns_u64 whole_from; /* first tick from which on no pair was let go before its time */
	ns_u64 let_go;	   /* pairs of the last tick that were, when whole_from is after it */
	ns_u32 oldest;	   /* slots of pairs; + 1, 0: none */
	ns_u32 newest;
};

static inline void ns_spread_unlink(struct ns_sliding_spread *table, ns_u32 slot)
{
	struct ns_spread_pair *pair = &table->pairs[slot];

	*(pair->older ? &table->pairs[pair->older - 1].newer : &table->oldest) = pair->newer;
	*(pair->newer ? &table->pairs[pair->newer - 1].older : &table->newest) = pair->older;
}

static inline void ns_spread_link(struct ns_sliding_spread *table, ns_u32 slot)
{
	struct ns_spread_pair *pair = &table->pairs[slot];

	pair->older = table->newest;
	pair->newer = 0;
	*(table->newest ? &table->pairs[table->newest - 1].newer : &table->oldest) = slot + 1;
	table->newest = slot + 1;
}

static inline void ns_spread_forget(struct ns_sliding_spread *table, ns_u32 slot)
{
	struct ns_spread_pair *pair = &table->pairs[slot];
	struct ns_spread_of *spread = &table->spread[pair->key];

	spread->others -= pair->others;
	if (!--spread->pairs)
		ns_keyset_remove(&table->keys, pair->key);
	ns_spread_unlink(table, slot);
	ns_keyset_remove(&table->pair_keys, slot);
}

/* Let go of what the window that ends with this tick does not reach. Ticks never go back. */
static inline void ns_spread_advance(struct ns_sliding_spread *table, ns_u64 tick)
{
	if (tick != table->tick)
		table->let_go = 0;
	table->tick = tick;
	while (table->oldest && table->pairs[table->oldest - 1].tick + table->window_ticks <= tick)
		ns_spread_forget(table, table->oldest - 1);
}

static inline void ns_spread_make_room(struct ns_sliding_spread *table)
{
	ns_u64 tick = table->pairs[table->oldest - 1].tick;

	table->whole_from = tick + 1;
	table->let_go += tick == table->tick;
	ns_spread_forget(table, table->oldest - 1);
}

static inline ns_u32 ns_spread_begin(struct ns_sliding_spread *table,
				     const struct ns_record *record, const struct ns_key *both)
{
	struct ns_key key = ns_masked(&record->key, table->by);
	ns_u32 slot, at;

	if (table->pair_keys.live == table->pair_keys.capacity)
		ns_spread_make_room(table);
	at = ns_keyset_find(&table->keys, &key);
	if (!at) {
		at = ns_keyset_put(&table->keys, &key) + 1;
		table->spread[at - 1] = (struct ns_spread_of){.pairs = 0};
	}
	slot = ns_keyset_put(&table->pair_keys, both);
	table->spread[at - 1].pairs++;
	table->pairs[slot] =
		(struct ns_spread_pair){.flow = record->key, .tick = table->tick, .key = at - 1};
	ns_spread_link(table, slot);
	return slot;
}

/*
 * Pairs that one stands for. One that is seen in a second tick lives long: others like it are seen
 * too, sooner or later, and standing for them would count them again.
 */
static inline void ns_spread_stand_for(struct ns_sliding_spread *table, struct ns_spread_pair *pair,
				       ns_u32 others)
{
	if (pair->tick != table->tick)
		others = 0;
	else if (others < pair->others)
		others = pair->others;
	table->spread[pair->key].others += (ns_u64)others - pair->others;
	pair->others = others;
}

/**
 * ns_spread_expect - ask the cache for what adding records will touch
 * @table: the table
 * @records: the records
 * @used: how many, at most NS_KEY_BATCH
 */
static inline void ns_spread_expect(const struct ns_sliding_spread *table,
				    const struct ns_record *const *records, ns_u32 used)
{
	const ns_u32 *heads[NS_KEY_BATCH];

	for (ns_u32 i = 0; i < used; i++) {
		struct ns_key both = ns_masked(&records[i]->key, table->both);

		heads[i] = ns_keyset_expect(&table->pair_keys, &both);
	}
	for (ns_u32 i = 0; i < used; i++) {
		const struct ns_spread_pair *pair = table->pairs + (*heads[i] ? *heads[i] - 1 : 0);

		__builtin_prefetch(&table->pair_keys.keys[pair - table->pairs]);
		__builtin_prefetch(&pair->packets, 1);
		__builtin_prefetch(&pair->newer, 1);
	}
}

/**
 * ns_spread_add - add a record of the tick that the window ends with
 * @table: the table, advanced to that tick
 * @record: a flow, or a label: one flow that was seen, and an estimate of others like it
 */
static inline void ns_spread_add(struct ns_sliding_spread *table, const struct ns_record *record)
{
	struct ns_key both = ns_masked(&record->key, table->both);
	ns_u32 at = ns_keyset_find(&table->pair_keys, &both);
	ns_u64 flows = record->kind == NS_RECORD_LABEL ? record->others + 1ULL : 1;
	struct ns_spread_pair *pair;

	if (!at)
		at = ns_spread_begin(table, record, &both) + 1;
	pair = &table->pairs[at - 1];
	ns_spread_stand_for(table, pair, record->others);
	pair->packets += record->packets / flows;
	pair->bytes += record->bytes / flows;
	if (pair->tick != table->tick) {
		pair->tick = table->tick;
		ns_spread_unlink(table, at - 1);
		ns_spread_link(table, at - 1);
	}
}

#endif
