/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many flows there were, when too many came to list them: HyperLogLog (Flajolet et al., AofA
 * 2007) of 4096 registers, standard error 1.04 / sqrt(4096) = 1.6 %. A flow that is inserted again
 * changes nothing, so registers are touched on insert only.
 *
 * A register holds its epoch beside its rank: one of an older epoch is empty, so nobody resets.
 * One that is not touched for 2^26 epochs of 100 ms, 77 days, would be taken for a new one.
 */
#ifndef NS_HLL_H
#define NS_HLL_H

#include "abi.h"

enum {
	NS_RANK_BITS = 6,
	NS_RANK_MASK = (1 << NS_RANK_BITS) - 1,
	NS_MOST_RANK = 64 - NS_HLL_BITS + 1,
};

/* Zeros before the highest one; BPF has no count-leading-zeros. @x is not 0. */
NS_INLINE ns_u32 ns_leading_zeros(ns_u64 x)
{
	ns_u32 zeros = 0;

	for (ns_u32 step = 32; step; step /= 2) {
		if (x >> (64 - step) == 0) {
			zeros += step;
			x <<= step;
		}
	}
	return zeros;
}

/* Where a fingerprint's first one stands above the bits that choose the register, from 1. */
NS_INLINE ns_u32 ns_hll_rank(ns_u64 fingerprint)
{
	ns_u64 rest = fingerprint >> NS_HLL_BITS << NS_HLL_BITS;

	return rest ? ns_leading_zeros(rest) + 1 : NS_MOST_RANK;
}

/* Rank of a register in an epoch, 0 when no flow touched it then. */
NS_INLINE ns_u32 ns_hll_read(ns_u32 value, ns_u32 epoch)
{
	return ((epoch << NS_RANK_BITS) ^ value) >> NS_RANK_BITS ? 0 : value & NS_RANK_MASK;
}

/**
 * ns_hll_add - note a flow
 * @registers: NS_HLL_REGISTERS of them
 * @epoch: current epoch
 * @fingerprint: of the flow
 *
 * Only for a caller that is alone with the registers.
 */
NS_INLINE void ns_hll_add(ns_u32 *registers, ns_u32 epoch, ns_u64 fingerprint)
{
	ns_u32 *at = &registers[fingerprint & (NS_HLL_REGISTERS - 1)];
	ns_u32 rank = ns_hll_read(*at, epoch), now;

	/* Most flows have a one among their first bits, and so no higher rank: none of the jumps
	 * that counting zeros takes, which no CPU can guess. */
	if (rank && fingerprint >> (64 - rank))
		return;
	now = ns_hll_rank(fingerprint);
	if (now > rank)
		*at = epoch << NS_RANK_BITS | now;
}

#endif
