// SPDX-License-Identifier: BSD-2-Clause
/* The key table: exact until full, then certain bounds through any number of purges. */
#include "keytable.h"

#include "check.h"

enum { CAPACITY = 64, KEYS = 5000 };

static struct ns_entry entries[CAPACITY];
static ns_u32 table_index[256];
static ns_u64 weights[CAPACITY];
static struct ns_keytable table = {
	.entries = entries,
	.index = table_index,
	.weights = weights,
	.capacity = CAPACITY,
	.index_mask = 255,
};

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
		ns_keytable_add(&table, masks, &record);
	}
	CHECK(table.purges > 10 && table.used <= CAPACITY);
	for (ns_u32 number = 0; number < KEYS; number++) {
		struct ns_record record = record_of(number, 0);
		ns_u32 at;

		record.key.dport = 0;
		at = ns_keytable_probe(&table, &record.key);
		if (table.index[at]) {
			struct ns_entry *entry = &entries[table.index[at] - 1];

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
		CHECK(table.index[ns_keytable_probe(&table, &record.key)]);
	}
}

static void kth_largest(void)
{
	const ns_u64 values[] = {5, 1, 9, 9, 3, 0, 7};

	CHECK(ns_kth_largest(values, 7, 0) == 9);
	CHECK(ns_kth_largest(values, 7, 2) == 7);
	CHECK(ns_kth_largest(values, 7, 6) == 0);
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
	memset(table_index, 0, sizeof(table_index));
	ns_keytable_add(&table, masks, &v4);
	ns_keytable_add(&table, masks, &v6);
	CHECK(table.used == 2);
	CHECK(entries[0].key.src[14] == 20 && entries[0].key.src[15] == 0);
	CHECK(entries[1].key.src[12] == 10 && entries[1].key.src[14] == 0);
}

int main(void)
{
	bounds_hold();
	kth_largest();
	masks_of_families();
	return 0;
}
