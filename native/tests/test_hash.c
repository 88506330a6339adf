// SPDX-License-Identifier: BSD-2-Clause
/* The fingerprint: keyed, stable, and spread evenly over buckets. */
#include "flowtable.h"

#include "check.h"

static struct ns_config config = {
	.hash_key = {0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89,
		     0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd,
		     0x3f84d5b5b5470917},
	.lg_buckets = 8,
	.sample_shift = 6,
};

static struct ns_key key_number(ns_u32 number)
{
	struct ns_key key = {.proto = 17, .sport = 1000, .dport = 53};

	memcpy(key.src + 12, &number, 4);
	return key;
}

static void secret_matters(void)
{
	struct ns_key key = key_number(7);
	ns_u64 before = ns_fingerprint(config.hash_key, &key);
	struct ns_config other = config;

	CHECK(before == ns_fingerprint(config.hash_key, &key));
	for (int i = 0; i < NS_HASH_WORDS; i++) {
		other = config;
		other.hash_key[i] ^= 0x100000001ULL << (i * 3);
		CHECK(ns_fingerprint(other.hash_key, &key) != before);
	}
}

/* Every byte of the key changes the fingerprint. */
static void bytes_matter(void)
{
	struct ns_key key = key_number(7);
	ns_u64 before = ns_fingerprint(config.hash_key, &key);

	for (size_t i = 0; i < sizeof(key); i++) {
		struct ns_key other = key;

		((ns_u8 *)&other)[i] ^= 1;
		CHECK(ns_fingerprint(config.hash_key, &other) != before);
	}
}

/*
 * 2^16 keys over 224 main buckets: chi-squared with 223 degrees of freedom exceeds 340 with
 * probability below 1e-6; the keys are fixed, so the test either always passes or always fails.
 */
static void buckets_are_even(void)
{
	enum { KEYS = 1 << 16, MAIN = 224 };
	static ns_u32 held[256];
	double expected, chi = 0;
	ns_u32 sampled = 0;

	for (ns_u32 i = 0; i < KEYS; i++) {
		struct ns_key key = key_number(i);
		ns_u32 at = ns_bucket_index(ns_fingerprint(config.hash_key, &key),
					    config.lg_buckets, config.sample_shift);

		CHECK(at < 256);
		held[at]++;
		sampled += at >= MAIN;
	}
	expected = (double)(KEYS - sampled) / MAIN;
	for (int i = 0; i < MAIN; i++)
		chi += (held[i] - expected) * (held[i] - expected) / expected;
	CHECK(chi < 340);
	/* 1 of 64 keys: 1024 +- 5.5 standard deviations of 32. */
	CHECK(sampled > 848 && sampled < 1200);
}

int main(void)
{
	secret_matters();
	bytes_matter();
	buckets_are_even();
	return 0;
}
