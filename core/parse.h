/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a packet to a flow key and its counts, by the counting rule: packets are packets on the
 * wire (segments of a GSO super-packet), bytes are IP bytes on the wire (the headers that
 * segmentation repeats included). The key is that of the outermost IP header.
 *
 * A caller that does not hold the packet in one piece (the kernel) defines struct ns_view,
 * ns_view_at() and ns_view_words() before including this file, and NS_VIEW_DEFINED to say so.
 */
#ifndef NS_PARSE_H
#define NS_PARSE_H

#include "abi.h"

#ifndef NS_VIEW_DEFINED
struct ns_view {
	const ns_u8 *start;
	ns_u32 bytes;
};

/* Give @size bytes at @offset, or NULL where the packet (or its capture) ends before. */
NS_INLINE const ns_u8 *ns_view_at(const struct ns_view *view, ns_u32 offset, ns_u8 *scratch,
				  ns_u32 size)
{
	(void)scratch;
	if (offset > view->bytes || view->bytes - offset < size)
		return (const ns_u8 *)0;
	return view->start + offset;
}

/* The same for ns_word(); NULL also where the bytes are there, but not in one piece. */
NS_INLINE const ns_u8 *ns_view_words(const struct ns_view *view, ns_u32 offset, ns_u32 size)
{
	return ns_view_at(view, offset, (ns_u8 *)0, size);
}
#endif

enum {
	NS_IPV4_BYTES = 20,
	NS_IPV6_BYTES = 40,
	NS_TCP_BYTES = 14, /* as far as the flags */
	NS_PORTS_BYTES = 4,
	NS_UDP_BYTES = 8,
	NS_MAX_EXTENSIONS = 8,
};

enum ns_proto {
	NS_PROTO_HOPOPTS = 0,
	NS_PROTO_IPV4 = 4, /* in IP: RFC 2003, RFC 2473 */
	NS_PROTO_TCP = 6,
	NS_PROTO_UDP = 17,
	NS_PROTO_IPV6 = 41, /* in IP: RFC 4213, RFC 2473 */
	NS_PROTO_ROUTING = 43,
	NS_PROTO_FRAGMENT = 44,
	NS_PROTO_GRE = 47,
	NS_PROTO_AH = 51,
	NS_PROTO_DSTOPTS = 60,
	NS_PROTO_SCTP = 132,
	NS_PROTO_UDPLITE = 136,
};

/* UDP ports at which tunnels listen, by registration or as Linux has it. */
enum ns_tunnel_port {
	NS_PORT_GTP = 2152,	  /* GTP-U, 3GPP TS 29.281 */
	NS_PORT_VXLAN = 4789,	  /* RFC 7348 */
	NS_PORT_GENEVE = 6081,	  /* RFC 8926 */
	NS_PORT_VXLAN_OLD = 8472, /* of a Linux device that is given no port */
	NS_PORT_WIREGUARD = 51820,
};

enum ns_parsed {
	NS_PARSED = 0,
	NS_PARSED_NOT_IP = 1,
	NS_PARSED_TRUNCATED = 2,
	NS_PARSED_BAD_HEADER = 3,
	NS_PARSED_TOO_NESTED = 4,
	NS_PARSED_UNKNOWN_LINK = 5,
};

/* The counter of a packet that belongs to no flow. */
NS_INLINE enum ns_drop ns_drop_cause(enum ns_parsed parsed)
{
	switch (parsed) {
	case NS_PARSED_NOT_IP:
		return NS_DROP_NOT_IP;
	case NS_PARSED_TRUNCATED:
		return NS_DROP_TRUNCATED;
	case NS_PARSED_TOO_NESTED:
		return NS_DROP_TOO_NESTED;
	case NS_PARSED_UNKNOWN_LINK:
		return NS_DROP_UNKNOWN_LINK;
	default:
		return NS_DROP_BAD_HEADER;
	}
}

/* Where a packet's IP header starts and what the carrier knows about it. */
struct ns_carrier {
	ns_u32 l3_offset;
	ns_u32 l3_bytes;  /* from the IP header to the end, for headers whose length field is 0 */
	ns_u32 gso_size;  /* payload of one segment; 0: not a super-packet */
	ns_u32 gso_segs;  /* 0: not known, derived from the payload */
	ns_u32 direction; /* enum ns_direction */
};

struct ns_packet {
	struct ns_key key;
	ns_u64 bytes;
	ns_u32 packets;
	ns_u32 tcp; /* as in ns_slot */
};

