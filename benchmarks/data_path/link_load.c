// SPDX-License-Identifier: BSD-2-Clause
/* Load for a link: small UDP packets at a rate, each of the next flow, for some seconds. */
#include "link_frames.h"

/* Wait until so many packets are due at a rate since the start. */
static void await_turn(double start_s, unsigned long sent, double rate)
{
	double wait_s = start_s + (double)sent / rate - clock_s(CLOCK_MONOTONIC);

	if (wait_s > 0)
		nanosleep(&(struct timespec){.tv_nsec = (long)(wait_s * 1e9)}, NULL);
}

int main(int count, char **argument)
{
	static struct frames frames;
	double start_s = clock_s(CLOCK_MONOTONIC);

	if (count != 8) {
		fprintf(stderr, "usage: link_load DEVICE MAC DESTINATION SOURCE FLOWS S RATE\n");
		return 2;
	}
	if (frames_open(&frames, argument[1], argument[2], argument[3], argument[4],
			(unsigned int)atoi(argument[5])) < 0)
		return failed("packet socket");
	while (clock_s(CLOCK_MONOTONIC) < start_s + atof(argument[6])) {
		await_turn(start_s, frames.sent, atof(argument[7]));
		if (frames_send(&frames))
			return failed("send");
	}
	return 0;
}
