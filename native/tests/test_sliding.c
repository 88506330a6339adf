// SPDX-License-Identifier: BSD-2-Clause
/* Sliding windows equal what is counted anew for each tick, whatever comes and goes. */
#include "sliding_count.h"
#include "sliding_spread.h"

#include "check.h"

enum { KEYS = 7, OTHERS = 40, TICKS = 400, WINDOW = 9, ROOM = 512, A_TICK = 60 };

struct memory {
	struct ns_key keys[ROOM];
	ns_u32 next[ROOM];
	ns_u32 heads[ROOM];
};

static struct memory of_keys, of_pairs;
static struct ns_spread_of spread[ROOM];
static struct ns_spread_pair pairs[ROOM];
static struct ns_count_of count_of[ROOM];
static struct ns_count_item items[ROOM];
static struct ns_count_tick ticks[2 * WINDOW];
static ns_u32 seed = 7;

static ns_u32 draw(ns_u32 below)
{
	return ((seed = seed * 1664525 + 1013904223) >> 8) % below;
}

static struct ns_keyset empty(struct memory *memory, ns_u32 capacity)
{
	memset(memory, 0, sizeof(*memory));
	return (struct ns_keyset){.keys = memory->keys,
				  .next = memory->next,
				  .heads = memory->heads,
				  .capacity = capacity,
				  .heads_mask = 63};
}

static struct ns_record record_of(ns_u32 key, ns_u32 other)
{
	struct ns_record record = {.packets = 1 + other, .bytes = 100};

	record.key.src[0] = (ns_u8)(1 + key);
	record.key.dport = (ns_u16)other;
	record.key.sport = (ns_u16)draw(100);
	return record;
}

static struct ns_sliding_spread new_spread(ns_u32 capacity)
{
	struct ns_sliding_spread table = {.keys = empty(&of_keys, capacity),
					  .spread = spread,
					  .pair_keys = empty(&of_pairs, capacity),
					  .pairs = pairs,
					  .window_ticks = WINDOW};

	for (int family = 0; family < 2; family++) {
		memset(table.by[family].src, 0xff, 16);
		memset(table.both[family].src, 0xff, 16);
		table.both[family].dport = 0xffff;
	}
	return table;
}

static ns_u32 pairs_of(const struct ns_sliding_spread *table, ns_u32 key)
{
	struct ns_record record = record_of(key, 0);
	struct ns_key masked = ns_masked(&record.key, table->by);
	ns_u32 at = ns_keyset_find(&table->keys, &masked);

	return at ? table->spread[at - 1].pairs : 0;
}

/* last[key][other]: tick it was last seen in, 0: never. */
static ns_u32 truly(ns_u32 last[OTHERS], ns_u64 first_tick)
{
	ns_u32 number = 0;

	for (ns_u32 other = 0; other < OTHERS; other++)
		number += last[other] && last[other] >= first_tick;
	return number;
}

static void spreads(ns_u32 capacity, ns_u32 a_tick)
{
	struct ns_sliding_spread table = new_spread(capacity);
	static ns_u32 last[KEYS][OTHERS];

	memset(last, 0, sizeof(last));
	for (ns_u32 tick = 1; tick <= TICKS; tick += 1 + draw(3) / 2) {
		ns_spread_advance(&table, tick);
		for (ns_u32 left = draw(a_tick); left; left--) {
			ns_u32 key = draw(KEYS), other = draw(OTHERS);
			struct ns_record record = record_of(key, other);

			ns_spread_add(&table, &record);
			last[key][other] = tick;
		}
		for (ns_u32 key = 0; key < KEYS; key++) {
			ns_u64 nominal = tick >= WINDOW ? tick - WINDOW + 1 : 1;

			CHECK(pairs_of(&table, key) <= truly(last[key], nominal));
			CHECK(pairs_of(&table, key) + table.let_go >=
			      truly(last[key],
				    nominal > table.whole_from ? nominal : table.whole_from));
			if (capacity == ROOM)
				CHECK(pairs_of(&table, key) == truly(last[key], nominal));
		}
	}
	CHECK(capacity == ROOM ? !table.whole_from : table.whole_from > TICKS - 3 * WINDOW);
	ns_spread_advance(&table, TICKS + 2 * WINDOW);
	CHECK(!table.keys.live && !table.pair_keys.live && !table.oldest && !table.newest);
}

