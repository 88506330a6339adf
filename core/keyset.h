/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys that come and go, user space: each has a slot for as long as it is held, so what belongs to
 * it lies in arrays beside. Slots that were given back are used first, so memory that was never
 * needed is never touched. The hash is keyed: see keyindex.h.
 */
#ifndef NS_KEYSET_H
#define NS_KEYSET_H

#include "keyindex.h"
#include "match.h"

struct ns_keyset {
	struct ns_key *keys; /* [capacity], by slot */
	ns_u32 *next;	     /* [capacity], of its chain, or the next free slot; + 1, 0: none */
	ns_u32 *heads;	     /* [heads_mask + 1], first slot of a chain; + 1, 0: none */
	ns_u32 capacity;
	ns_u32 heads_mask; /* a power of two, minus 1 */
	ns_u32 free;	   /* first slot that was given back; + 1, 0: none */
	ns_u32 begun;	   /* slots that were ever used */
	ns_u32 live;
	ns_u64 secret[NS_HASH_WORDS];
};

/* The fields of a flow that a pair of masks (IPv4, IPv6) leaves. */
static inline struct ns_key ns_masked(const struct ns_key *key, const struct ns_key *masks)
{
	const ns_u64 *word = (const ns_u64 *)key;
	const ns_u64 *bits = (const ns_u64 *)&masks[ns_is_ipv4(key) ? 0 : 1];
	union {
		ns_u64 word[5];
		struct ns_key key;
	} masked;

	for (int i = 0; i < 5; i++)
		masked.word[i] = word[i] & bits[i];
	return masked.key;
}

static inline ns_u32 *ns_keyset_head(const struct ns_keyset *set, const struct ns_key *key)
{
	return &set->heads[ns_key_hash(set->secret, key) & set->heads_mask];
}

/* Slot of a key, + 1; 0 when it is not held. */
static inline ns_u32 ns_keyset_find(const struct ns_keyset *set, const struct ns_key *key)
{
	ns_u32 at = *ns_keyset_head(set, key);

	while (at && !ns_key_equal(&set->keys[at - 1], key))
		at = set->next[at - 1];
	return at;
}

/* Ask the cache for the chain that a key is in; gives its head. */
static inline const ns_u32 *ns_keyset_expect(const struct ns_keyset *set, const struct ns_key *key)
{
	const ns_u32 *head = ns_keyset_head(set, key);

	__builtin_prefetch(head);
	return head;
}

/* Hold a key that is not held, and give its slot; there must be room. */
static inline ns_u32 ns_keyset_put(struct ns_keyset *set, const struct ns_key *key)
{
	ns_u32 *head = ns_keyset_head(set, key), slot;

	if (set->free) {
		slot = set->free - 1;
		set->free = set->next[slot];
	} else {
		slot = set->begun++;
	}
	set->keys[slot] = *key;
	set->next[slot] = *head;
	*head = slot + 1;
	set->live++;
	return slot;
}

static inline void ns_keyset_remove(struct ns_keyset *set, ns_u32 slot)
{
	ns_u32 *link = ns_keyset_head(set, &set->keys[slot]);

	while (*link != slot + 1)
		link = &set->next[*link - 1];
	*link = set->next[slot];
	set->next[slot] = set->free;
	set->free = slot + 1;
	set->live--;
}

#endif
