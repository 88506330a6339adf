/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-key counts of a window in bounded memory, user space: an array of entries and an index of
 * their keys. When the array is full the lighter half is dropped and the heaviest dropped weight
 * becomes the doubt of every key that comes (back) later.
 *
 * Guarantee, for every key and every order of arrival: truth is in [packets, packets + over] for a
 * present key and in [0, absent] for any other (Misra-Gries with a purge of the lower half, as in
 * Anderson et al., IMC 2017). The same for bytes.
 */
#ifndef NS_KEYTABLE_H
#define NS_KEYTABLE_H

#include "flowtable.h"
#include "keyindex.h"
#include "match.h"
#include "largest.h"

struct ns_keytable {
	struct ns_entry *entries; /* [capacity] */
	struct ns_keyindex index; /* of them */
	ns_u64 *weights;	  /* [capacity], scratch of a purge */
	ns_u32 capacity;
	ns_u32 used;
	ns_u32 purges;
	ns_u64 absent_packets;
	ns_u64 absent_bytes;
};

/* A record on its way to its key. */
struct ns_keyed {
	union {
		ns_u64 word[5];
		struct ns_key key;
	};
	const struct ns_record *record;
	ns_u32 hash;
};

/* Most weight the key may have, labels included so that a purge keeps what looks heavy. */
NS_INLINE ns_u64 ns_entry_weight(const struct ns_entry *entry)
{
	ns_u64 bytes = entry->bytes + entry->label_bytes + entry->over_bytes;

	return entry->packets + entry->label_packets + entry->over_packets +
	       (bytes >> NS_WEIGHT_BYTES_SHIFT);
}

/* Slot of a key in the index: where it is, or where it would go. */
NS_INLINE ns_u32 ns_keytable_probe(const struct ns_keytable *table, ns_u32 hash,
				   const struct ns_key *key)
{
	return ns_keyindex_find(&table->index, table->entries, sizeof(*table->entries), hash, key);
}

/* Entry of a key, or NULL. */
static inline struct ns_entry *ns_keytable_find(const struct ns_keytable *table,
						const struct ns_key *key)
{
	ns_u32 hash = ns_keyindex_hash(&table->index, key);
	ns_u64 slot = table->index.slots[ns_keytable_probe(table, hash, key)];

	return slot ? &table->entries[ns_keyindex_position(slot)] : (struct ns_entry *)0;
}

static inline void ns_keytable_drop(struct ns_keytable *table, const struct ns_entry *entry)
{
	ns_u64 packets = entry->packets + entry->over_packets;
	ns_u64 bytes = entry->bytes + entry->over_bytes;

	if (packets > table->absent_packets)
		table->absent_packets = packets;
	if (bytes > table->absent_bytes)
		table->absent_bytes = bytes;
}

/* Keep the heavier half. */
static inline void ns_keytable_purge(struct ns_keytable *table)
{
	ns_u32 keep = table->capacity / 2, kept = 0;
	ns_u64 limit;

	for (ns_u32 i = 0; i < table->used; i++)
		table->weights[i] = ns_entry_weight(&table->entries[i]);
	limit = ns_kth_largest(table->weights, table->used, keep);
	__builtin_memset(table->index.slots, 0,
			 (table->index.mask + 1ul) * sizeof(*table->index.slots));
	for (ns_u32 i = 0; i < table->used; i++) {
		struct ns_entry *entry = &table->entries[kept];
		ns_u32 hash;

		if (table->weights[i] <= limit) {
			ns_keytable_drop(table, &table->entries[i]);
			continue;
		}
		*entry = table->entries[i];
		hash = ns_keyindex_hash(&table->index, &entry->key);
		table->index.slots[ns_keytable_probe(table, hash, &entry->key)] =
			ns_keyindex_slot(hash, kept);
		kept++;
	}
	table->used = kept;
	table->purges++;
}

static inline struct ns_entry *ns_keytable_entry(struct ns_keytable *table, ns_u32 hash,
						 const struct ns_key *key)
{
	ns_u32 at = ns_keytable_probe(table, hash, key);
	struct ns_entry *entry;

	if (table->index.slots[at])
		return &table->entries[ns_keyindex_position(table->index.slots[at])];
	if (table->used == table->capacity) {
		ns_keytable_purge(table);
		at = ns_keytable_probe(table, hash, key);
	}
	table->index.slots[at] = ns_keyindex_slot(hash, table->used);
	entry = &table->entries[table->used++];
	*entry = (struct ns_entry){
		.key = *key,
		.over_packets = table->absent_packets,
		.over_bytes = table->absent_bytes,
	};
	return entry;
}

NS_INLINE void ns_entry_add(struct ns_entry *entry, const struct ns_record *record)
{
	if (record->kind == NS_RECORD_FLOW) {
		entry->packets += record->packets;
		entry->bytes += record->bytes;
		entry->label_packets += record->packets * record->others;
		entry->label_bytes += record->bytes * record->others;
		entry->credit_packets += record->credit_packets;
		entry->credit_bytes += record->credit_bytes;
	} else {
		entry->label_packets += record->packets;
		entry->label_bytes += record->bytes;
	}
}

/**
 * ns_keytable_expect - give a record its key and ask the cache for what adding it will touch
 * @table: the table
 * @masks: which fields make the key, of IPv4 and of IPv6 flows
 * @record: a flow, or a label (an estimate)
 * @keyed: what to fill
 */
NS_INLINE void ns_keytable_expect(const struct ns_keytable *table, const struct ns_key *masks,
				  const struct ns_record *record, struct ns_keyed *keyed)
{
	const ns_u64 *word = (const ns_u64 *)&record->key;
	const ns_u64 *bits = (const ns_u64 *)&masks[ns_is_ipv4(&record->key) ? 0 : 1];

	for (int i = 0; i < 5; i++)
		keyed->word[i] = word[i] & bits[i];
	keyed->record = record;
	keyed->hash = ns_keyindex_hash(&table->index, &keyed->key);
	ns_keyindex_expect(&table->index, keyed->hash);
}

/* Add records that were expected, in their order. */
static inline void ns_keytable_add(struct ns_keytable *table, const struct ns_keyed *keyed,
				   ns_u32 number)
{
	for (ns_u32 i = 0; i < number; i++)
		ns_keyindex_expect_row(&table->index, table->entries, sizeof(*table->entries),
				       keyed[i].hash);
	for (ns_u32 i = 0; i < number; i++)
		ns_entry_add(ns_keytable_entry(table, keyed[i].hash, &keyed[i].key),
			     keyed[i].record);
}

#endif
