/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The usual packet, read in a few words: TCP or UDP, right behind an IPv4 header without options or
 * an IPv6 header, of which the carrier says no more than the headers do. Gives what ns_parse_any()
 * would, at a fraction of its code; any other packet is left to that.
 */
#ifndef NS_USUAL_H
#define NS_USUAL_H

#include "parse.h"

enum {
	NS_USUAL_IPV4_BYTES = NS_IPV4_BYTES + NS_PORTS_BYTES, /* whole words */
	NS_USUAL_TCP4_BYTES = 40,
	NS_USUAL_UDP6_BYTES = NS_IPV6_BYTES + NS_UDP_BYTES,
	NS_USUAL_TCP6_BYTES = 56,
};

/* The key's last word. @ports: as on the wire, in the lower half. */
NS_INLINE ns_u64 ns_usual_ports(ns_u64 ports, ns_u32 proto, ns_u32 direction)
{
	ns_u32 swapped = __builtin_bswap32((ns_u32)ports);

	return (ns_u32)(swapped << 16 | swapped >> 16) | (ns_u64)proto << 32 |
	       (ns_u64)direction << 40 | (ns_u64)NS_KEY_HAS_PORTS << 48;
}

/* @word: begins with a TCP header's data offset and flags; returns the bytes of the header. */
NS_INLINE ns_u32 ns_usual_tcp(ns_u64 word, struct ns_packet *packet)
{
	packet->tcp = ns_tcp_flags((ns_u32)(word >> 8) & 0xff);
	return (ns_u32)(word >> 2) & 60;
}

NS_INLINE int ns_usual_ipv4(const struct ns_view *view, const struct ns_carrier *carrier,
			    const ns_u8 *at, struct ns_packet *packet)
{
	const ns_u64 mapped = 0xffff0000;
	ns_u64 first = ns_word(at, 0), second = ns_word(at, 1), third = ns_word(at, 2);
	ns_u32 bytes = __builtin_bswap16((ns_u16)(first >> 16)), proto = second >> 8 & 0xff;
	ns_u32 headers = NS_IPV4_BYTES + NS_UDP_BYTES;
	ns_u64 *key = (ns_u64 *)&packet->key;

	if (NS_UNLIKELY(first >> 48 & 0xff1f ||
			bytes < NS_IPV4_BYTES)) /* a later fragment; no length */
		return 0;
	packet->tcp = 0;
	if (proto == NS_PROTO_TCP) {
		at = ns_view_words(view, carrier->l3_offset, NS_USUAL_TCP4_BYTES);
		if (NS_UNLIKELY(!at))
			return 0;
		headers = NS_IPV4_BYTES + ns_usual_tcp(ns_word(at, 4), packet);
	} else if (NS_UNLIKELY(proto != NS_PROTO_UDP)) {
		return 0;
	}
	key[0] = 0;
	key[1] = (second >> 32 << 32) | mapped;
	key[2] = 0;
	key[3] = third << 32 | mapped;
	key[4] = ns_usual_ports(third >> 32, proto, carrier->direction);
	ns_count_segments(packet, carrier, bytes, headers);
	return 1;
}

NS_INLINE int ns_usual_ipv6(const struct ns_view *view, const struct ns_carrier *carrier,
			    ns_u64 first, struct ns_packet *packet)
{
	const ns_u8 *at = ns_view_words(view, carrier->l3_offset, NS_USUAL_UDP6_BYTES);
	ns_u32 payload = __builtin_bswap16((ns_u16)(first >> 32)), proto = first >> 48 & 0xff;
	ns_u32 headers = NS_IPV6_BYTES + NS_UDP_BYTES;
	ns_u64 *key = (ns_u64 *)&packet->key;

	if (NS_UNLIKELY(!at || !payload))
		return 0;
	for (ns_u32 i = 0; i < 4; i++)
		key[i] = ns_word(at, i + 1);
	key[4] = ns_usual_ports(ns_word(at, 5), proto, carrier->direction);
	packet->tcp = 0;
	if (proto == NS_PROTO_TCP) {
		at = ns_view_words(view, carrier->l3_offset, NS_USUAL_TCP6_BYTES);
		if (NS_UNLIKELY(!at))
			return 0;
		headers = NS_IPV6_BYTES + ns_usual_tcp(ns_word(at, 6) >> 32, packet);
	} else if (NS_UNLIKELY(proto != NS_PROTO_UDP)) {
		return 0;
	}
	ns_count_segments(packet, carrier, payload + NS_IPV6_BYTES, headers);
	return 1;
}

/**
 * ns_parse_usual - fill a usual packet's key and counts
 * @view, @carrier, @packet: as of ns_parse_any()
 *
 * Return: 1, with the result that ns_parse_any() has for the packet; 0 when that must be asked.
 */
NS_INLINE int ns_parse_usual(const struct ns_view *view, const struct ns_carrier *carrier,
			     struct ns_packet *packet)
{
	const ns_u8 *at = ns_view_words(view, carrier->l3_offset, NS_USUAL_IPV4_BYTES);
	ns_u64 first;

	if (NS_UNLIKELY(!at))
		return 0;
	first = ns_word(at, 0);
	if (NS_LIKELY((first & 0xff) == 0x45))
		return ns_usual_ipv4(view, carrier, at, packet);
	if (NS_LIKELY((first & 0xf0) == 0x60))
		return ns_usual_ipv6(view, carrier, first, packet);
	return 0;
}

/* Either way; as ns_parse_any(). */
NS_INLINE enum ns_parsed ns_parse(const struct ns_view *view, const struct ns_carrier *carrier,
				  struct ns_packet *packet)
{
	return NS_LIKELY(ns_parse_usual(view, carrier, packet))
		       ? NS_PARSED
		       : ns_parse_any(view, carrier, packet);
}

#endif
