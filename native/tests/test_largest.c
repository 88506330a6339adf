// SPDX-License-Identifier: BSD-2-Clause
/* The k-th largest weight equals the k-th of the sorted ones. */
#include "largest.h"

#include "check.h"

enum { WEIGHTS = 500 };

static int larger_first(const void *left, const void *right)
{
	ns_u64 a = *(const ns_u64 *)left, b = *(const ns_u64 *)right;

	return (a < b) - (a > b);
}

static void all_of(unsigned int bits)
{
	static ns_u64 weights[WEIGHTS], sorted[WEIGHTS];
	ns_u64 seed = bits + 1;

	for (int i = 0; i < WEIGHTS; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		weights[i] = bits ? seed >> (64 - bits) : 7;
	}
	memcpy(sorted, weights, sizeof(sorted));
	qsort(sorted, WEIGHTS, sizeof(*sorted), larger_first);
	for (ns_u32 k = 0; k < WEIGHTS; k++)
		CHECK(ns_kth_largest(weights, WEIGHTS, k) == sorted[k]);
}

int main(void)
{
	const ns_u64 values[] = {5, 1, 9, 9, 3, 0, 7};
	const ns_u64 none[] = {0};

	CHECK(ns_kth_largest(values, 7, 0) == 9);
	CHECK(ns_kth_largest(values, 7, 2) == 7);
	CHECK(ns_kth_largest(values, 7, 6) == 0);
	CHECK(ns_kth_largest(none, 1, 0) == 0);
	for (unsigned int bits = 0; bits <= 64; bits += 4)
		all_of(bits);
	return 0;
}
