/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A task's filter, evaluated on records after the fact: the packet path knows no tasks.
 *
 * Flow classes are told from what a record keeps of its TCP headers, the OR of their flags and how
 * many had SYN and no ACK. They are hints: a tick may end between a SYN and its ACK.
 */
#ifndef NS_MATCH_H
#define NS_MATCH_H

#include "parse.h"

enum {
	NS_ANY_PROTO = 256,
	NS_SERVICE_PORTS = 1024,   /* ports below are services' */
	NS_CLIENT_PORTS = 1 << 15, /* ports from here on are clients': ip-sysctl(7), RFC 6335 6 */
};

/* RFC 9293 3.1; CWR and ECE (RFC 3168) tell nothing of a connection's state. */
enum {
	NS_TCP_FIN = 0x01,
	NS_TCP_SYN = 0x02,
	NS_TCP_PSH = 0x08,
	NS_TCP_ACK = 0x10,
	NS_TCP_URG = 0x20,
	NS_TCP_STATE_FLAGS = 0x3f,
};

/* Whether a flow's addresses are IPv4, mapped into ::ffff:0:0/96. */
NS_INLINE int ns_is_ipv4(const struct ns_key *key)
{
	const ns_u64 *src = (const ns_u64 *)key->src;

	return !src[0] && (ns_u32)src[1] == 0xffff0000;
}

/* Packets of the one flow that a record is, or that a label stands for on average. */
NS_INLINE int ns_single_packet(const struct ns_record *record)
{
	return record->packets == (record->kind == NS_RECORD_LABEL ? record->others + 1ULL : 1);
}

/*
 * TCP flags that no open connection sends alone: NULL, FIN and Xmas scans. Open ones send bare
 * ACKs, and a client with many of them gets many; so an ACK scan is told by its way to service
 * ports.
 */
NS_INLINE int ns_odd_flags(const struct ns_record *record)
{
	ns_u32 flags = record->tcp & NS_TCP_STATE_FLAGS;

	return !flags || flags == NS_TCP_FIN || flags == (NS_TCP_FIN | NS_TCP_PSH | NS_TCP_URG) ||
	       (flags == NS_TCP_ACK && ns_single_packet(record) &&
		record->key.dport < NS_SERVICE_PORTS);
}

/* Whether a datagram goes where replies go: from a service to one who asked. */
NS_INLINE int ns_goes_back(const struct ns_key *key)
{
	return (key->sport < NS_SERVICE_PORTS && key->dport >= NS_SERVICE_PORTS) ||
	       (key->sport < NS_CLIENT_PORTS && key->dport >= NS_CLIENT_PORTS);
}

/* Whether a record's flow is of a class; what has no ports (later fragments) is of none. */
NS_INLINE int ns_in_class(ns_u32 flow_class, const struct ns_record *record)
{
	const struct ns_key *key = &record->key;
	ns_u32 flags = record->tcp & NS_TCP_STATE_FLAGS;
	int asks = record->tcp >= NS_TCP_SYN_ONE;

	if (flow_class == NS_FLOW_ANY)
		return 1;
	if (!(key->flags & NS_KEY_HAS_PORTS))
		return 0;
	switch (flow_class) {
	case NS_FLOW_ATTEMPT:
	case NS_FLOW_PROBE:
		if (key->proto == NS_PROTO_TCP)
			return asks || (flow_class == NS_FLOW_PROBE && ns_odd_flags(record));
		return (key->proto == NS_PROTO_UDP || key->proto == NS_PROTO_SCTP) &&
		       !ns_goes_back(key);
	case NS_FLOW_HALF_OPEN:
		return key->proto == NS_PROTO_TCP && (flags & NS_TCP_SYN) && !(flags & NS_TCP_ACK);
	case NS_FLOW_UNASKED:
		/* A client's SYN and ACK in one tick have the same flags, and a SYN without ACK. */
		if (key->proto == NS_PROTO_TCP)
			return flags == (NS_TCP_SYN | NS_TCP_ACK) && !asks;
		return key->proto == NS_PROTO_UDP && ns_goes_back(key);
	default:
		return 0;
	}
}

NS_INLINE int ns_in_ranges(const struct ns_port_range *ranges, ns_u32 used, ns_u16 port)
{
	for (ns_u32 i = 0; i < used && i < NS_PORT_RANGES; i++) {
		if (ranges[i].low <= port && port <= ranges[i].high)
			return 1;
	}
	return 0;
}

/* Whether a flow has ports that pass. */
NS_INLINE int ns_matches_ports(const struct ns_match *match, const struct ns_key *key)
{
	if (!(match->sports | match->dports))
		return 1;
	if (!(key->flags & NS_KEY_HAS_PORTS))
		return 0;
	return (!match->sports || ns_in_ranges(match->sport, match->sports, key->sport)) &&
	       (!match->dports || ns_in_ranges(match->dport, match->dports, key->dport));
}

/* Whether the flow of a record, or of a label, passes a filter. */
NS_INLINE int ns_matches(const struct ns_match *match, const struct ns_record *record)
{
	const struct ns_key *key = &record->key;
	const ns_u64 *src = (const ns_u64 *)key->src;
	const ns_u64 *dst = (const ns_u64 *)key->dst;

	if (!(match->directions >> key->direction & 1))
		return 0;
	if (match->proto != NS_ANY_PROTO && match->proto != key->proto)
		return 0;
	if (match->family && match->family != (ns_is_ipv4(key) ? 4 : 6))
		return 0;
	if (((src[0] ^ match->src[0]) & match->src_mask[0]) |
	    ((src[1] ^ match->src[1]) & match->src_mask[1]) |
	    ((dst[0] ^ match->dst[0]) & match->dst_mask[0]) |
	    ((dst[1] ^ match->dst[1]) & match->dst_mask[1]))
		return 0;
	return ns_matches_ports(match, key) && ns_in_class(match->flow_class, record);
}

#endif