/* What the IP header said, for the layer above it. */
struct ns_ip {
	ns_u32 bytes;	  /* of the whole IP packet */
	ns_u32 l4_offset; /* from the start of the view */
	ns_u32 proto;
	ns_u32 later_fragment;
};

/* Copies through 32-bit words: a BPF memcpy from a packet wants fixed, small pieces. */
NS_INLINE void ns_copy_words(ns_u8 *to, const ns_u8 *from, ns_u32 words)
{
	for (ns_u32 i = 0; i < words; i++)
		__builtin_memcpy(to + 4 * i, from + 4 * i, 4);
}

NS_INLINE void ns_map_ipv4(ns_u8 *to, const ns_u8 *from)
{
	__builtin_memset(to, 0, 8);
	to[8] = 0;
	to[9] = 0;
	to[10] = 0xff;
	to[11] = 0xff;
	ns_copy_words(to + 12, from, 1);
}

NS_INLINE enum ns_parsed ns_parse_ipv4(const ns_u8 *header, const struct ns_carrier *carrier,
				       struct ns_ip *ip, struct ns_key *key)
{
	ns_u32 header_bytes = (header[0] & 15u) * 4;
	ns_u32 total = ns_read_be16(header + 2);

	if (header_bytes < NS_IPV4_BYTES || (total && total < header_bytes))
		return NS_PARSED_BAD_HEADER;
	/* 0: IPv4 BIG TCP (kernel commit b1a78b9b9886) and captures taken before segmentation. */
	ip->bytes = total ? total : carrier->l3_bytes;
	ip->l4_offset = carrier->l3_offset + header_bytes;
	ip->proto = header[9];
	ip->later_fragment = (ns_read_be16(header + 6) & 0x1fff) != 0;
	ns_map_ipv4(key->src, header + 12);
	ns_map_ipv4(key->dst, header + 16);
	return NS_PARSED;
}

/* Walk IPv6 extension headers (RFC 8200 §4) to the upper-layer header. */
NS_INLINE void ns_skip_extensions(const struct ns_view *view, struct ns_ip *ip)
{
	for (int i = 0; i < NS_MAX_EXTENSIONS; i++) {
		ns_u8 scratch[8];
		const ns_u8 *extension;
		ns_u32 bytes;

		if (ip->proto != NS_PROTO_HOPOPTS && ip->proto != NS_PROTO_ROUTING &&
		    ip->proto != NS_PROTO_DSTOPTS && ip->proto != NS_PROTO_FRAGMENT &&
		    ip->proto != NS_PROTO_AH)
			return;
		extension = ns_view_at(view, ip->l4_offset, scratch, 8);
		if (!extension)
			return;
		bytes = (extension[1] + 1u) * 8;
		if (ip->proto == NS_PROTO_AH) /* RFC 4302 §2.2: in 4-byte units, minus 2 */
			bytes = (extension[1] + 2u) * 4;
		if (ip->proto == NS_PROTO_FRAGMENT) {
			bytes = 8;
			ip->later_fragment = (ns_read_be16(extension + 2) & 0xfff8) != 0;
		}
		ip->proto = extension[0];
		ip->l4_offset += bytes;
		if (ip->later_fragment)
			return;
	}
}

NS_INLINE enum ns_parsed ns_parse_ipv6(const struct ns_view *view, const ns_u8 *header,
				       const struct ns_carrier *carrier, struct ns_ip *ip,
				       struct ns_key *key)
{
	ns_u32 payload = ns_read_be16(header + 4);

	ip->proto = header[6];
	/* 0 with hop-by-hop options: a jumbogram (RFC 2675), or BIG TCP. */
	ip->bytes = payload || ip->proto != NS_PROTO_HOPOPTS ? payload + NS_IPV6_BYTES
							     : carrier->l3_bytes;
	if (carrier->gso_size && !payload)
		ip->bytes = carrier->l3_bytes;
	ip->l4_offset = carrier->l3_offset + NS_IPV6_BYTES;
	ip->later_fragment = 0;
	ns_copy_words(key->src, header + 8, 4);
	ns_copy_words(key->dst, header + 24, 4);
	ns_skip_extensions(view, ip);
	return NS_PARSED;
}

/* What a slot takes of TCP flags. */
NS_INLINE ns_u32 ns_tcp_flags(ns_u32 flags)
{
	return flags | ((flags & 0x12) == 0x02 ? NS_TCP_SYN_ONE : 0);
}

/* Read ports and TCP flags; returns the bytes of the L4 header, as far as segmentation repeats it.
 */
