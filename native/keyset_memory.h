/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of a set of keys (core/keyset.h). */
#ifndef NS_KEYSET_MEMORY_H
#define NS_KEYSET_MEMORY_H

#include <sys/random.h>

#include "keyset.h"
#include "pages.h"

/* Give an empty set room, or -1 without memory or a secret. */
static inline int ns_keyset_allocate(struct ns_keyset *set, ns_u32 capacity)
{
	ns_u32 heads = 16;

	/* Chains that are empty cost least: half the time of a flood of new keys. */
	while (heads < 4 * capacity)
		heads *= 2;
	set->keys = ns_pages(capacity, sizeof(*set->keys));
	set->next = ns_pages(capacity, sizeof(*set->next));
	set->heads = ns_pages(heads, sizeof(*set->heads));
	set->capacity = capacity;
	set->heads_mask = heads - 1;
	if (getrandom(set->secret, sizeof(set->secret), 0) != sizeof(set->secret))
		return -1;
	return set->keys && set->next && set->heads ? 0 : -1;
}

static inline void ns_keyset_free(struct ns_keyset *set)
{
	ns_pages_free(set->keys, set->capacity, sizeof(*set->keys));
	ns_pages_free(set->next, set->capacity, sizeof(*set->next));
	ns_pages_free(set->heads, set->heads_mask + 1ul, sizeof(*set->heads));
}

#endif
