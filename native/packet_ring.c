// SPDX-License-Identifier: BSD-2-Clause
#include "packet_ring.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "link.h"

enum {
	SLL_OFFSET = TPACKET_ALIGN(sizeof(struct tpacket3_hdr)),
	FLIP_WAIT_S = 1,  /* the kernel hands out a block after some ms, full or not */
	FORCE_WAIT_S = 5, /* until the reader, which no longer waits for frames, gets to run */
};

static int compare_devices(const void *a, const void *b)
{
	ns_u32 x = ((const struct ns_device *)a)->index, y = ((const struct ns_device *)b)->index;

	return (x > y) - (x < y);
}

static int compare_addresses(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* INPUT and OUTPUT as netfilter means them: for this host by address or to many, and from it. */
static int is_mine(const struct ns_packet_ring *ring, const struct sockaddr_ll *link,
		   const struct ns_key *key)
{
	const ns_u8 *address = link->sll_pkttype == PACKET_OUTGOING ? key->src : key->dst;
	const struct ns_host *host = ring->host;

	if (ring->table.config.whole_device)
		return 1;
	/* Loopback carries nobody else's packets, and all of 127.0.0.0/8 is local there. */
	if (link->sll_hatype == ARPHRD_LOOPBACK)
		return 1;
	if (link->sll_pkttype != PACKET_HOST && link->sll_pkttype != PACKET_OUTGOING)
		return 1;
	return bsearch(address, host->addresses, host->addresses_count, 16, compare_addresses) !=
	       NULL;
}

static int is_excluded(const struct ns_packet_ring *ring, const struct ns_packet *packet)
{
	return ring->table.config.encapsulated == NS_ENCAPSULATED_EXCLUDE &&
	       ns_carries_another(&packet->key);
}

static void count_frame(struct ns_packet_ring *ring, const struct tpacket3_hdr *frame)
{
	const ns_u8 *start = (const ns_u8 *)frame + frame->tp_mac;
	const struct sockaddr_ll *link =
		(const struct sockaddr_ll *)((const ns_u8 *)frame + SLL_OFFSET);
	const struct virtio_net_hdr *offload =
		(const struct virtio_net_hdr *)(start - sizeof(*offload));
	struct ns_device wanted = {.index = (ns_u32)link->sll_ifindex};
	const struct ns_device *device =
		bsearch(&wanted, ring->host->devices, ring->host->devices_count, sizeof(wanted),
			compare_devices);
	struct ns_view view = {.start = start, .bytes = frame->tp_snaplen};
	struct ns_carrier carrier = {
		.gso_size = offload->gso_type == VIRTIO_NET_HDR_GSO_NONE ? 0 : offload->gso_size,
		.direction = link->sll_pkttype == PACKET_OUTGOING ? NS_OUT : NS_IN,
	};
	struct ns_packet packet;
	enum ns_parsed parsed;

	if (!device)
		return; /* another view of packets that a counted device shows */
	if (device->ethernet)
		parsed = ns_parse_ethernet(&view, &carrier.l3_offset);
	else
		parsed = ns_find_ip_by_version(&view, frame->tp_net - frame->tp_mac,
					       &carrier.l3_offset);
	if (parsed == NS_PARSED) {
		if (frame->tp_len > carrier.l3_offset)
			carrier.l3_bytes = frame->tp_len - carrier.l3_offset;
		parsed = ns_parse(&view, &carrier, &packet);
	}
	if (parsed != NS_PARSED)
		ns_memory_table_drop(&ring->table, carrier.direction, ns_drop_cause(parsed), 1);
	else if (!is_excluded(ring, &packet) && is_mine(ring, link, &packet.key))
		ns_memory_table_add(&ring->table, &packet);
}

static int flip_is_due(const struct ns_packet_ring *ring)
{
	return __atomic_load_n(&ring->flip_pending, __ATOMIC_ACQUIRE) &&
	       ring->walked >= __atomic_load_n(&ring->flip_at, __ATOMIC_RELAXED);
}

/* Tell, when no block is ready, whether to wait for what is still to come. */
static int is_given_up(const struct ns_packet_ring *ring)
{
	return __atomic_load_n(&ring->flip_pending, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&ring->give_up, __ATOMIC_RELAXED);
}

static void do_flip(struct ns_packet_ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	/* Counted as delivered and never seen: they would delay every flip to come. */
	if (ring->walked < ring->flip_at) {
		ns_memory_table_drop(&ring->table, NS_IN, NS_DROP_RING_FULL,
				     ring->flip_at - ring->walked);
		ring->walked = ring->flip_at;
	}
	if (ring->lost > ring->unfilled + ring->reported) {
		ns_u64 news = ring->lost - ring->unfilled - ring->reported;

		ns_memory_table_drop(&ring->table, NS_IN, NS_DROP_RING_FULL, news);
		ring->reported += news;
	}
	ring->table.sample_shift = ring->next_sample_shift;
	ring->closed = ns_memory_table_flip(&ring->table);
	ring->give_up = 0;
	__atomic_store_n(&ring->flip_pending, 0, __ATOMIC_RELEASE);
	pthread_cond_signal(&ring->done);
	pthread_mutex_unlock(&ring->lock);
}

void ns_host_free(struct ns_host *host)
{
	if (host) {
		free(host->devices);
		free(host->addresses);
	}
	free(host);
}

static void take_host(struct ns_packet_ring *ring)
{
	struct ns_host *next = __atomic_exchange_n(&ring->next_host, NULL, __ATOMIC_ACQ_REL);

	if (next) {
		ns_host_free(ring->host);
		ring->host = next;
	}
}

static void walk_block(struct ns_packet_ring *ring, const struct tpacket_block_desc *block)
{
	const ns_u8 *at = (const ns_u8 *)block + block->hdr.bh1.offset_to_first_pkt;

	take_host(ring);
	for (ns_u32 i = 0; i < block->hdr.bh1.num_pkts; i++) {
		const struct tpacket3_hdr *frame = (const struct tpacket3_hdr *)at;

		if (flip_is_due(ring))
			do_flip(ring);
		/* A super-packet that PACKET_VNET_HDR cannot describe leaves its slot unfilled. */
		if (frame->tp_status & TP_STATUS_USER) {
			count_frame(ring, frame);
			ring->walked++;
		} else {
			ns_memory_table_drop(&ring->table, NS_IN, NS_DROP_UNKNOWN_OFFLOAD, 1);
			ring->unfilled++;
		}
		at += frame->tp_next_offset;
	}
}

/* Sleep until there is a block, an errand, or the end. */
static void await_block(struct ns_packet_ring *ring)
{
	struct pollfd wanted[] = {{.fd = ring->fd, .events = POLLIN},
				  {.fd = ring->wake, .events = POLLIN}};
	ns_u64 errands;

	if (poll(wanted, 2, -1) <= 0)
		return;
	if (wanted[1].revents & POLLIN)
		(void)!read(ring->wake, &errands, sizeof(errands));
	/* Its device went down or away: until that is read, poll() has no patience at all. */
	if (wanted[0].revents & POLLERR) {
		int error;
		socklen_t bytes = sizeof(error);

		(void)!getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
	}
}

void ns_packet_ring_walk(struct ns_packet_ring *ring)
{
	while (!__atomic_load_n(&ring->stop, __ATOMIC_ACQUIRE)) {
		struct tpacket_block_desc *block =
			(struct tpacket_block_desc *)(void *)(ring->memory +
							      ring->block * ring->block_bytes);
		ns_u32 *status = &block->hdr.bh1.block_status;

		if (__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) {
			walk_block(ring, block);
			__atomic_store_n(status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
			ring->block = (ring->block + 1) % ring->blocks;
		} else if (flip_is_due(ring) || is_given_up(ring)) {
			do_flip(ring);
		} else {
			await_block(ring);
		}
	}
}

static void wake_reader(const struct ns_packet_ring *ring)
{
	const ns_u64 errand = 1;

	(void)!write(ring->wake, &errand, sizeof(errand));
}

/* Add what the kernel counted since the last call; it forgets (packet(7), PACKET_STATISTICS). */
static int read_statistics(struct ns_packet_ring *ring)
{
	struct tpacket_stats_v3 statistics;
	socklen_t bytes = sizeof(statistics);

	if (getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &bytes))
		return -1;
	ring->delivered += statistics.tp_packets - statistics.tp_drops;
	ring->lost += statistics.tp_drops;
	return 0;
}

/* Wait for the reader; returns whether the flip was made in time. */
static int await_flip(struct ns_packet_ring *ring, time_t wait_s)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += wait_s;
	while (ring->flip_pending)
		if (pthread_cond_timedwait(&ring->done, &ring->lock, &deadline))
			break;
	return !ring->flip_pending;
}

