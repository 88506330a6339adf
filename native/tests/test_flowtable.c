// SPDX-License-Identifier: BSD-2-Clause
/* The flow table: conservation, bounds, replacement, epochs, and what a busy slice does. */
#include "fold.h"

#include "check.h"

enum { LG = 3, BUCKETS = 1 << LG, FLOWS = 2000 };

static struct ns_config config = {
	.hash_key = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89,
		     0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd,
		     0x3f84d5b5b5470917},
	.lg_buckets = LG,
	.sample_shift = 6,
};
static struct ns_slice slice;
static struct ns_hot hot[BUCKETS];
static struct ns_cold cold[BUCKETS];

static struct ns_packet packet_of(ns_u32 flow, ns_u32 bytes)
{
	struct ns_packet packet = {.packets = 1, .bytes = bytes, .key = {.proto = 17}};

	memcpy(packet.key.src + 12, &flow, 4);
	return packet;
}

static void count(const struct ns_packet *packet, ns_u32 epoch)
{
	ns_u64 fingerprint = ns_fingerprint(config.hash_key, &packet->key);
	ns_u32 at = ns_bucket_index(fingerprint, config.lg_buckets, config.sample_shift);
	int alone = ns_slice_enter(&slice);

	if (!ns_hot_hit(&hot[at], epoch, fingerprint, packet, alone) &&
	    !(alone && ns_insert(&slice, &hot[at], &cold[at], fingerprint, packet)))
		ns_slice_contended(&slice, packet);
	ns_slice_leave(&slice);
}

static struct ns_absent absent[BUCKETS];

static struct ns_tally fold(ns_u32 epoch, struct ns_record *records, ns_u32 *used)
{
	struct ns_tally tally = {0};

	*used = 0;
	memset(absent, 0, sizeof(absent));
	for (int i = 0; i < BUCKETS; i++)
		*used += ns_fold_bucket(&hot[i], &cold[i], epoch, records + *used, &tally,
					&absent[i]);
	ns_fold_slice(&slice, &tally);
	return tally;
}

static ns_u32 bucket_of(ns_u32 flow)
{
	struct ns_packet packet = packet_of(flow, 0);

	return ns_bucket_index(ns_fingerprint(config.hash_key, &packet.key), config.lg_buckets,
			       config.sample_shift);
}

static ns_u64 may_be_hidden(const struct ns_record *record)
{
	ns_u32 flow;

	memcpy(&flow, record->key.src + 12, 4);
	return absent[bucket_of(flow)].packets - record->credit_packets;
}

/* 2000 flows into 64 slots: far too many, and still nothing is lost and every bound holds. */
static void overload(void)
{
	static struct ns_record records[BUCKETS * NS_RECORDS_PER_BUCKET];
	static ns_u64 sent[FLOWS];
	static ns_u8 held[FLOWS];
	ns_u64 packets = 0, bytes = 0;
	struct ns_tally tally;
	ns_u32 used, seed = 1;

	for (int i = 0; i < 100000; i++) {
		/* Every other packet is of one of eight elephants. */
		ns_u32 flow = (seed = seed * 1664525 + 1013904223) >> 8;
		struct ns_packet packet;

		flow = flow & 1 ? (flow >> 1) % 8 : (flow >> 1) % FLOWS;
		packet = packet_of(flow, 40 + flow % 1000);
		count(&packet, 1);
		sent[flow]++;
		packets++;
		bytes += packet.bytes;
	}
	tally = fold(1, records, &used);
	CHECK(tally.packets == packets && tally.bytes == bytes);
	CHECK(tally.spilled_packets > 0 && tally.contended_packets == 0 && slice.busy == 0);
	for (ns_u32 i = 0; i < used; i++) {
		ns_u32 flow;

		memcpy(&flow, records[i].key.src + 12, 4);
		CHECK(flow < FLOWS);
		if (records[i].kind != NS_RECORD_FLOW)
			continue;
		CHECK(records[i].packets <= sent[flow]);
		CHECK(sent[flow] <= records[i].packets + may_be_hidden(&records[i]));
		held[flow] = 1;
	}
	for (ns_u32 flow = 0; flow < FLOWS; flow++)
		CHECK(held[flow] || sent[flow] <= absent[bucket_of(flow)].packets);
	/* An elephant's weight is far over the smallest priority: it must be there, complete. */
	for (ns_u32 elephant = 0; elephant < 8; elephant++) {
		ns_u64 found = 0;

		for (ns_u32 i = 0; i < used; i++) {
			ns_u32 flow;

			memcpy(&flow, records[i].key.src + 12, 4);
			if (flow == elephant && records[i].kind == NS_RECORD_FLOW)
				found += records[i].packets;
		}
		CHECK(found >= sent[elephant] * 9 / 10);
	}
}

