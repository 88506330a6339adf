/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-key counts of a window in bounded memory, user space. An open-addressed index over an array
 * of entries; when the array is full the lighter half is dropped and the heaviest dropped weight
 * becomes the doubt of every key that comes (back) later.
 *
 * Guarantee, for every key and every order of arrival: truth is in [packets, packets + over] for a
 * present key and in [0, absent] for any other (Misra-Gries with a purge of the lower half, as in
 * Anderson et al., IMC 2017). The same for bytes.
 */
#ifndef NS_KEYTABLE_H
#define NS_KEYTABLE_H

#include "flowtable.h"
#include "match.h"

struct ns_keytable {
	struct ns_entry *entries; /* [capacity] */
	ns_u32 *index;		  /* [index_mask + 1], position + 1, 0: empty */
	ns_u64 *weights;	  /* [capacity], scratch of a purge */
	ns_u32 capacity;
	ns_u32 index_mask; /* at least twice the capacity, a power of two, minus 1 */
	ns_u32 used;
	ns_u32 purges;
	ns_u64 absent_packets;
	ns_u64 absent_bytes;
};

NS_INLINE ns_u64 ns_entry_hash(const struct ns_key *key)
{
	const ns_u64 *word = (const ns_u64 *)key;
	ns_u64 hash = 0;

	for (int i = 0; i < 5; i++)
		hash = ns_mix64(hash ^ word[i]) + 0x9e3779b97f4a7c15ULL;
	return hash;
}

NS_INLINE int ns_key_equal(const struct ns_key *a, const struct ns_key *b)
{
	const ns_u64 *x = (const ns_u64 *)a, *y = (const ns_u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* Most weight the key may have, labels included so that a purge keeps what looks heavy. */
NS_INLINE ns_u64 ns_entry_weight(const struct ns_entry *entry)
{
	ns_u64 bytes = entry->bytes + entry->label_bytes + entry->over_bytes;

	return entry->packets + entry->label_packets + entry->over_packets +
	       (bytes >> NS_WEIGHT_BYTES_SHIFT);
}

/* Position of a key in the index: where it is, or where it would go. */
static inline ns_u32 ns_keytable_probe(const struct ns_keytable *table, const struct ns_key *key)
{
	ns_u32 at = (ns_u32)ns_entry_hash(key) & table->index_mask;

	while (table->index[at] && !ns_key_equal(&table->entries[table->index[at] - 1].key, key))
		at = (at + 1) & table->index_mask;
	return at;
}

/* The k-th largest of n weights, k from 0, built bit by bit: at most 64 passes, no reordering. */
static inline ns_u64 ns_kth_largest(const ns_u64 *weights, ns_u32 n, ns_u32 k)
{
	ns_u64 all = 0, kth = 0;

	for (ns_u32 i = 0; i < n; i++)
		all |= weights[i];
	for (ns_u64 bit = 1ULL << 63; bit; bit >>= 1) {
		ns_u32 reached = 0;

		if (bit > all)
			continue;
		for (ns_u32 i = 0; i < n; i++)
			reached += weights[i] >= (kth | bit);
		if (reached > k)
			kth |= bit;
	}
	return kth;
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
	__builtin_memset(table->index, 0, (table->index_mask + 1ul) * sizeof(*table->index));
	for (ns_u32 i = 0; i < table->used; i++) {
		if (ns_entry_weight(&table->entries[i]) <= limit) {
			ns_keytable_drop(table, &table->entries[i]);
			continue;
		}
		table->entries[kept] = table->entries[i];
		table->index[ns_keytable_probe(table, &table->entries[kept].key)] = kept + 1;
		kept++;
	}
	table->used = kept;
	table->purges++;
}

static inline struct ns_entry *ns_keytable_entry(struct ns_keytable *table,
						 const struct ns_key *key)
{
	ns_u32 at = ns_keytable_probe(table, key);
	struct ns_entry *entry;

	if (table->index[at])
		return &table->entries[table->index[at] - 1];
	if (table->used == table->capacity) {
		ns_keytable_purge(table);
		at = ns_keytable_probe(table, key);
	}
	entry = &table->entries[table->used++];
	table->index[at] = table->used;
	__builtin_memset(entry, 0, sizeof(*entry));
	entry->key = *key;
	entry->over_packets = table->absent_packets;
	entry->over_bytes = table->absent_bytes;
	return entry;
}

/**
 * ns_keytable_add - add a record to its key
 * @table: the table
 * @masks: which fields make the key, of IPv4 and of IPv6 flows
 * @record: a flow, or a label (an estimate)
 */
static inline void ns_keytable_add(struct ns_keytable *table, const struct ns_key *masks,
				   const struct ns_record *record)
{
	const ns_u64 *word = (const ns_u64 *)&record->key;
	const ns_u64 *bits = (const ns_u64 *)&masks[ns_is_ipv4(&record->key) ? 0 : 1];
	union {
		ns_u64 word[5];
		struct ns_key key;
	} masked;
	struct ns_entry *entry;

	for (int i = 0; i < 5; i++)
		masked.word[i] = word[i] & bits[i];
	entry = ns_keytable_entry(table, &masked.key);
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

#endif
