/* SPDX-License-Identifier: BSD-2-Clause */
/* The k-th largest of many weights, user space, digit by digit from the highest: no reordering. */
#ifndef NS_LARGEST_H
#define NS_LARGEST_H

#include "port.h"

enum { NS_DIGIT_BITS = 8, NS_DIGITS = 1 << NS_DIGIT_BITS };

/* Highest shift, a multiple of a digit's bits, at which a weight has bits. */
NS_INLINE ns_u32 ns_highest_digit(const ns_u64 *weights, ns_u32 n)
{
	ns_u64 all = 0;
	ns_u32 shift = 0;

	for (ns_u32 i = 0; i < n; i++)
		all |= weights[i];
	while (all >> shift >= NS_DIGITS)
		shift += NS_DIGIT_BITS;
	return shift;
}

/**
 * ns_kth_largest - the k-th largest weight
 * @weights: at least one
 * @n: how many
 * @k: from 0, below @n
 *
 * Return: the weight; at most 8 passes, 2 for weights below 2^16.
 */
static inline ns_u64 ns_kth_largest(const ns_u64 *weights, ns_u32 n, ns_u32 k)
{
	ns_u64 prefix = 0;

	for (ns_u32 shift = ns_highest_digit(weights, n);; shift -= NS_DIGIT_BITS) {
		ns_u32 counts[NS_DIGITS] = {0};
		ns_u32 digit = NS_DIGITS - 1;

		/* The digits above are settled: those of other weights do not count. */
		for (ns_u32 i = 0; i < n; i++) {
			ns_u64 digits = (weights[i] >> shift) ^ (prefix << NS_DIGIT_BITS);

			if (digits < NS_DIGITS)
				counts[digits]++;
		}
		for (; k >= counts[digit]; digit--)
			k -= counts[digit];
		prefix = prefix << NS_DIGIT_BITS | digit;
		if (!shift)
			return prefix;
	}
}

#endif