int ns_packet_ring_flip(struct ns_packet_ring *ring, ns_u32 sample_shift, ns_u32 *closed)
{
	int failed = 0;

	pthread_mutex_lock(&ring->lock);
	if (!ring->flip_pending) { /* else an errand that was given up is still to be done */
		failed = read_statistics(ring);
		ring->next_sample_shift = sample_shift;
		__atomic_store_n(&ring->flip_at, ring->delivered, __ATOMIC_RELAXED);
		__atomic_store_n(&ring->flip_pending, !failed, __ATOMIC_RELEASE);
	}
	wake_reader(ring);
	if (!failed && !await_flip(ring, FLIP_WAIT_S)) {
		__atomic_store_n(&ring->give_up, 1, __ATOMIC_RELAXED);
		wake_reader(ring);
		if (!await_flip(ring, FORCE_WAIT_S)) {
			errno = ETIMEDOUT;
			failed = -1;
		}
	}
	*closed = ring->closed;
	pthread_mutex_unlock(&ring->lock);
	return failed;
}

void ns_packet_ring_follow(struct ns_packet_ring *ring, struct ns_host *host)
{
	ns_host_free(__atomic_exchange_n(&ring->next_host, host, __ATOMIC_ACQ_REL));
}

void ns_packet_ring_stop(struct ns_packet_ring *ring)
{
	__atomic_store_n(&ring->stop, 1, __ATOMIC_RELEASE);
	wake_reader(ring);
}

int ns_packet_ring_open(struct ns_packet_ring *ring, int fd, void *memory, size_t memory_bytes,
			size_t block_bytes)
{
	pthread_condattr_t monotonic;

	ring->fd = fd;
	ring->memory = memory;
	ring->block_bytes = block_bytes;
	ring->blocks = memory_bytes / block_bytes;
	pthread_mutex_init(&ring->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&ring->done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	ring->host = calloc(1, sizeof(*ring->host));
	ring->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return ring->host && ring->wake >= 0 ? 0 : -1;
}

void ns_packet_ring_close(struct ns_packet_ring *ring)
{
	if (!ring->memory)
		return; /* never opened */
	ns_host_free(ring->next_host);
	ns_host_free(ring->host);
	pthread_cond_destroy(&ring->done);
	pthread_mutex_destroy(&ring->lock);
	if (ring->wake >= 0)
		close(ring->wake);
}
