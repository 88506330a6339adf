/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what a packet socket's ring (packet(7), TPACKET_V3 with PACKET_VNET_HDR) shows into a flow
 * table in memory.
 *
 * One thread, inside ns_packet_ring_walk(), owns the table and walks the ring's blocks. A flip is
 * an errand for it: the kernel is asked how many frames it has put into the ring so far, and the
 * epoch is closed when so many are read, between two frames. So a closed epoch holds everything
 * that was seen before the question, and nothing is lost or counted twice. It does so when the
 * reader is late, too: the flip waits for it.
 */
#ifndef NS_PACKET_RING_H
#define NS_PACKET_RING_H

#include "memory_table.h"

#include <pthread.h>

struct ns_device {
	ns_u32 index;
	ns_u32 ethernet; /* 0: frames start with the IP header */
};

/* What tells this host's packets from others'; both arrays sorted, from malloc(). */
struct ns_host {
	size_t devices_count, addresses_count;
	struct ns_device *devices; /* that are counted at; the others show the same packets again */
	ns_u8 (*addresses)[16];
};

struct ns_packet_ring {
	struct ns_memory_table table;
	ns_u8 *memory;
	size_t block_bytes, blocks;
	int fd, wake;
	int stop;
	struct ns_host *next_host; /* exchanged atomically: from follow to the reader */
	/* The reader's own. */
	struct ns_host *host;
	size_t block;
	ns_u64 walked;	 /* frames read, of those the kernel has put into the ring */
	ns_u64 unfilled; /* slots that the kernel gave up on, and counts as dropped */
	ns_u64 reported; /* drops already in the table */
	/* An errand for the reader, under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t done;
	int flip_pending;
	ns_u32 next_sample_shift; /* of the epoch that the flip begins */
	ns_u64 flip_at;		  /* close the epoch once so many frames are read */
	int give_up;		  /* or once no block is ready: they should all be there by now */
	ns_u64 delivered, lost;
	ns_u32 closed;
};

/* Take over a ring that is mapped at @memory; returns 0, or -1 with errno set. */
int ns_packet_ring_open(struct ns_packet_ring *ring, int fd, void *memory, size_t memory_bytes,
			size_t block_bytes);

/* Free what the ring holds; nobody may be inside any of the other functions. */
void ns_packet_ring_close(struct ns_packet_ring *ring);

/* Use another picture of the host from the next block on; takes ownership of it. */
void ns_packet_ring_follow(struct ns_packet_ring *ring, struct ns_host *host);

void ns_host_free(struct ns_host *host);

/* Be the reader until ns_packet_ring_stop(). */
void ns_packet_ring_walk(struct ns_packet_ring *ring);
void ns_packet_ring_stop(struct ns_packet_ring *ring);

/*
 * Close the epoch and give its number; 1 of 2^sample_shift flows is sampled in the next. When it
 * returns 0 nobody writes that epoch any more. Takes up to two of the ring's block timeouts; -1
 * with errno set when the reader does not answer.
 */
int ns_packet_ring_flip(struct ns_packet_ring *ring, ns_u32 sample_shift, ns_u32 *closed);

#endif
