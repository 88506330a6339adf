// SPDX-License-Identifier: BSD-2-Clause
/*
 * Load for a link: `link_load send` puts small UDP packets on it as fast as it can, or at a rate,
 * each of the next flow, and `link_load sink` counts those that reach a socket. Each prints its
 * number of packets; the sender, behind it, the processor time it took, in ns.
 *
 * The sender writes frames through a packet socket that bypasses the queueing discipline, so that
 * it, and not a socket for each flow, sets the pace; one source address is one flow.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	PAYLOAD_BYTES = 22, /* 64-byte frames, their checksum included */
	FRAME_BYTES = sizeof(struct ether_header) + sizeof(struct iphdr) + sizeof(struct udphdr) +
		      PAYLOAD_BYTES,
	RECEIVE_BYTES = 2048,
	SOCKET_BYTES = 64 << 20,
};

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct udphdr udp;
	char payload[PAYLOAD_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == FRAME_BYTES, "no padding");

static int failed(const char *what)
{
	fprintf(stderr, "link_load: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now_s(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The kernel takes a packet to the receiver's socket in the sender's time. */
static double used_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static unsigned short checksum(const struct frame *frame)
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

static int open_packet_socket(const char *device)
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

/* Wait until so many packets are due at a rate since the start; 0: at once. */
static void await_turn(double start_s, unsigned long sent, double rate)
{
	double wait_s = rate > 0 ? start_s + (double)sent / rate - now_s() : 0;

	if (wait_s > 0)
		nanosleep(&(struct timespec){.tv_nsec = (long)(wait_s * 1e9)}, NULL);
}

/* send DEVICE DESTINATION-MAC DESTINATION FIRST-SOURCE FLOWS SECONDS [PACKETS-PER-SECOND] */
static int send_packets(char **argument)
{
	unsigned int flows = (unsigned int)atoi(argument[4]), first = ntohl(inet_addr(argument[3]));
	int descriptor = open_packet_socket(argument[0]);
	unsigned long sent = 0;
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec pieces[BATCH];
	double start_s = now_s(), end_s = start_s + atof(argument[5]);
	double rate = argument[6] ? atof(argument[6]) : 0, before_ns = used_ns();

	if (descriptor < 0)
		return failed("packet socket");
	for (int i = 0; i < BATCH; i++) {
		unsigned char *mac = frames[i].ethernet.ether_dhost;

		sscanf(argument[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3,
		       mac + 4, mac + 5);
		frames[i].ethernet.ether_shost[0] = 2;
		frames[i].ethernet.ether_type = htons(ETHERTYPE_IP);
		frames[i].ip = (struct iphdr){.version = 4,
					      .ihl = 5,
					      .ttl = 64,
					      .protocol = IPPROTO_UDP,
					      .daddr = inet_addr(argument[2])};
		frames[i].ip.tot_len = htons(FRAME_BYTES - sizeof(struct ether_header));
		frames[i].udp = (struct udphdr){.uh_sport = htons(1024), .uh_dport = htons(9000)};
		frames[i].udp.uh_ulen = htons(sizeof(struct udphdr) + PAYLOAD_BYTES);
		pieces[i] = (struct iovec){&frames[i], sizeof(frames[i])};
		messages[i].msg_hdr.msg_iov = &pieces[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (now_s() < end_s) {
		int taken;

		for (unsigned int i = 0; i < BATCH; i++) {
			frames[i].ip.saddr = htonl(first + (unsigned int)((sent + i) % flows));
			frames[i].ip.check = 0;
			frames[i].ip.check = checksum(&frames[i]);
		}
		await_turn(start_s, sent, rate);
		taken = sendmmsg(descriptor, messages, BATCH, 0);
		if (taken < 0 && errno != ENOBUFS)
			return failed("send");
		sent += taken > 0 ? (unsigned int)taken : 0;
	}
	printf("%lu %.0f\n", sent, used_ns() - before_ns);
	return 0;
}

/* sink: counts until its standard input ends and the socket is empty */
static int sink_packets(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9000)};
	int descriptor = socket(AF_INET, SOCK_DGRAM, 0), size = SOCKET_BYTES, ended = 0;
	static char buffers[BATCH][RECEIVE_BYTES];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec pieces[BATCH];
	unsigned long received = 0;

	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(descriptor, (struct sockaddr *)&address, sizeof(address)))
		return failed("sink");
	for (int i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){buffers[i], RECEIVE_BYTES};
		messages[i].msg_hdr.msg_iov = &pieces[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd waits[2] = {{.fd = descriptor, .events = POLLIN},
					  {.fd = ended ? -1 : 0, .events = POLLIN}};
		int taken = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);

		if (taken > 0) {
			received += (unsigned int)taken;
			continue;
		}
		if (ended)
			break;
		poll(waits, 2, -1);
		ended = waits[1].revents != 0;
	}
	printf("%lu\n", received);
	return 0;
}

int main(int count, char **argument)
{
	if ((count == 8 || count == 9) && !strcmp(argument[1], "send"))
		return send_packets(argument + 2);
	if (count == 2 && !strcmp(argument[1], "sink"))
		return sink_packets();
	fprintf(stderr,
		"usage: link_load sink | send DEVICE MAC DESTINATION SOURCE FLOWS S [RATE]\n");
	return 2;
}
