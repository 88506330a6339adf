// SPDX-License-Identifier: BSD-2-Clause
#include "memory_table.h"

#include <sys/mman.h>

enum { SLICES = NS_DIRECTIONS * NS_PARITIES };

/* Zeroed memory in huge pages where the kernel has them: buckets are hit at random, and a page
 * fault for each 4 KiB would cost more than what a short capture counts. */
static void *take_pages(size_t bytes)
{
	void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	madvise(pages, bytes, MADV_HUGEPAGE);
	return pages;
}

static void give_back(void *pages, size_t bytes)
{
	if (pages)
		munmap(pages, bytes);
}

int ns_memory_table_open(struct ns_memory_table *table, const char *secret, Py_ssize_t secret_bytes,
			 unsigned int lg_buckets, unsigned int sample_shift)
{
	size_t buckets;

	if (secret_bytes != NS_HASH_WORDS * 8 || lg_buckets < 3 || lg_buckets > 16 ||
	    sample_shift < NS_SAMPLE_SHIFT_LEAST || sample_shift > 32) {
		PyErr_SetString(PyExc_ValueError, "a flow table: secret is 64 bytes, lg_buckets 3 "
						  "to 16, sample_shift 6 to 32");
		return -1;
	}
	buckets = (size_t)SLICES << lg_buckets;
	memcpy(table->config.hash_key, secret, sizeof(table->config.hash_key));
	table->config.lg_buckets = lg_buckets;
	table->config.sample_shift = sample_shift;
	table->epoch = 1;
	table->sample_shift = sample_shift;
	table->slices = calloc(SLICES, sizeof(*table->slices));
	table->hot = take_pages(buckets * sizeof(*table->hot));
	table->cold = take_pages(buckets * sizeof(*table->cold));
	table->touched = calloc(buckets, sizeof(*table->touched));
	if (table->slices && table->hot && table->cold && table->touched)
		return 0;
	PyErr_NoMemory();
	return -1;
}

void ns_memory_table_close(struct ns_memory_table *table)
{
	size_t buckets = (size_t)SLICES << table->config.lg_buckets;

	free(table->slices);
	give_back(table->hot, buckets * sizeof(*table->hot));
	give_back(table->cold, buckets * sizeof(*table->cold));
	free(table->touched);
}

void ns_memory_table_expect(const struct ns_memory_table *table, struct ns_arrival *arrival)
{
	const struct ns_key *key = &arrival->packet.key;
	ns_u32 lg_buckets = table->config.lg_buckets;
	const char *hot;

	arrival->fingerprint = ns_fingerprint(table->config.hash_key, key);
	arrival->slice = ns_slice_index(0, key->direction, table->epoch);
	arrival->index = ns_bucket_index(arrival->fingerprint, lg_buckets, table->sample_shift);
	hot = (const char *)&table->hot[(arrival->slice << lg_buckets) + arrival->index];
	for (size_t line = 0; line < sizeof(struct ns_hot); line += 64)
		__builtin_prefetch(hot + line, 1);
}

void ns_memory_table_count(struct ns_memory_table *table, const struct ns_arrival *arrival)
{
	const struct ns_packet *packet = &arrival->packet;
	ns_u32 at = arrival->slice, first = at << table->config.lg_buckets;
	struct ns_hot *hot = &table->hot[first + arrival->index];
	struct ns_cold *cold = &table->cold[first + arrival->index];
	struct ns_slice *slice = &table->slices[at];
	int alone = ns_slice_enter(slice);

	if (hot->epoch != table->epoch)
		table->touched[first + table->touched_used[at]++] = arrival->index;
	if (!ns_hot_hit(hot, table->epoch, arrival->fingerprint, packet, alone) &&
	    !ns_insert(slice, hot, cold, arrival->fingerprint, packet))
		ns_slice_contended(slice, packet);
	ns_slice_leave(slice);
}

void ns_memory_table_add(struct ns_memory_table *table, const struct ns_packet *packet)
{
	struct ns_arrival arrival = {.packet = *packet};

	ns_memory_table_expect(table, &arrival);
	ns_memory_table_count(table, &arrival);
}

void ns_memory_table_drop(struct ns_memory_table *table, ns_u32 direction, enum ns_drop cause,
			  ns_u64 packets)
{
	table->slices[ns_slice_index(0, direction, table->epoch)].drops[cause] += packets;
}

ns_u32 ns_memory_table_flip(struct ns_memory_table *table)
{
	ns_u32 closed = table->epoch;

	table->epoch = ns_next_epoch(closed);
	for (ns_u32 direction = 0; direction < NS_DIRECTIONS; direction++)
		table->touched_used[ns_slice_index(0, direction, table->epoch)] = 0;
	return closed;
}

PyObject *ns_memory_table_buffers(const struct ns_memory_table *table)
{
	Py_ssize_t buckets = (Py_ssize_t)SLICES << table->config.lg_buckets;

	return Py_BuildValue(
		"NNN",
		PyMemoryView_FromMemory((char *)table->hot,
					buckets * (Py_ssize_t)sizeof(*table->hot), PyBUF_READ),
		PyMemoryView_FromMemory((char *)table->cold,
					buckets * (Py_ssize_t)sizeof(*table->cold), PyBUF_READ),
		PyMemoryView_FromMemory((char *)table->slices,
					SLICES * (Py_ssize_t)sizeof(*table->slices), PyBUF_READ));
}
