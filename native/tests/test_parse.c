// SPDX-License-Identifier: BSD-2-Clause
/* Parsing and the counting rule, one built packet a case. */
#include "usual.h"

#include "check.h"

static struct ns_packet parsed;
static int was_usual; /* whether ns_parse_usual() took it */

static enum ns_parsed parse(const ns_u8 *bytes, ns_u32 size, ns_u32 gso_size, ns_u32 gso_segs)
{
	/* The exact size on the heap, so that ASan sees a read past the end. */
	ns_u8 *copy = malloc(size ? size : 1);
	struct ns_view view = {.start = copy, .bytes = size};
	struct ns_carrier carrier = {
		.l3_bytes = size, .gso_size = gso_size, .gso_segs = gso_segs, .direction = NS_OUT};
	struct ns_packet usual;
	enum ns_parsed result;

	memcpy(copy, bytes, size);
	memset(&usual, 0xaa, sizeof(usual));
	memset(&parsed, 0x55, sizeof(parsed));
	result = ns_parse_any(&view, &carrier, &parsed);
	was_usual = ns_parse_usual(&view, &carrier, &usual);
	/* Whoever is asked says the same. */
	CHECK(!was_usual || (result == NS_PARSED && !memcmp(&usual, &parsed, sizeof(usual))));
	free(copy);
	return result;
}

static const ns_u8 tcp4[40] = {
	0x45, 0,    0,	  40,	0, 0, 0x40, 0, 64, 6, 0, 0, 10,	  0,	0, 6, 10, 0, 0, 5,
	0x9c, 0x40, 0x01, 0xbb, 0, 0, 0,    1, 0,  0, 0, 0, 0x50, 0x02, 0, 0, 0,  0, 0, 0,
};

static void tcp_over_ipv4(void)
{
	static const ns_u8 mapped[16] = {[10] = 0xff, 0xff, 10, 0, 0, 6};

	CHECK(parse(tcp4, sizeof(tcp4), 0, 0) == NS_PARSED);
	CHECK(!memcmp(parsed.key.src, mapped, 16));
	CHECK(parsed.key.sport == 40000 && parsed.key.dport == 443);
	CHECK(parsed.key.proto == 6 && parsed.key.direction == NS_OUT);
	CHECK(parsed.key.flags == NS_KEY_HAS_PORTS);
	CHECK(parsed.packets == 1 && parsed.bytes == 40);
	CHECK(parsed.tcp == (NS_TCP_SYN_ONE | 2));
}

/* 10 segments of 1448 bytes: nine more times 40 bytes of headers are on the wire. */
static void super_packet(void)
{
	ns_u8 packet[40];

	memcpy(packet, tcp4, 40);
	packet[2] = (40 + 14480) >> 8;
	packet[3] = (40 + 14480) & 0xff;
	CHECK(parse(packet, 40, 1448, 10) == NS_PARSED);
	CHECK(parsed.packets == 10 && parsed.bytes == 14480 + 10 * 40);
	CHECK(parse(packet, 40, 1448, 0) == NS_PARSED);
	CHECK(parsed.packets == 10 && parsed.bytes == 14480 + 10 * 40);
	packet[3]++; /* one byte more is one segment more */
	CHECK(parse(packet, 40, 1448, 0) == NS_PARSED);
	CHECK(parsed.packets == 11);
}

static void later_fragment_has_no_ports(void)
{
	ns_u8 packet[40];

	memcpy(packet, tcp4, 40);
	packet[6] = 0;
	packet[7] = 1;
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED);
	CHECK(!parsed.key.flags && !parsed.key.sport && !parsed.key.dport);
	packet[6] = 0x20; /* the first fragment has them */
	packet[7] = 0;
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED);
	CHECK(parsed.key.flags == NS_KEY_HAS_PORTS);
}

static void every_cut_is_safe(void)
{
	for (ns_u32 size = 0; size < 40; size++) {
		enum ns_parsed result = parse(tcp4, size, 0, 0);

		CHECK(result == (size < 20 ? NS_PARSED_TRUNCATED : NS_PARSED));
		CHECK(size < 20 || (parsed.key.flags != 0) == (size >= 24));
	}
}

static void nonsense_headers(void)
{
	ns_u8 packet[40];

	memcpy(packet, tcp4, 40);
	packet[0] = 0x44; /* header of 16 bytes */
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED_BAD_HEADER);
	packet[0] = 0x75; /* version 7 */
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED_BAD_HEADER);
	packet[0] = 0x46;
	packet[3] = 20; /* all of it shorter than its header */
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED_BAD_HEADER);
}

static void ipv4_options_come_before_the_ports(void)
{
	ns_u8 packet[44];

	memcpy(packet, tcp4, 20);
	memset(packet + 20, 1, 4); /* no operation, four times */
	memcpy(packet + 24, tcp4 + 20, 20);
	packet[0] = 0x46;
	packet[3] = 44;
	CHECK(parse(packet, 44, 0, 0) == NS_PARSED);
	CHECK(parsed.key.sport == 40000 && parsed.key.dport == 443 && parsed.bytes == 44);
}

