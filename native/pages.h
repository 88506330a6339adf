/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Zeroed arrays whose pages are the system's until they are written to, and when they are freed.
 *
 * calloc() promises neither: what it takes from a heap that was used before it must write zeros to.
 * For tables made for the worst, of which most hosts use a corner.
 */
#ifndef NS_PAGES_H
#define NS_PAGES_H

#include <stddef.h>
#include <sys/mman.h>

/* NULL without memory. */
static inline void *ns_pages(size_t number, size_t size)
{
	void *at = mmap(NULL, number * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, number * size, MADV_NOHUGEPAGE); /* a corner is not 2 MB */
	return at;
}

/* Free what ns_pages gave, which may be NULL. */
static inline void ns_pages_free(void *at, size_t number, size_t size)
{
	if (at)
		munmap(at, number * size);
}

#endif
