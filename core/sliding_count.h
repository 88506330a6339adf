/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets or bytes of each key in a window that slides tick by tick, and in the window of the same
 * length before it, user space. What a key had in a tick is an item; items stand in the order of
 * their ticks, come in at the new end, pass from one window to the one before, and leave.
 *
 * There is room for so many items a tick: the lightest keys of a busier one are left out, and each
 * tick knows the most that such a key had, so the sum of that over a window bounds what any key may
 * miss. Keys worth an alarm are the heaviest of the ticks that make them so.
 */
#ifndef NS_SLIDING_COUNT_H
#define NS_SLIDING_COUNT_H

#include "keyset.h"

struct ns_count_item {
	ns_u64 count;
	ns_u64 estimated; /* beside it: of labels, and of flows that records stand for */
	ns_u32 key;	  /* its slot */
	ns_u32 reserved;
};

struct ns_count_tick {
	ns_u64 tick;
	ns_u64 absent; /* the most of a key that has no item in it */
	ns_u32 items;
	ns_u32 reserved;
};

/* Of one key. */
struct ns_count_of {
	ns_u64 count[2]; /* in the window, and in the one before */
	ns_u64 estimated[2];
	ns_u64 tick;  /* of its newest item */
	ns_u32 place; /* of its newest item */
	ns_u32 items; /* 0: a free slot */
};

struct ns_sliding_count {
	struct ns_keyset keys;	/* as many as items */
	struct ns_count_of *of; /* by slot of keys */
	struct ns_count_item
		*items; /* a ring of keys.capacity, at least tick_room x items_a_tick */
	struct ns_count_tick *ticks; /* a ring of tick_room */
	ns_u64 absent[2];	     /* sum of the ticks', in the window and in the one before */
	ns_u64 window_ticks;
	ns_u64 before_ticks; /* as many, or 0: nobody asks for the window before */
	ns_u64 tick;
	ns_u32 tick_room; /* window_ticks + before_ticks */
	ns_u32 items_a_tick;
	ns_u32 first_tick[2]; /* place of the oldest, in the window and in the one before */
	ns_u32 ticks_held[2];
	ns_u32 first_item[2];
	ns_u32 items_held[2];
};

static inline ns_u32 ns_ring_place(ns_u32 first, ns_u32 further, ns_u32 room)
{
	return (ns_u32)(((ns_u64)first + further) % room);
}

/* Take the oldest item out of a window; from the newer one it goes into the one before. */
static inline void ns_count_shift_item(struct ns_sliding_count *table, int before)
{
	struct ns_count_item *item = &table->items[table->first_item[before]];
	struct ns_count_of *of = &table->of[item->key];

	of->count[before] -= item->count;
	of->estimated[before] -= item->estimated;
	if (!before) {
		of->count[1] += item->count;
		of->estimated[1] += item->estimated;
		table->items_held[1]++;
	} else if (!--of->items) {
		ns_keyset_remove(&table->keys, item->key);
	}
	table->first_item[before] =
		ns_ring_place(table->first_item[before], 1, table->keys.capacity);
	table->items_held[before]--;
}

static inline void ns_count_shift(struct ns_sliding_count *table, int before)
{
	struct ns_count_tick *tick = &table->ticks[table->first_tick[before]];

	for (ns_u32 i = 0; i < tick->items; i++)
		ns_count_shift_item(table, before);
	table->absent[before] -= tick->absent;
	table->ticks_held[before]--;
	table->first_tick[before] = ns_ring_place(table->first_tick[before], 1, table->tick_room);
	if (!before) {
		table->absent[1] += tick->absent;
		table->ticks_held[1]++;
	}
}

/* Let go of what the windows that end with this tick do not reach. Ticks never go back. */
static inline void ns_count_advance(struct ns_sliding_count *table, ns_u64 tick)
{
	for (int before = 0; before < 2; before++) {
		ns_u64 reach = table->window_ticks + (before ? table->before_ticks : 0);

		while (table->ticks_held[before] &&
		       table->ticks[table->first_tick[before]].tick + reach <= tick)
			ns_count_shift(table, before);
	}
	table->tick = tick;
}

/* The tick that the windows were advanced to; it is begun when it is not there. */
static inline struct ns_count_tick *ns_count_now(struct ns_sliding_count *table)
{
	ns_u32 held = table->ticks_held[0];
	struct ns_count_tick *last = &table->ticks[ns_ring_place(
		table->first_tick[0], held ? held - 1 : 0, table->tick_room)];

	if (held && last->tick == table->tick)
		return last;
	table->ticks_held[0]++;
	last = &table->ticks[ns_ring_place(table->first_tick[0], held, table->tick_room)];
	*last = (struct ns_count_tick){.tick = table->tick};
	return last;
}

/* Let any key without an item have had so much more in a tick of the window. */
static inline void ns_count_miss(struct ns_sliding_count *table, struct ns_count_tick *tick,
				 ns_u64 count)
{
	tick->absent += count;
	table->absent[0] += count;
}

/* The item of a key in the tick; 0 when it has none and there is no room for one. */
static inline struct ns_count_item *
ns_count_item(struct ns_sliding_count *table, struct ns_count_tick *tick, const struct ns_key *key)
{
	ns_u32 at = ns_keyset_find(&table->keys, key), place;
	struct ns_count_of *of = at ? &table->of[at - 1] : 0;

	if (of && of->tick == tick->tick)
		return &table->items[of->place];
	if (tick->items == table->items_a_tick)
		return 0;
	if (!at) {
		at = ns_keyset_put(&table->keys, key) + 1;
		of = &table->of[at - 1];
		*of = (struct ns_count_of){.items = 0};
	}
	place = ns_ring_place(table->first_item[0], table->items_held[0], table->keys.capacity);
	table->items[place] = (struct ns_count_item){.key = at - 1};
	table->items_held[0]++;
	tick->items++;
	of->items++;
	of->tick = tick->tick;
	of->place = place;
	return &table->items[place];
}

/**
 * ns_count_add - add what a key had in a tick, or in a part of it
 * @table: the table
 * @tick: ns_count_now()
 * @key: masked
 * @count: packets or bytes
 * @estimated: packets or bytes beside it
 *
 * Return: 0; -1 when it was left out: the caller lets it be missed.
 */
static inline int ns_count_add(struct ns_sliding_count *table, struct ns_count_tick *tick,
			       const struct ns_key *key, ns_u64 count, ns_u64 estimated)
{
	struct ns_count_item *item = ns_count_item(table, tick, key);

	if (!item)
		return -1;
	item->count += count;
	item->estimated += estimated;
	table->of[item->key].count[0] += count;
	table->of[item->key].estimated[0] += estimated;
	return 0;
}

#endif
