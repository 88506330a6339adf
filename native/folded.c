// SPDX-License-Identifier: BSD-2-Clause
#include "folded.h"

enum { FIRST_RECORDS = 256 };

static int make_room(struct ns_folded *folded)
{
	size_t room = folded->held.room ? folded->held.room * 2 : FIRST_RECORDS;

	if (folded->used + NS_RECORDS_PER_BUCKET <= folded->held.room)
		return 0;
	return ns_record_bytes_room(&folded->held, room);
}

static int add_absent(struct ns_folded *folded, ns_u32 direction, ns_u32 index,
		      const struct ns_absent *here)
{
	size_t buckets = (size_t)1 << folded->lg_buckets;
	struct ns_absent *absent;

	if (!folded->absent)
		folded->absent = calloc(NS_DIRECTIONS * buckets, sizeof(*folded->absent));
	if (!folded->absent)
		return -1;
	absent = &folded->absent[direction * buckets + index];
	absent->packets += here->packets;
	absent->bytes += here->bytes;
	return 0;
}

/* Every flow that entered a bucket which never spilled is still in its slots. */
static void rank_slots(const struct ns_hot *hot, ns_u8 *ranks)
{
	for (ns_u32 lane = 0; lane < NS_WAYS; lane++) {
		ns_u64 fingerprint = hot->slot[lane].fingerprint;
		ns_u8 *rank = &ranks[fingerprint & (NS_HLL_REGISTERS - 1)];

		if (hot->tag[lane] && *rank < ns_hll_rank(fingerprint))
			*rank = (ns_u8)ns_hll_rank(fingerprint);
	}
}

/* Whether a bucket's flows are left out; CPUs leave out the same buckets. */
static int is_thinned(const struct ns_folded *folded, ns_u32 epoch, ns_u32 index)
{
	ns_u64 draw = ns_mix64(((ns_u64)epoch << 32 | index) + 0x9e3779b97f4a7c15ULL);

	return (draw & ((1u << folded->thin_shift) - 1)) != 0;
}

/* Take back the records of a thinned bucket: what each flow had becomes what it may have. */
static void hide(struct ns_tally *tally, struct ns_absent *here, const struct ns_record *records,
		 ns_u32 written)
{
	struct ns_absent most = {0};

	for (ns_u32 i = 0; i < written; i++) {
		if (records[i].kind != NS_RECORD_FLOW)
			continue;
		tally->thinned_packets += records[i].packets;
		tally->thinned_bytes += records[i].bytes;
		if (records[i].packets > most.packets)
			most.packets = records[i].packets;
		if (records[i].bytes > most.bytes)
			most.bytes = records[i].bytes;
	}
	here->packets += most.packets;
	here->bytes += most.bytes;
}

/* So many flows, 2^shift times; as many as fit. */
static ns_u32 times(ns_u64 flows, unsigned int shift)
{
	return (ns_u32)ns_least(flows << shift, 0xffffffff);
}

/* Let the records of a kept bucket stand for those of thinned ones. */
static void stand_for(struct ns_record *records, ns_u32 written, unsigned int thin_shift)
{
	for (ns_u32 i = 0; i < written; i++) {
		if (records[i].kind == NS_RECORD_FLOW) {
			records[i].others = (1u << thin_shift) - 1;
		} else {
			records[i].packets <<= thin_shift;
			records[i].bytes <<= thin_shift;
			records[i].others = times(records[i].others + 1ULL, thin_shift) - 1;
		}
	}
}

int ns_folded_bucket(struct ns_folded *folded, const struct ns_hot *hot, const struct ns_cold *cold,
		     ns_u32 epoch, ns_u32 direction, ns_u32 index)
{
	struct ns_tally *tally = &folded->tallies[direction];
	struct ns_absent here = {0};
	struct ns_record *records;
	ns_u32 written;

	if (hot->epoch != epoch)
		return 0;
	if (make_room(folded))
		return -1;
	records = folded->held.records + folded->used;
	written = ns_fold_bucket(hot, cold, epoch, records, tally, &here);
	if (hot->spill_packets)
		folded->spilled[direction] = 1;
	else
		rank_slots(hot, folded->ranks[direction]);
	if (is_thinned(folded, epoch, index)) {
		hide(tally, &here, records, written);
	} else {
		folded->used += written;
		if (folded->thin_shift)
			stand_for(records, written, folded->thin_shift);
	}
	return here.packets ? add_absent(folded, direction, index, &here) : 0;
}

void ns_folded_slice(struct ns_folded *folded, const struct ns_slice *slice, ns_u32 epoch,
		     ns_u32 direction)
{
	if (folded->spilled[direction])
		ns_fold_distinct(slice, epoch, folded->ranks[direction]);
	folded->spilled[direction] = 0;
}

PyObject *ns_folded_tuple(struct ns_folded *folded)
{
	size_t absent = sizeof(*folded->absent) * NS_DIRECTIONS << folded->lg_buckets;
	PyObject *records = ns_record_bytes_take(&folded->held, folded->used);

	/* N takes the reference, y# makes None of NULL. */
	return Py_BuildValue("Ny#y#y#", records, (char *)folded->tallies,
			     (Py_ssize_t)sizeof(folded->tallies), (char *)folded->absent,
			     (Py_ssize_t)absent, (char *)folded->ranks,
			     (Py_ssize_t)sizeof(folded->ranks));
}

void ns_folded_clear(struct ns_folded *folded)
{
	unsigned int lg_buckets = folded->lg_buckets, thin_shift = folded->thin_shift;

	ns_record_bytes_clear(&folded->held);
	free(folded->absent);
	memset(folded, 0, sizeof(*folded));
	folded->lg_buckets = lg_buckets;
	folded->thin_shift = thin_shift;
}
