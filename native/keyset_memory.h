/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of a set of keys (core/keyset.h). */
#ifndef NS_KEYSET_MEMORY_H
#define NS_KEYSET_MEMORY_H

#include <stdlib.h>
#include <sys/random.h>

#include "keyset.h"

/* Give an empty set room, or -1 without memory or a secret; zeroed pages are the system's until
 * they are written to. */
static inline int ns_keyset_allocate(struct ns_keyset *set, ns_u32 capacity)
{
	ns_u32 heads = 16;

	/* Chains that are empty cost least: half the time of a flood of new keys. */
	while (heads < 4 * capacity)
		heads *= 2;
	set->keys = calloc(capacity, sizeof(*set->keys));
	set->next = calloc(capacity, sizeof(*set->next));
	set->heads = calloc(heads, sizeof(*set->heads));
	set->capacity = capacity;
	set->heads_mask = heads - 1;
	if (getrandom(set->secret, sizeof(set->secret), 0) != sizeof(set->secret))
		return -1;
	return set->keys && set->next && set->heads ? 0 : -1;
}

static inline void ns_keyset_free(struct ns_keyset *set)
{
	free(set->keys);
	free(set->next);
	free(set->heads);
}

#endif