/* Captured before segmentation, IPv4 BIG TCP, or a jumbogram: the carrier knows the length. */
static void length_field_of_zero(void)
{
	ns_u8 packet[64] = {0x60, 0, 0, 0, 0, 0, 0 /* hop-by-hop */, 64};

	packet[40] = 17;
	packet[42] = 0xc2; /* jumbo payload, RFC 2675 §2 */
	packet[43] = 4;
	CHECK(parse(packet, 64, 0, 0) == NS_PARSED && parsed.bytes == 64);
	CHECK(parsed.key.proto == 17 && parsed.key.flags == NS_KEY_HAS_PORTS);
	memcpy(packet, tcp4, 40);
	packet[3] = 0;
	CHECK(parse(packet, 40, 0, 0) == NS_PARSED && parsed.bytes == 40);
}

static void authentication_header_counts_in_words(void)
{
	ns_u8 packet[72] = {0x60, 0, 0, 0, 0, 32, 51 /* AH */, 64, [40] = 132 /* SCTP */, 4};

	packet[65] = 9;
	packet[67] = 99;
	CHECK(parse(packet, 72, 0, 0) == NS_PARSED);
	CHECK(parsed.key.proto == 132 && parsed.key.sport == 9 && parsed.key.dport == 99);
}

static void udp_behind_ipv6_extensions(void)
{
	ns_u8 packet[64] = {0x60, 0, 0, 0, 0, 24, 0 /* hop-by-hop */, 64};

	packet[40] = 44; /* next: fragment */
	packet[48] = 17; /* next: UDP */
	packet[56] = 0;
	packet[57] = 53;
	packet[59] = 99;
	CHECK(parse(packet, 64, 0, 0) == NS_PARSED);
	CHECK(parsed.key.proto == 17 && parsed.key.sport == 53 && parsed.key.dport == 99);
	CHECK(parsed.bytes == 64);
	packet[50] = 1; /* fragment offset not 0 */
	CHECK(parse(packet, 64, 0, 0) == NS_PARSED);
	CHECK(parsed.key.proto == 17 && !parsed.key.flags);
}

static void carriers_are_told_by_protocol_and_port(void)
{
	static const struct {
		ns_u8 proto;
		ns_u16 sport, dport;
		int carries;
	} packets[] = {
		{4, 0, 0, 1},				     /* IP in IP */
		{41, 0, 0, 1},				     /* IPv6 in IP */
		{47, 0, 0, 1},				     /* GRE */
		{17, 40000, 4789, 1},			     /* VXLAN, to the end that opens it */
		{17, 4789, 40000, 0},  {17, 40000, 8472, 1}, /* VXLAN as Linux began it */
		{17, 40000, 6081, 1},			     /* GENEVE */
		{17, 40000, 2152, 1},			     /* GTP-U */
		{17, 51820, 40000, 1}, /* WireGuard, whose peers answer to where it came from */
		{17, 40000, 51820, 1}, {17, 40000, 53, 0},   {6, 40000, 4789, 0},
		{1, 0, 0, 0},	       {50, 0, 0, 0},
	};

	for (unsigned int i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		struct ns_key key = {.proto = packets[i].proto,
				     .sport = packets[i].sport,
				     .dport = packets[i].dport};

		CHECK(ns_carries_another(&key) == packets[i].carries);
	}
}

/* Every value of every byte, every length, with and without segments: parse() compares. */
static void usual_packets_give_what_any_give(void)
{
	static const ns_u8 starts[][10] = {
		{0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 6},
		{0x45, 0, 0, 64, 0, 0, 0, 0, 64, 17},
		{0x60, 0, 0, 0, 0, 24, 6, 64},
		{0x60, 0, 0, 0, 0, 24, 17, 64},
	};

	for (unsigned int i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		ns_u8 packet[64];

		for (unsigned int at = 0; at < sizeof(packet); at++)
			packet[at] = (ns_u8)(at < 10 ? starts[i][at] : 3 * at + 1);
		CHECK(parse(packet, sizeof(packet), 0, 0) == NS_PARSED && was_usual);
		CHECK(parse(packet, sizeof(packet), 9, 0) == NS_PARSED && was_usual);
		for (unsigned int at = 0; at < sizeof(packet); at++) {
			ns_u8 right = packet[at];

			parse(packet, at, 0, 0);
			for (unsigned int value = 0; value < 256; value++) {
				packet[at] = (ns_u8)value;
				parse(packet, sizeof(packet), 0, 0);
				parse(packet, sizeof(packet), 7, value % 3);
			}
			packet[at] = right;
		}
	}
}

int main(void)
{
	usual_packets_give_what_any_give();
	tcp_over_ipv4();
	super_packet();
	later_fragment_has_no_ports();
	every_cut_is_safe();
	nonsense_headers();
	ipv4_options_come_before_the_ports();
	length_field_of_zero();
	authentication_header_counts_in_words();
	udp_behind_ipv6_extensions();
	carriers_are_told_by_protocol_and_port();
	return 0;
}
