// SPDX-License-Identifier: BSD-2-Clause
/* The key table: exact until full, then certain bounds through any number of purges. */
#include "keytable.h"

#include "check.h"

enum { CAPACITY = 64, KEYS = 5000 };

static struct ns_entry entries[CAPACITY];
static ns_u64 slots[256];
static ns_u64 weights[CAPACITY];
static struct ns_keytable table = {
	.entries = entries,
	.index = {.slots = slots, .mask = 255, .secret = {9, 8, 7, 6, 5, 4, 3, 2}},
	.weights = weights,
	.capacity = CAPACITY,
};

static void add(const struct ns_key *masks, const struct ns_record *record)
{
	struct ns_keyed keyed;

	ns_keytable_expect(&table, masks, record, &keyed);
	ns_keytable_add(&table, &keyed, 1);
}

static struct ns_record record_of(ns_u32 number, ns_u64 packets)
{
	struct ns_record record = {.packets = packets, .bytes = packets * 100};

	memcpy(record.key.src + 12, &number, 4);
	record.key.dport = 80;
	return record;
}

static void bounds_hold(void)
{
	static ns_u64 truth[KEYS];
	struct ns_key masks[2];
	ns_u32 seed = 7;

	memset(masks, 0, sizeof(masks));
	memset(masks[1].src, 0xff, sizeof(masks[1].src));
	for (int i = 0; i < 200000; i++) {
		ns_u32 number = (seed = seed * 1664525 + 1013904223) >> 8;
		struct ns_record record;

		number = number & 3 ? (number >> 2) % KEYS : (number >> 2) % 10;
		record = record_of(number, 1 + number % 3);
		truth[number] += record.packets;
		add(masks, &record);
	}
	CHECK(table.purges > 10 && table.used <= CAPACITY);
	for (ns_u32 number = 0; number < KEYS; number++) {
		struct ns_record record = record_of(number, 0);
		const struct ns_entry *entry;

		record.key.dport = 0;
		entry = ns_keytable_find(&table, &record.key);
		if (entry) {
			CHECK(entry->packets <= truth[number]);
			CHECK(truth[number] <= entry->packets + entry->over_packets);
			CHECK(truth[number] * 100 <= entry->bytes + entry->over_bytes);
		} else {
			CHECK(truth[number] <= table.absent_packets);
			CHECK(truth[number] * 100 <= table.absent_bytes);
		}
	}
	/* The ten heavy keys carry 2.5 % each, more than 1/32 of all: they are held. */
	for (ns_u32 number = 0; number < 10; number++) {
		struct ns_record record = record_of(number, 0);

		record.key.dport = 0;
		CHECK(ns_keytable_find(&table, &record.key));
	}
}

/* IPv4 flows are masked by the first mask, all others by the second. */
static void masks_of_families(void)
{
	struct ns_record v6 = record_of(1, 3), v4 = v6;
	struct ns_key masks[2];

	memset(masks, 0, sizeof(masks));
	memset(masks[0].src, 0xff, 15);
	memset(masks[1].src, 0xff, 13);
	v4.key.src[10] = v4.key.src[11] = 0xff;
	v6.key.src[12] = v4.key.src[12] = 10;
	v6.key.src[14] = v4.key.src[14] = 20;
	table.used = table.purges = 0;
	table.absent_packets = table.absent_bytes = 0;
	memset(slots, 0, sizeof(slots));
	add(masks, &v4);
	add(masks, &v6);
	CHECK(table.used == 2);
	CHECK(entries[0].key.src[14] == 20 && entries[0].key.src[15] == 0);
	CHECK(entries[1].key.src[12] == 10 && entries[1].key.src[14] == 0);
}

int main(void)
{
	bounds_hold();
	masks_of_families();
	return 0;
}