static void epochs_do_not_mix(void)
{
	static struct ns_record records[BUCKETS * NS_RECORDS_PER_BUCKET];
	struct ns_packet packet = packet_of(1, 100);
	ns_u32 used;

	count(&packet, 3);
	CHECK(fold(3, records, &used).packets == 1 && used == 1);
	CHECK(fold(1, records, &used).packets > 1); /* other buckets still hold epoch 1 */
	count(&packet, 5);
	CHECK(fold(3, records, &used).packets == 0);
	CHECK(fold(5, records, &used).packets == 1);
}

/* A context that finds the slice busy adds to a present flow and leaves a new one contended. */
static void busy_slice(void)
{
	static struct ns_record records[BUCKETS * NS_RECORDS_PER_BUCKET];
	struct ns_packet known = packet_of(1, 100), unknown = packet_of(2, 60);
	ns_u32 used;
	ns_u64 before;

	memset(hot, 0, sizeof(hot));
	memset(&slice, 0, sizeof(slice));
	count(&known, 7);
	CHECK(ns_slice_enter(&slice));
	before = slice.contended_packets;
	count(&known, 7);
	CHECK(slice.contended_packets == before);
	count(&unknown, 7);
	CHECK(slice.contended_packets == before + 1 && slice.contended_bytes == 60);
	ns_slice_leave(&slice);
	CHECK(fold(7, records, &used).packets == 2 && used == 1);
}

/* An eviction is given up, and leaves the lane as it was, when another context came in. */
static void eviction_gives_way(void)
{
	struct ns_packet packet = packet_of(0, 40);
	struct ns_hot *bucket = &hot[0], before;
	ns_u64 fingerprint = 12345;

	memset(hot, 0, sizeof(hot));
	bucket->epoch = 9;
	for (ns_u64 lane = 0; lane < NS_WAYS; lane++)
		CHECK(ns_insert(&slice, bucket, &cold[0], 1000 + 2 * lane, &packet));
	before = *bucket;
	slice.busy = 2;
	CHECK(!ns_insert(&slice, bucket, &cold[0], fingerprint, &packet));
	CHECK(!memcmp(&before, bucket, sizeof(before)));
	slice.busy = 1;
	CHECK(ns_insert(&slice, bucket, &cold[0], fingerprint, &packet));
	CHECK(bucket->spill_packets == 1 && bucket->spill_bytes == 40);
	CHECK(ns_find_lane(bucket, fingerprint) < NS_WAYS);
	slice.busy = 0;
}

/* Lanes whose tags collide are told apart by the whole fingerprint. */
static void equal_tags(void)
{
	struct ns_packet packet = packet_of(0, 40);
	struct ns_hot *bucket = &hot[0];
	ns_u32 held = 0;

	memset(hot, 0, sizeof(hot));
	slice.busy = 1;
	bucket->epoch = 9;
	for (ns_u64 i = 0; i < NS_WAYS; i++)
		CHECK(ns_insert(&slice, bucket, &cold[0], i << 32 | 0x77, &packet));
	for (ns_u64 i = 0; i < NS_WAYS; i++)
		CHECK(bucket->slot[ns_find_lane(bucket, i << 32 | 0x77)].fingerprint ==
		      (i << 32 | 0x77));
	CHECK(ns_find_lane(bucket, 99ULL << 32 | 0x77) == NS_NO_LANE);
	for (ns_u64 i = NS_WAYS; i < 3 * NS_WAYS; i++) {
		CHECK(ns_insert(&slice, bucket, &cold[0], i << 32 | 0x77, &packet));
		CHECK(ns_hot_hit(bucket, 9, i << 32 | 0x77, &packet, 1));
	}
	CHECK(bucket->spill_packets > 0);
	for (int lane = 0; lane < NS_WAYS; lane++)
		held += bucket->slot[lane].packets;
	CHECK(held + bucket->spill_packets == NS_WAYS + 2 * 2 * NS_WAYS);
}

int main(void)
{
	overload();
	epochs_do_not_mix();
	busy_slice();
	eviction_gives_way();
	equal_tags();
	return 0;
}
