// SPDX-License-Identifier: BSD-2-Clause
/* Filters: every field of one, and the classes of flows told from TCP flags. */
#include "match.h"

#include "check.h"

static const struct ns_match every = {.directions = 1 << NS_IN, .proto = NS_ANY_PROTO};
static const struct ns_record syn = {
	.key = {.sport = 40000, .dport = 443, .proto = 6, .flags = NS_KEY_HAS_PORTS},
	.packets = 1,
	.tcp = NS_TCP_SYN | NS_TCP_SYN_ONE,
};

static void fields(void)
{
	struct ns_match match = every;
	struct ns_record record = syn;

	CHECK(ns_matches(&match, &record));
	record.key.direction = NS_OUT;
	CHECK(!ns_matches(&match, &record));
	record.key.direction = NS_IN;
	match.proto = 17;
	CHECK(!ns_matches(&match, &record));
	match.proto = 6;
	CHECK(ns_matches(&match, &record));
	match.dst[1] = 5;
	match.dst_mask[1] = 0xff;
	CHECK(!ns_matches(&match, &record));
	record.key.dst[8] = 5;
	CHECK(ns_matches(&match, &record));
}

static void families(void)
{
	struct ns_match four = every, six = every;
	struct ns_record record = syn;

	four.family = 4;
	six.family = 6;
	CHECK(!ns_matches(&four, &record) && ns_matches(&six, &record));
	record.key.src[10] = record.key.src[11] = 0xff;
	CHECK(ns_matches(&four, &record) && !ns_matches(&six, &record));
	record.key.src[0] = 0x20;
	CHECK(!ns_matches(&four, &record) && ns_matches(&six, &record));
}

static void ports(void)
{
	struct ns_match match = every;
	struct ns_record record = syn;

	match.dports = 2;
	match.dport[0] = (struct ns_port_range){80, 80};
	match.dport[1] = (struct ns_port_range){443, 445};
	for (ns_u32 port = 442; port < 447; port++) {
		record.key.dport = (ns_u16)port;
		CHECK(ns_matches(&match, &record) == (443 <= port && port <= 445));
	}
	match.sports = 1;
	match.sport[0] = (struct ns_port_range){0, 65535};
	record.key.dport = 80;
	CHECK(ns_matches(&match, &record));
	record.key.flags = 0;
	CHECK(!ns_matches(&match, &record));
	match.dports = 0;
	CHECK(!ns_matches(&match, &record));
}

struct expected {
	ns_u32 tcp;
	ns_u32 packets;
	ns_u8 attempt, half_open, unasked, probe;
};

static int of_class(ns_u32 flow_class, const struct ns_record *record)
{
	struct ns_match match = every;

	match.flow_class = flow_class;
	return ns_matches(&match, record);
}

static void expect(const struct ns_record *record, const struct expected *is)
{
	CHECK(of_class(NS_FLOW_ANY, record));
	CHECK(of_class(NS_FLOW_ATTEMPT, record) == is->attempt);
	CHECK(of_class(NS_FLOW_HALF_OPEN, record) == is->half_open);
	CHECK(of_class(NS_FLOW_UNASKED, record) == is->unasked);
	CHECK(of_class(NS_FLOW_PROBE, record) == is->probe);
	CHECK(!of_class(9, record));
}

static void tcp_classes(void)
{
	static const struct expected cases[] = {
		{NS_TCP_SYN | NS_TCP_SYN_ONE, 1, 1, 1, 0, 1},
		{NS_TCP_SYN | 0xc0 | NS_TCP_SYN_ONE, 1, 1, 1, 0, 1}, /* asks for ECN */
		{NS_TCP_SYN | NS_TCP_ACK | NS_TCP_SYN_ONE, 2, 1, 0, 0,
		 1}, /* a client's handshake */
		{NS_TCP_SYN | NS_TCP_ACK, 1, 0, 0, 1, 0},
		{NS_TCP_SYN | NS_TCP_ACK | NS_TCP_PSH, 9, 0, 0, 0, 0}, /* a server */
		{NS_TCP_ACK | NS_TCP_PSH, 9, 0, 0, 0, 0},
		{NS_TCP_ACK, 1, 0, 0, 0, 1},
		{NS_TCP_ACK, 2, 0, 0, 0, 0},
		{0, 3, 0, 0, 0, 1},
		{NS_TCP_FIN, 1, 0, 0, 0, 1},
		{NS_TCP_FIN | NS_TCP_PSH | NS_TCP_URG, 1, 0, 0, 0, 1},
		{NS_TCP_FIN | NS_TCP_ACK, 1, 0, 0, 0, 0},
	};
	struct ns_record record = syn;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		record.tcp = cases[i].tcp;
		record.packets = cases[i].packets;
		expect(&record, &cases[i]);
	}
	/* A server's bare ACK to one of its clients. */
	record.tcp = NS_TCP_ACK;
	record.packets = 1;
	record.key.dport = 1024;
	expect(&record, &(struct expected){.probe = 0});
	record.key.dport = 1023;
	expect(&record, &(struct expected){.probe = 1});
	/* A label of ten flows with a bare ACK each; later fragments tell nothing. */
	record.kind = NS_RECORD_LABEL;
	record.packets = 10;
	record.others = 9;
	expect(&record, &(struct expected){.probe = 1});
	record.others = 4;
	expect(&record, &(struct expected){.probe = 0});
	record = syn;
	record.key.flags = 0;
	expect(&record, &(struct expected){.attempt = 0});
}

static void datagram_classes(void)
{
	struct ns_record record = syn;

	record.tcp = 0;
	record.key.proto = 17;
	expect(&record, &(struct expected){.attempt = 1, .probe = 1});
	record.key.sport = 53;
	expect(&record, &(struct expected){.attempt = 1, .probe = 1});
	record.key.dport = 1024;
	expect(&record, &(struct expected){.unasked = 1});
	/* From one that has no service port to a port that clients are given, or between such. */
	record.key.sport = 8600;
	expect(&record, &(struct expected){.attempt = 1, .probe = 1});
	record.key.dport = 40000;
	expect(&record, &(struct expected){.unasked = 1});
	record.key.proto = 132;
	expect(&record, &(struct expected){.unasked = 0});
	record.key.sport = 40001;
	expect(&record, &(struct expected){.attempt = 1, .probe = 1});
	record.key.proto = 136;
	expect(&record, &(struct expected){.attempt = 0});
}

int main(void)
{
	fields();
	families();
	ports();
	tcp_classes();
	datagram_classes();
	return 0;
}