NS_INLINE ns_u32 ns_parse_l4(const struct ns_view *view, const struct ns_ip *ip,
			     struct ns_packet *packet)
{
	ns_u8 scratch[NS_TCP_BYTES];
	const ns_u8 *header = (const ns_u8 *)0;
	ns_u32 bytes = NS_UDP_BYTES;

	if (ip->later_fragment)
		return 0;
	if (ip->proto != NS_PROTO_TCP && ip->proto != NS_PROTO_UDP && ip->proto != NS_PROTO_SCTP &&
	    ip->proto != NS_PROTO_UDPLITE)
		return 0;
	if (ip->proto == NS_PROTO_TCP) {
		header = ns_view_at(view, ip->l4_offset, scratch, NS_TCP_BYTES);
		if (header) {
			bytes = (header[12] >> 4) * 4u;
			packet->tcp = ns_tcp_flags(header[13]);
		}
	}
	if (!header)
		header = ns_view_at(view, ip->l4_offset, scratch, NS_PORTS_BYTES);
	if (!header)
		return 0;
	packet->key.sport = ns_read_be16(header);
	packet->key.dport = ns_read_be16(header + 2);
	packet->key.flags = NS_KEY_HAS_PORTS;
	return bytes;
}

/* The counting rule. @headers: bytes of a super-packet that each of its segments repeats. */
NS_INLINE void ns_count_segments(struct ns_packet *packet, const struct ns_carrier *carrier,
				 ns_u32 bytes, ns_u32 headers)
{
	ns_u32 segments = 1;

	if (NS_UNLIKELY(carrier->gso_size)) {
		segments = carrier->gso_segs;
		if (NS_UNLIKELY(!segments))
			segments = bytes > headers ? (bytes - headers + carrier->gso_size - 1) /
							     carrier->gso_size
						   : 1;
	}
	packet->packets = segments;
	packet->bytes = bytes + (ns_u64)(segments - 1) * headers;
}

/**
 * ns_parse_any - fill a packet's key and counts
 * @view: the packet
 * @carrier: what the carrier knows
 * @packet: result; its counts are unspecified unless NS_PARSED is returned
 *
 * Return: NS_PARSED, or why the packet belongs to no flow. Ports that are not all there leave the
 * packet counted without ports.
 */
NS_INLINE enum ns_parsed ns_parse_any(const struct ns_view *view, const struct ns_carrier *carrier,
				      struct ns_packet *packet)
{
	ns_u8 scratch[NS_IPV6_BYTES];
	const ns_u8 *header = ns_view_at(view, carrier->l3_offset, scratch, NS_IPV4_BYTES);
	enum ns_parsed parsed = NS_PARSED_BAD_HEADER;
	struct ns_ip ip = {0};
	ns_u32 headers;

	if (!header)
		return NS_PARSED_TRUNCATED;
	packet->key.sport = 0;
	packet->key.dport = 0;
	packet->key.flags = 0;
	packet->key.reserved = 0;
	packet->tcp = 0;
	if (header[0] >> 4 == 4) {
		parsed = ns_parse_ipv4(header, carrier, &ip, &packet->key);
	} else if (header[0] >> 4 == 6) {
		header = ns_view_at(view, carrier->l3_offset, scratch, NS_IPV6_BYTES);
		if (!header)
			return NS_PARSED_TRUNCATED;
		parsed = ns_parse_ipv6(view, header, carrier, &ip, &packet->key);
	}
	if (parsed != NS_PARSED)
		return parsed;
	packet->key.proto = (ns_u8)ip.proto;
	packet->key.direction = (ns_u8)carrier->direction;
	headers = ip.l4_offset - carrier->l3_offset + ns_parse_l4(view, &ip, packet);
	ns_count_segments(packet, carrier, ip.bytes, headers);
	return NS_PARSED;
}

/**
 * ns_carries_another - tell by protocol and ports whether a packet carries another one
 * @key: the packet's
 *
 * Return: 1 for IP in IP, GRE and the tunnels over UDP of enum ns_tunnel_port; both ends of
 * WireGuard have its port, of the others the one that decapsulates. Costs nothing but compares.
 */
NS_INLINE int ns_carries_another(const struct ns_key *key)
{
	if (key->proto == NS_PROTO_UDP)
		return key->dport == NS_PORT_VXLAN || key->dport == NS_PORT_VXLAN_OLD ||
		       key->dport == NS_PORT_GENEVE || key->dport == NS_PORT_GTP ||
		       key->dport == NS_PORT_WIREGUARD || key->sport == NS_PORT_WIREGUARD;
	return key->proto == NS_PROTO_IPV4 || key->proto == NS_PROTO_IPV6 ||
	       key->proto == NS_PROTO_GRE;
}

#endif
