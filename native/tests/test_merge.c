// SPDX-License-Identifier: BSD-2-Clause
/* Merging rows, and thinning: what stays, what is hidden, and that draws are right on average. */
#include "thin.h"

#include "check.h"

enum { ROWS = 1024, LG_BUCKETS = 3, RUNS = 2000 };

static struct ns_record rows[ROWS];
static ns_u64 slots[2 * ROWS];
static struct ns_merge merge = {
	.rows = rows,
	.index = {.slots = slots, .mask = 2 * ROWS - 1, .secret = {1, 2, 3, 4, 5, 6, 7, 8}},
	.capacity = ROWS,
};

static struct ns_record record_of(ns_u16 number, ns_u64 packets)
{
	return (struct ns_record){
		.key = {.sport = number, .dport = 80, .proto = 17, .flags = NS_KEY_HAS_PORTS},
		.packets = packets,
		.bytes = packets * 100,
	};
}

static void add(const struct ns_record *record)
{
	struct ns_merging merging[2];

	ns_merge_add(&merge, merging, ns_merge_split(&merge, record, merging));
}

static void same_keys_add_up(void)
{
	struct ns_record flow = record_of(7, 2), label = record_of(7, 30);

	flow.tcp = 0x10 | 3 << 8;
	flow.credit_packets = 0xfffffff0;
	flow.credit_bytes = 5;
	label.kind = NS_RECORD_LABEL;
	label.others = 9;
	add(&flow);
	add(&label);
	flow.tcp = 0x02 | 0xffffffu << 8;
	flow.others = 3; /* in this tick it stands for three more: a label of 6 packets */
	add(&flow);
	ns_merge_end(&merge);
	CHECK(merge.used == 2);
	CHECK(rows[0].kind == NS_RECORD_FLOW && rows[0].packets == 4 && rows[0].bytes == 400);
	CHECK(rows[0].tcp == (0x12 | 0xffffffu << 8) && rows[0].others == 0);
	CHECK(rows[0].credit_packets == 0xffffffff && rows[0].credit_bytes == 10);
	CHECK(rows[1].kind == NS_RECORD_LABEL && rows[1].packets == 36 && rows[1].bytes == 3600);
	CHECK(rows[1].others == 9 + 3 && rows[1].credit_bytes == 0);
	CHECK(rows[0].key.reserved == 0 && rows[1].key.reserved == 0);
}

/* A hundred flows of 1 to 100 packets, room for 64: 56 flows stay, 8 labels stand for 44. */
static void thinned(ns_u64 seed, struct ns_record *records, ns_u32 *left)
{
	static struct ns_config config = {.hash_key = {3, 1, 4, 1, 5, 9, 2, 6}};
	struct ns_absent hidden[NS_DIRECTIONS << LG_BUCKETS] = {{0}}, totals[NS_DIRECTIONS] = {{0}};
	ns_u64 weights[100];
	struct ns_thin thin = {.config = &config,
			       .hidden = hidden,
			       .totals = totals,
			       .weights = weights,
			       .seed = seed};
	ns_u64 most = 0;

	config.lg_buckets = LG_BUCKETS;
	for (ns_u32 i = 0; i < 100; i++)
		records[i] = record_of((ns_u16)i, (i * 37) % 100 + 1);
	*left = ns_thin(&thin, records, 100, 64);
	CHECK(totals[NS_IN].packets == 44 * 45 / 2 && totals[NS_IN].bytes == 4400 * 45 / 2);
	CHECK(totals[NS_OUT].packets == 0);
	for (ns_u32 i = 0; i < 1 << LG_BUCKETS; i++)
		most = hidden[i].packets > most ? hidden[i].packets : most;
	CHECK(most == 44);
	for (ns_u32 i = 0; i < *left; i++) {
		if (records[i].kind == NS_RECORD_FLOW)
			CHECK(records[i].packets > 44 &&
			      records[i].credit_packets ==
				      ns_thin_place(&thin, &records[i].key)->packets);
	}
}

static void draws_are_right_on_average(void)
{
	double packets = 0, flows = 0, odd = 0, truth = 0;
	struct ns_record records[100];

	for (ns_u64 seed = 0; seed < RUNS; seed++) {
		ns_u32 left, labels = 0;

		thinned(seed * 1000003, records, &left);
		for (ns_u32 i = 0; i < left; i++) {
			if (records[i].kind != NS_RECORD_LABEL)
				continue;
			labels++;
			packets += (double)records[i].packets;
			flows += records[i].others + 1.0;
			if (records[i].key.sport % 2)
				odd += (double)records[i].packets;
		}
		CHECK(left <= 64 && left - labels == 56 && labels >= 7);
	}
	/*
	 * 990 packets of 44 flows, 1 to 44 each, drawn at intervals of 990 / 8. Standard errors of
	 * one run: packets below an interval; flows sqrt(sum of interval / packets - 1) = 22;
	 * packets of odd ports below 175 (independent draws). The means of all runs are within 5
	 * times theirs, 1 / sqrt(2000) of those.
	 */
	for (ns_u32 i = 1; i < 100; i += 2)
		truth += (i * 37) % 100 + 1 <= 44 ? (i * 37) % 100 + 1 : 0;
	CHECK(packets / RUNS > 990 - 2 && packets / RUNS < 990 + 2);
	CHECK(flows / RUNS > 44 - 2.5 && flows / RUNS < 44 + 2.5);
	CHECK(odd / RUNS > truth - 20 && odd / RUNS < truth + 20);
}

/* What is larger than the interval stays as it is. */
static void heavy_labels_stay(void)
{
	struct ns_record records[20];
	ns_u32 left, heavy = 0;

	for (ns_u32 i = 0; i < 20; i++) {
		records[i] = record_of((ns_u16)i, i == 5 ? 1000 : 1);
		records[i].kind = NS_RECORD_LABEL;
	}
	left = ns_thin_labels(records, 20, 3, 42);
	CHECK(left <= 3);
	for (ns_u32 i = 0; i < left; i++)
		heavy += records[i].packets == 1000 && records[i].key.sport == 5;
	CHECK(heavy == 1);
	CHECK(ns_thin_labels(records, 2, 3, 42) == 2);
}

int main(void)
{
	same_keys_add_up();
	draws_are_right_on_average();
	heavy_labels_stay();
	return 0;
}
