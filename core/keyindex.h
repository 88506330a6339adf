/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds rows by their flow key, user space: an open-addressed index over an array of rows that
 * begin with their keys.
 *
 * A slot holds half of the key's hash beside the row's position, so a row is read only where it is
 * very likely the one, and the index grows without a look at the rows. The hash is keyed: whoever
 * does not know the secret cannot send flows that meet in one place. Whoever looks up many keys
 * first hashes a batch and asks the cache for their slots, then for their rows.
 */
#ifndef NS_KEYINDEX_H
#define NS_KEYINDEX_H

#include "hash.h"

__extension__ typedef unsigned __int128 ns_u128;

enum { NS_KEY_BATCH = 32 }; /* keys looked up together */

struct ns_keyindex {
	ns_u64 *slots; /* [mask + 1], hash << 32 | position + 1; 0: empty */
	ns_u32 mask;   /* at least twice as many as rows, a power of two, minus 1 */
	ns_u64 secret[NS_HASH_WORDS];
};

NS_INLINE ns_u128 ns_wide_product(ns_u64 a, ns_u64 b)
{
	return (ns_u128)a * b;
}

/* NH over the key's 64-bit words (2^-64-almost-universal, as in hash.h), then a multilinear hash of
 * its two halves. User space has the wide multiplication that BPF lacks: three do. */
NS_INLINE ns_u32 ns_key_hash(const ns_u64 *secret, const struct ns_key *key)
{
	const ns_u64 *word = (const ns_u64 *)key;
	ns_u128 sum = ns_wide_product(word[0] + secret[0], word[1] + secret[1]) +
		      ns_wide_product(word[2] + secret[2], word[3] + secret[3]) +
		      ns_wide_product(word[4] + secret[4], secret[5] | 1);

	return (ns_u32)(((ns_u64)sum * (secret[6] | 1) + (ns_u64)(sum >> 64) * (secret[7] | 1)) >>
			32);
}

NS_INLINE ns_u32 ns_keyindex_hash(const struct ns_keyindex *index, const struct ns_key *key)
{
	return ns_key_hash(index->secret, key);
}

NS_INLINE int ns_key_equal(const struct ns_key *a, const struct ns_key *b)
{
	const ns_u64 *x = (const ns_u64 *)a, *y = (const ns_u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* Position of the row that a slot in use names. */
NS_INLINE ns_u32 ns_keyindex_position(ns_u64 slot)
{
	return (ns_u32)slot - 1;
}

NS_INLINE ns_u64 ns_keyindex_slot(ns_u32 hash, ns_u32 position)
{
	return (ns_u64)hash << 32 | (position + 1);
}

/**
 * ns_keyindex_find - where a key is, or where it would go
 * @index: the index
 * @rows: that it is of
 * @row_bytes: size of a row
 * @hash: of @key
 * @key: which one
 *
 * Return: number of a slot, empty when no row has the key.
 */
NS_INLINE ns_u32 ns_keyindex_find(const struct ns_keyindex *index, const void *rows,
				  ns_u64 row_bytes, ns_u32 hash, const struct ns_key *key)
{
	ns_u32 at = hash & index->mask;

	for (ns_u64 slot; (slot = index->slots[at]); at = (at + 1) & index->mask) {
		const ns_u8 *row = (const ns_u8 *)rows + ns_keyindex_position(slot) * row_bytes;

		if (slot >> 32 == hash && ns_key_equal((const struct ns_key *)row, key))
			break;
	}
	return at;
}

/* Ask the cache for a hash's slots. */
NS_INLINE void ns_keyindex_expect(const struct ns_keyindex *index, ns_u32 hash)
{
	__builtin_prefetch(&index->slots[hash & index->mask]);
}

/* Ask the cache for the row that a hash is probably of, to write to it. */
NS_INLINE void ns_keyindex_expect_row(const struct ns_keyindex *index, const void *rows,
				      ns_u64 row_bytes, ns_u32 hash)
{
	ns_u64 slot = index->slots[hash & index->mask];

	if (slot) {
		const ns_u8 *row = (const ns_u8 *)rows + ns_keyindex_position(slot) * row_bytes;

		__builtin_prefetch(row, 1);
		__builtin_prefetch(row + row_bytes - 1, 1);
	}
}

/* Enter what a smaller, or another, index of the same secret holds; the index is empty. */
static inline void ns_keyindex_copy(struct ns_keyindex *index, const struct ns_keyindex *from)
{
	for (ns_u64 i = 0; from->slots && i <= from->mask; i++) {
		ns_u64 slot = from->slots[i];
		ns_u32 at = (ns_u32)(slot >> 32) & index->mask;

		if (!slot)
			continue;
		while (index->slots[at])
			at = (at + 1) & index->mask;
		index->slots[at] = slot;
	}
}

#endif
