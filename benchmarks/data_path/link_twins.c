// SPDX-License-Identifier: BSD-2-Clause
/*
 * Twins side by side: bursts to two receivers in turn, of a part of a second each, so that whatever
 * disturbs the machine disturbs both. Which of them is first changes after each pair. While the
 * second twin has its turn, the process groups that measure at the first are held.
 *
 * UDP is sent as fast as one core can; TCP as fast as its connection takes it. For each pair but
 * the first, which warms up, prints a line: of the first twin, then of the second, the units sent,
 * delivered (packets of UDP, bytes of TCP), the sender's processor time, in ns, and the burst's
 * time, in ns. The last line: all units sent and delivered of the first, all pairs.
 */
#include "link_frames.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sockios.h>

enum {
	TCP_PORT = 9001,
	PIECE_BYTES = 1 << 17,
	RECEIVE_BYTES = 2048,
	SOCKET_BYTES = 64 << 20,
	REST_MS = 1,
	SETTLE_MS = 3, /* more than a sink rests */
	DRAIN_MS = 20, /* most that a connection may still take after its burst */
	MOST_HELD = 8,
	DEADLINE_S = 5,
};

struct twin {
	char *namespace, *device, *mac, *address, *first_source;
	volatile unsigned long *delivered; /* shared with its sink */
	int connection;
	struct frames frames;
};

struct burst {
	unsigned long sent, delivered;
	double cpu_ns, wall_ns;
};

static int tcp;

