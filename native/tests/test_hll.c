// SPDX-License-Identifier: BSD-2-Clause
/* The HyperLogLog: ranks, epochs, and that a flow counts once. */
#include "hash.h"
#include "hll.h"

#include "check.h"

static ns_u32 registers[NS_HLL_REGISTERS];

static void ranks(void)
{
	for (ns_u32 bit = 0; bit < 64; bit++)
		CHECK(ns_leading_zeros(1ULL << bit) == 63 - bit);
	CHECK(ns_leading_zeros(~0ULL) == 0);
	CHECK(ns_hll_rank(~0ULL) == 1);
	CHECK(ns_hll_rank(1ULL << NS_HLL_BITS) == 64 - NS_HLL_BITS);
	CHECK(ns_hll_rank((1ULL << NS_HLL_BITS) - 1) == NS_MOST_RANK);
	CHECK(NS_MOST_RANK <= NS_RANK_MASK);
}

static void the_highest_rank_stays(void)
{
	memset(registers, 0, sizeof(registers));
	ns_hll_add(registers, 3, 1ULL << 40 | 7);
	ns_hll_add(registers, 3, 1ULL << 50 | 7);
	ns_hll_add(registers, 3, 1ULL << 40 | 7);
	CHECK(ns_hll_read(registers[7], 3) == 24);
	CHECK(ns_hll_read(registers[8], 3) == 0);
}

static void epochs_do_not_mix(void)
{
	const ns_u32 late = 0xfffffffd, wrapped = 5;

	memset(registers, 0, sizeof(registers));
	ns_hll_add(registers, late, 1ULL << 13);
	CHECK(ns_hll_read(registers[0], late) == 51);
	CHECK(ns_hll_read(registers[0], wrapped) == 0);
	ns_hll_add(registers, wrapped, 1ULL << 63);
	CHECK(ns_hll_read(registers[0], wrapped) == 1);
	CHECK(ns_hll_read(registers[0], late) == 0);
}

/* Whether a rank is worth counting is guessed from the one that stands: never wrongly. */
static void every_register_holds_the_highest_rank(void)
{
	static ns_u32 highest[NS_HLL_REGISTERS];

	memset(registers, 0, sizeof(registers));
	for (ns_u64 i = 0; i < 200000; i++) {
		/* Few ones, so that high ranks come too. */
		ns_u64 fingerprint = ns_mix64(i) >> (i % 52) | (i & (NS_HLL_REGISTERS - 1));
		ns_u32 *at = &highest[fingerprint & (NS_HLL_REGISTERS - 1)];

		if (ns_hll_rank(fingerprint) > *at)
			*at = ns_hll_rank(fingerprint);
		ns_hll_add(registers, 9, fingerprint);
	}
	for (int i = 0; i < NS_HLL_REGISTERS; i++)
		CHECK(ns_hll_read(registers[i], 9) == highest[i]);
}

int main(void)
{
	ranks();
	the_highest_rank_stays();
	every_register_holds_the_highest_rank();
	epochs_do_not_mix();
	return 0;
}
