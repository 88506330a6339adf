/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small UDP packets as frames, put on a link through a packet socket that bypasses the queueing
 * discipline, so that it, and not a socket for each flow, sets the pace; one source address is one
 * flow, and each packet is of the next.
 */
#ifndef LINK_FRAMES_H
#define LINK_FRAMES_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	BATCH = 64,
	PAYLOAD_BYTES = 22, /* 64-byte frames, their checksum included */
	FRAME_BYTES = sizeof(struct ether_header) + sizeof(struct iphdr) + sizeof(struct udphdr) +
		      PAYLOAD_BYTES,
	UDP_PORT = 9000,
};

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	char payload[PAYLOAD_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == FRAME_BYTES, "no padding");

/* What is sent next to one receiver. */
struct frames {
	int socket;
	unsigned int first_source, flows;
	unsigned long sent;
	struct frame frame[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec pieces[BATCH];
};

static inline int failed(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static inline double clock_s(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline unsigned short checksum(const struct frame *frame)
{
	const char *header = (const char *)frame + sizeof(frame->ethernet);
	unsigned int sum = 0;

	for (unsigned int i = 0; i < sizeof(frame->ip) / 2; i++) {
		unsigned short word;

		memcpy(&word, header + 2 * i, 2);
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned short)~(sum + (sum >> 16));
}

static inline int open_packet_socket(const char *device)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETHERTYPE_IP),
				      .sll_ifindex = (int)if_nametoindex(device)};
	int descriptor = socket(AF_PACKET, SOCK_RAW, 0), on = 1;

	if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		return -1;
	return descriptor;
}

/* Returns -1 with errno when the device can not be opened. */
static inline int frames_open(struct frames *frames, const char *device, const char *mac,
			      const char *destination, const char *first_source, unsigned int flows)
{
	frames->socket = open_packet_socket(device);
	frames->first_source = ntohl(inet_addr(first_source));
	frames->flows = flows;
	for (int i = 0; i < BATCH; i++) {
		struct frame *frame = &frames->frame[i];
		unsigned char *to = frame->ethernet.ether_dhost;

		sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4,
		       to + 5);
		frame->ethernet.ether_shost[0] = 2;
		frame->ethernet.ether_type = htons(ETHERTYPE_IP);
		frame->ip = (struct iphdr){.version = 4,
					   .ihl = 5,
					   .ttl = 64,
					   .protocol = IPPROTO_UDP,
					   .daddr = inet_addr(destination)};
		frame->ip.tot_len = htons(FRAME_BYTES - sizeof(struct ether_header));
		frame->udp = (struct udphdr){.uh_sport = htons(1024), .uh_dport = htons(UDP_PORT)};
		frame->udp.uh_ulen = htons(sizeof(struct udphdr) + PAYLOAD_BYTES);
		frames->pieces[i] = (struct iovec){frame, sizeof(*frame)};
		frames->messages[i].msg_hdr.msg_iov = &frames->pieces[i];
		frames->messages[i].msg_hdr.msg_iovlen = 1;
	}
	return frames->socket;
}

/* Send a packet of each of the next flows; returns -1 with errno. */
static inline int frames_send(struct frames *frames)
{
	int taken;

	for (unsigned int i = 0; i < BATCH; i++) {
		struct frame *frame = &frames->frame[i];

		frame->ip.saddr = htonl(frames->first_source +
					(unsigned int)((frames->sent + i) % frames->flows));
		frame->ip.check = 0;
		frame->ip.check = checksum(frame);
	}
	taken = sendmmsg(frames->socket, frames->messages, BATCH, 0);
	if (taken < 0 && errno != ENOBUFS)
		return -1;
	frames->sent += taken > 0 ? (unsigned int)taken : 0;
	return 0;
}

#endif
