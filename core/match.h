/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A task's filter, evaluated on records after the fact: the packet path knows no tasks.
 */
#ifndef NS_MATCH_H
#define NS_MATCH_H

#include "abi.h"

enum { NS_ANY_PROTO = 256 };

/* Whether a flow passes a filter. */
NS_INLINE int ns_matches(const struct ns_match *match, const struct ns_key *key)
{
	const ns_u64 *src = (const ns_u64 *)key->src;
	const ns_u64 *dst = (const ns_u64 *)key->dst;

	if (!(match->directions >> key->direction & 1))
		return 0;
	if (match->proto != NS_ANY_PROTO && match->proto != key->proto)
		return 0;
	return !(((src[0] ^ match->src[0]) & match->src_mask[0]) |
		 ((src[1] ^ match->src[1]) & match->src_mask[1]) |
		 ((dst[0] ^ match->dst[0]) & match->dst_mask[0]) |
		 ((dst[1] ^ match->dst[1]) & match->dst_mask[1]));
}

#endif
