/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keyed 64-bit fingerprint of a flow key. Two passes of NH over the ten 32-bit halves, each with
 * its own part of the secret, then a mixing step.
 *
 * NH is 2^-32-almost-universal (Black et al., UMAC, CRYPTO 1999; RFC 4418 §5.2), two passes with
 * shifted keys 2^-64: whoever does not know the secret cannot aim two flows at one bucket better
 * than by chance. Ten multiplications that do not wait for each other: about 4 ns.
 */
#ifndef NS_HASH_H
#define NS_HASH_H

#include "abi.h"

/* Bijection that spreads every bit over the word (Stafford's Mix13, as in splitmix64). */
NS_INLINE ns_u64 ns_mix64(ns_u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

NS_INLINE ns_u64 ns_nh_word(ns_u64 word, ns_u64 key)
{
	return (ns_u64)((ns_u32)word + (ns_u32)key) *
	       (ns_u64)((ns_u32)(word >> 32) + (ns_u32)(key >> 32));
}

/**
 * ns_fingerprint - keyed fingerprint of a flow
 * @secret: NS_HASH_WORDS words
 * @key: flow key
 *
 * Return: 64 bits; equal for equal keys, and for two different keys with probability about 2^-64
 * over the choice of @secret.
 */
NS_INLINE ns_u64 ns_fingerprint(const ns_u64 *secret, const struct ns_key *key)
{
	const ns_u64 *word = (const ns_u64 *)key;
	ns_u64 first = 0, second = 0, here = secret[0];

	for (int i = 0; i < 5; i++) {
		ns_u64 next = secret[i + 1];

		first += ns_nh_word(word[i], here);
		second += ns_nh_word(word[i], next);
		here = next;
	}
	return ns_mix64(first ^ ns_mix64(second + secret[6]) ^ secret[7]);
}

#endif