static void pin(int last)
{
	cpu_set_t all, one;
	int chosen = -1;

	sched_getaffinity(0, sizeof(all), &all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && (last || chosen < 0))
			chosen = cpu;
	CPU_ZERO(&one);
	CPU_SET(chosen, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Open what a sink receives from, in its own network namespace. */
static int sink_socket(const struct twin *twin)
{
	char path[256];
	int space, size = SOCKET_BYTES, on = 1, descriptor;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(tcp ? TCP_PORT : UDP_PORT)};

	snprintf(path, sizeof(path), "/run/netns/%s", twin->namespace);
	space = open(path, O_RDONLY | O_CLOEXEC);
	if (space < 0 || setns(space, CLONE_NEWNET))
		return -1;
	close(space);
	descriptor = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (descriptor < 0 || setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
		return -1;
	if (!tcp && setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		return -1;
	if (bind(descriptor, (struct sockaddr *)&address, sizeof(address)) ||
	    (tcp && listen(descriptor, 1)))
		return -1;
	return descriptor;
}

/*
 * Count packets for ever. It empties the socket by the clock and never waits for a packet: a sender
 * that meets a waiting sink wakes it, which takes as long as a packet, and how often that happens
 * hangs on who is ahead.
 */
static void sink_packets(int descriptor, volatile unsigned long *delivered)
{
	static char buffers[BATCH][RECEIVE_BYTES];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec pieces[BATCH];

	for (int i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){buffers[i], RECEIVE_BYTES};
		messages[i].msg_hdr.msg_iov = &pieces[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		int taken = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);

		if (taken > 0)
			*delivered += (unsigned int)taken;
		else
			poll(NULL, 0, REST_MS);
	}
}

static void sink_stream(int descriptor, volatile unsigned long *delivered)
{
	static char buffer[PIECE_BYTES];
	int connection = accept(descriptor, NULL, NULL);
	ssize_t taken;

	while ((taken = recv(connection, buffer, sizeof(buffer), 0)) > 0)
		*delivered += (unsigned long)taken;
}

/* Start a twin's sink; returns its process when it is ready. */
static pid_t start_sink(struct twin *twin)
{
	int ready[2];
	char byte;
	pid_t parent = getpid(), sink;

	twin->delivered = mmap(NULL, sizeof(*twin->delivered), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (twin->delivered == MAP_FAILED || pipe(ready))
		return -1;
	sink = fork();
	if (!sink) {
		int descriptor = sink_socket(twin);

		if (descriptor < 0 || write(ready[1], "", 1) != 1)
			_exit(failed("sink"));
		close(ready[1]);
		pin(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			(tcp ? sink_stream : sink_packets)(descriptor, twin->delivered);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	return sink;
}

static int open_sender(struct twin *twin, unsigned int flows)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(TCP_PORT),
				 .sin_addr.s_addr = inet_addr(twin->address)};

	if (!tcp)
		return frames_open(&twin->frames, twin->device, twin->mac, twin->address,
				   twin->first_source, flows);
	twin->connection = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(twin->connection, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	return fcntl(twin->connection, F_SETFL, O_NONBLOCK);
}

/* Send over a connection until a time; -1 when it broke. */
static long stream_until(int connection, double end_s)
{
	static char piece[PIECE_BYTES];
	long sent = 0;

	for (;;) {
		double left_s = end_s - clock_s(CLOCK_MONOTONIC);
		struct pollfd room = {.fd = connection, .events = POLLOUT};
		ssize_t taken;

		if (left_s <= 0)
			return sent;
		taken = send(connection, piece, sizeof(piece), MSG_NOSIGNAL);
		if (taken > 0)
			sent += taken;
		else if (errno != EAGAIN)
			return -1;
		else
			poll(&room, 1, (int)(left_s * 1e3) + 1);
	}
}

/* Wait until the other end has what was sent, or for no longer. */
static void drain(int connection)
{
	double end_s = clock_s(CLOCK_MONOTONIC) + DRAIN_MS * 1e-3;
	int left = 1;

	while (!ioctl(connection, SIOCOUTQ, &left) && left && clock_s(CLOCK_MONOTONIC) < end_s)
		poll(NULL, 0, REST_MS);
}

static int send_burst(struct twin *twin, double burst_s, struct burst *burst)
{
	unsigned long before = *twin->delivered, sent_before = twin->frames.sent;
	double start_s = clock_s(CLOCK_MONOTONIC), cpu_s = clock_s(CLOCK_THREAD_CPUTIME_ID);
	long sent;

	if (tcp) {
		sent = stream_until(twin->connection, start_s + burst_s);
		if (sent < 0)
			return -1;
		drain(twin->connection);
		burst->sent = (unsigned long)sent;
	} else {
		while (clock_s(CLOCK_MONOTONIC) < start_s + burst_s)
			if (frames_send(&twin->frames))
				return -1;
		burst->sent = twin->frames.sent - sent_before;
	}
	burst->wall_ns = (clock_s(CLOCK_MONOTONIC) - start_s) * 1e9;
	burst->cpu_ns = (clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu_s) * 1e9;
	if (!tcp)
		poll(NULL, 0, SETTLE_MS);
	burst->delivered = *twin->delivered - before;
	return 0;
}

static void signal_all(const pid_t *groups, int held, int number)
{
	for (int i = 0; i < held; i++)
		killpg(groups[i], number);
}

static int run_pairs(struct twin *twins, double burst_s, int pairs, const pid_t *groups, int held)
{
	unsigned long sent = 0, before = *twins[0].delivered;

	for (int pair = 0; pair <= pairs; pair++) {
		struct burst bursts[2];

		for (int turn = 0; turn < 2; turn++) {
			int twin = (pair + turn) % 2;

			signal_all(groups, held, twin ? SIGSTOP : SIGCONT);
			if (send_burst(&twins[twin], burst_s, &bursts[twin]))
				return failed("send");
		}
		sent += bursts[0].sent;
		for (int i = 0; pair && i < 2; i++)
			printf("%lu %lu %.0f %.0f%c", bursts[i].sent, bursts[i].delivered,
			       bursts[i].cpu_ns, bursts[i].wall_ns, i ? '\n' : ' ');
	}
	signal_all(groups, held, SIGCONT);
	for (double end_s = clock_s(CLOCK_MONOTONIC) + DEADLINE_S;
	     *twins[0].delivered - before < sent && clock_s(CLOCK_MONOTONIC) < end_s;)
		poll(NULL, 0, REST_MS);
	printf("%lu %lu\n", sent, *twins[0].delivered - before);
	return 0;
}

static void read_twin(struct twin *twin, char *text)
{
	char **fields[] = {&twin->namespace, &twin->device, &twin->mac, &twin->address,
			   &twin->first_source};

	for (int i = 0; i < 5; i++)
		*fields[i] = strtok(i ? NULL : text, ",");
}

int main(int count, char **argument)
{
	static struct twin twins[2];
	pid_t sinks[2], groups[MOST_HELD];
	int held = count - 7, status = 1;

	if (held < 0 || held > MOST_HELD) {
		fprintf(stderr,
			"usage: link_twins udp|tcp FLOWS BURST-S PAIRS TWIN TWIN [HELD...]\n"
			"TWIN: NAMESPACE,DEVICE,MAC,ADDRESS,FIRST-SOURCE\n");
		return 2;
	}
	tcp = !strcmp(argument[1], "tcp");
	for (int i = 0; i < held; i++)
		groups[i] = atoi(argument[7 + i]);
	for (int i = 0; i < 2; i++) {
		read_twin(&twins[i], argument[5 + i]);
		sinks[i] = start_sink(&twins[i]);
		if (sinks[i] < 0 || open_sender(&twins[i], (unsigned int)atoi(argument[2])) < 0)
			return failed(argument[5 + i]);
	}
	pin(0);
	status = run_pairs(twins, atof(argument[3]), atoi(argument[4]), groups, held);
	for (int i = 0; i < 2; i++) {
		kill(sinks[i], SIGTERM);
		waitpid(sinks[i], NULL, 0);
	}
	return status;
}