/* Others that are estimated stand for one tick only. */
static void estimates(void)
{
	struct ns_sliding_spread table = new_spread(ROOM);
	struct ns_record record = record_of(0, 1), label = record_of(0, 2);

	record.others = 3;
	label.kind = NS_RECORD_LABEL;
	label.others = 9;
	label.packets = 50;
	ns_spread_advance(&table, 5);
	ns_spread_add(&table, &record);
	ns_spread_add(&table, &record);
	ns_spread_add(&table, &label);
	CHECK(spread[0].pairs == 2 && spread[0].others == 12);
	CHECK(pairs[1].packets == 5 && pairs[0].packets == 4);
	ns_spread_advance(&table, 6);
	ns_spread_add(&table, &record);
	CHECK(spread[0].pairs == 2 && spread[0].others == 9);
	ns_spread_advance(&table, 5 + WINDOW);
	CHECK(spread[0].pairs == 1 && spread[0].others == 0);
}

static ns_u64 history[TICKS + 1][KEYS];

static ns_u64 sum_of(ns_u32 key, long first, long last)
{
	ns_u64 sum = 0;

	for (long tick = first < 1 ? 1 : first; tick <= last; tick++)
		sum += history[tick][key];
	return sum;
}

static void check_counts(const struct ns_sliding_count *table, long tick, int exact)
{
	for (ns_u32 key = 0; key < KEYS; key++) {
		struct ns_key wanted = {.src = {(ns_u8)(1 + key)}};
		ns_u32 at = ns_keyset_find(&table->keys, &wanted);
		ns_u64 now = at ? count_of[at - 1].count[0] : 0;
		ns_u64 before = at ? count_of[at - 1].count[1] : 0;
		ns_u64 truly_now = sum_of(key, tick - WINDOW + 1, tick);
		ns_u64 truly_before = sum_of(key, tick - 2 * WINDOW + 1, tick - WINDOW);

		CHECK(now <= truly_now && truly_now <= now + table->absent[0]);
		if (!table->before_ticks) {
			CHECK(!before);
			continue;
		}
		CHECK(before <= truly_before && truly_before <= before + table->absent[1]);
		CHECK(!exact || (now == truly_now && before == truly_before));
	}
}

static void counts(ns_u32 items_a_tick, int before)
{
	struct ns_sliding_count table = {.keys = empty(&of_keys, ROOM),
					 .of = count_of,
					 .items = items,
					 .ticks = ticks,
					 .window_ticks = WINDOW,
					 .before_ticks = before ? WINDOW : 0,
					 .tick_room = before ? 2 * WINDOW : WINDOW,
					 .items_a_tick = items_a_tick};

	memset(history, 0, sizeof(history));
	for (ns_u32 tick = 1; tick <= TICKS; tick += 1 + draw(3) / 2) {
		ns_count_advance(&table, tick);
		for (int part = 0; part < 2; part++) { /* a tick may come in parts */
			struct ns_count_tick *now = ns_count_now(&table);
			ns_u64 missed = 0;

			for (ns_u32 key = 0; key < KEYS; key++) {
				struct ns_key masked = {.src = {(ns_u8)(1 + key)}};
				ns_u64 count = draw(4) ? 0 : draw(1000);

				history[tick][key] += count;
				if (count && ns_count_add(&table, now, &masked, count, 0) &&
				    count > missed)
					missed = count;
			}
			ns_count_miss(&table, now, missed);
		}
		check_counts(&table, tick, items_a_tick >= KEYS);
	}
	ns_count_advance(&table, TICKS + 3 * WINDOW);
	CHECK(!table.keys.live && !table.items_held[0] && !table.items_held[1]);
	CHECK(!table.absent[0] && !table.absent[1]);
}

int main(void)
{
	spreads(ROOM, A_TICK);
	spreads(100, A_TICK);
	spreads(16, 5 * A_TICK);
	estimates();
	counts(KEYS, 1);
	counts(2, 1);
	counts(2, 0);
	counts(KEYS, 0);
	return 0;
}
