/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a frame to its outermost IP header: what link types put before it (Ethernet, Linux cooked,
 * BSD loopback, nothing), then any stack of VLAN tags and MPLS labels, or a PPPoE session.
 *
 * Tunnels are not opened: an IP packet in GRE, VXLAN or a pseudowire belongs to its carrier.
 */
#ifndef NS_LINK_H
#define NS_LINK_H

#include "parse.h"

enum {
	NS_ETHERNET_BYTES = 14,
	NS_COOKED_BYTES = 16,
	NS_COOKED2_BYTES = 20,
	NS_FAMILY_BYTES = 4,
	NS_TAG_BYTES = 4, /* a VLAN tag, an MPLS label */
	NS_PPPOE_BYTES = 8,
	NS_MAX_TAGS = 16,
};

/* Numbers of https://www.tcpdump.org/linktypes.html */
enum ns_link {
	NS_LINK_NULL = 0, /* BSD loopback: address family in the capturing host's byte order */
	NS_LINK_ETHERNET = 1,
	NS_LINK_RAW_BSD = 12,	  /* DLT_RAW of most systems, found in files */
	NS_LINK_RAW_OPENBSD = 14, /* DLT_RAW of OpenBSD */
	NS_LINK_RAW = 101,	  /* IP header first */
	NS_LINK_LOOP = 108,	  /* OpenBSD loopback: address family in network order */
	NS_LINK_COOKED = 113,	  /* Linux "any" device, v1 */
	NS_LINK_IPV4 = 228,
	NS_LINK_IPV6 = 229,
	NS_LINK_COOKED2 = 276,
};

enum ns_ethertype {
	NS_ETHERTYPE_IPV4 = 0x0800,
	NS_ETHERTYPE_VLAN = 0x8100,
	NS_ETHERTYPE_IPV6 = 0x86dd,
	NS_ETHERTYPE_MPLS = 0x8847,
	NS_ETHERTYPE_MPLS_UPSTREAM = 0x8848, /* RFC 5332 §3 */
	NS_ETHERTYPE_PPPOE = 0x8864,	     /* session stage */
	NS_ETHERTYPE_QINQ = 0x88a8,
	NS_ETHERTYPE_QINQ_OLD = 0x9100,
};

enum ns_ppp { NS_PPP_IPV4 = 0x0021, NS_PPP_IPV6 = 0x0057 };

NS_INLINE int ns_is_vlan(ns_u32 ethertype)
{
	return ethertype == NS_ETHERTYPE_VLAN || ethertype == NS_ETHERTYPE_QINQ ||
	       ethertype == NS_ETHERTYPE_QINQ_OLD;
}

NS_INLINE int ns_is_mpls(ns_u32 ethertype)
{
	return ethertype == NS_ETHERTYPE_MPLS || ethertype == NS_ETHERTYPE_MPLS_UPSTREAM;
}

/* What has no type field before it is known by the IP version; another nibble is no IP. */
NS_INLINE enum ns_parsed ns_find_ip_by_version(const struct ns_view *view, ns_u32 offset,
					       ns_u32 *l3_offset)
{
	ns_u8 scratch[1];
	const ns_u8 *first = ns_view_at(view, offset, scratch, 1);

	if (!first)
		return NS_PARSED_TRUNCATED;
	*l3_offset = offset;
	return first[0] >> 4 == 4 || first[0] >> 4 == 6 ? NS_PARSED : NS_PARSED_NOT_IP;
}

/* RFC 2516 §4: version and type 1, code 0, session, length; then the PPP protocol. */
NS_INLINE enum ns_parsed ns_find_ip_in_pppoe(const struct ns_view *view, ns_u32 offset,
					     ns_u32 *l3_offset)
{
	ns_u8 scratch[NS_PPPOE_BYTES];
	const ns_u8 *header = ns_view_at(view, offset, scratch, NS_PPPOE_BYTES);
	ns_u32 protocol;

	if (!header)
		return NS_PARSED_TRUNCATED;
	*l3_offset = offset + NS_PPPOE_BYTES;
	protocol = ns_read_be16(header + 6);
	if (header[0] != 0x11 || header[1])
		return NS_PARSED_BAD_HEADER;
	return protocol == NS_PPP_IPV4 || protocol == NS_PPP_IPV6 ? NS_PARSED : NS_PARSED_NOT_IP;
}

/*
 * Walk tags to the IP header; @offset is where the payload of @ethertype starts. A label stack
 * ends at its bottom-of-stack bit and does not tell what follows (RFC 3032 §2.1, §2.2).
 */
NS_INLINE enum ns_parsed ns_find_ip_behind_tags(const struct ns_view *view, ns_u32 ethertype,
						ns_u32 offset, ns_u32 *l3_offset)
{
	for (int i = 0; i <= NS_MAX_TAGS; i++) {
		ns_u8 scratch[NS_TAG_BYTES];
		const ns_u8 *tag;

		if (ethertype == NS_ETHERTYPE_IPV4 || ethertype == NS_ETHERTYPE_IPV6) {
			*l3_offset = offset;
			return NS_PARSED;
		}
		if (ethertype == NS_ETHERTYPE_PPPOE)
			return ns_find_ip_in_pppoe(view, offset, l3_offset);
		if (!ns_is_vlan(ethertype) && !ns_is_mpls(ethertype))
			return NS_PARSED_NOT_IP;
		tag = ns_view_at(view, offset, scratch, NS_TAG_BYTES);
		if (!tag)
			return NS_PARSED_TRUNCATED;
		offset += NS_TAG_BYTES;
		if (ns_is_vlan(ethertype))
			ethertype = ns_read_be16(tag + 2);
		else if (tag[2] & 1)
			return ns_find_ip_by_version(view, offset, l3_offset);
	}
	return NS_PARSED_TOO_NESTED;
}

/* A link header whose type field lies at @type_offset and whose payload at @payload_offset. */
NS_INLINE enum ns_parsed ns_find_ip_by_type(const struct ns_view *view, ns_u32 type_offset,
					    ns_u32 payload_offset, ns_u32 *l3_offset)
{
	ns_u8 scratch[2];
	const ns_u8 *type = ns_view_at(view, type_offset, scratch, 2);

	if (!type)
		return NS_PARSED_TRUNCATED;
	return ns_find_ip_behind_tags(view, ns_read_be16(type), payload_offset, l3_offset);
}

/*
 * Loopback of the BSDs: a 32-bit address family. IPv4 is 2 everywhere; IPv6 is 10, 24, 28 or 30,
 * by system. A file may come from a host of the other byte order.
 */
NS_INLINE enum ns_parsed ns_find_ip_by_family(const struct ns_view *view, ns_u32 *l3_offset)
{
	ns_u8 scratch[NS_FAMILY_BYTES];
	const ns_u8 *head = ns_view_at(view, 0, scratch, NS_FAMILY_BYTES);
	ns_u32 family;

	if (!head)
		return NS_PARSED_TRUNCATED;
	*l3_offset = NS_FAMILY_BYTES;
	if (head[1] || head[2] || (head[0] && head[3]))
		return NS_PARSED_NOT_IP;
	family = (ns_u32)head[0] | head[3];
	return family == 2 || family == 10 || family == 24 || family == 28 || family == 30
		       ? NS_PARSED
		       : NS_PARSED_NOT_IP;
}

/**
 * ns_parse_ethernet - find the IP header of an Ethernet frame
 * @view: the frame, from its destination address
 * @l3_offset: result: where the IP header starts; unspecified unless NS_PARSED is returned
 *
 * Return: NS_PARSED; NS_PARSED_NOT_IP; NS_PARSED_TRUNCATED; NS_PARSED_BAD_HEADER of PPPoE;
 * NS_PARSED_TOO_NESTED behind more than NS_MAX_TAGS tags and labels. Reads each tag once.
 */
NS_INLINE enum ns_parsed ns_parse_ethernet(const struct ns_view *view, ns_u32 *l3_offset)
{
	return ns_find_ip_by_type(view, NS_ETHERNET_BYTES - 2, NS_ETHERNET_BYTES, l3_offset);
}

/**
 * ns_find_ip - find the IP header of a frame of any link type that is understood
 * @link: enum ns_link, or any other number
 * @view: the frame, from its link header
 * @l3_offset: result: where the IP header starts; unspecified unless NS_PARSED is returned
 *
 * Return: as ns_parse_ethernet(), and NS_PARSED_UNKNOWN_LINK. No IP header is read.
 */
NS_INLINE enum ns_parsed ns_find_ip(ns_u32 link, const struct ns_view *view, ns_u32 *l3_offset)
{
	switch (link) {
	case NS_LINK_ETHERNET:
		return ns_parse_ethernet(view, l3_offset);
	case NS_LINK_COOKED:
		return ns_find_ip_by_type(view, NS_COOKED_BYTES - 2, NS_COOKED_BYTES, l3_offset);
	case NS_LINK_COOKED2:
		return ns_find_ip_by_type(view, 0, NS_COOKED2_BYTES, l3_offset);
	case NS_LINK_NULL:
	case NS_LINK_LOOP:
		return ns_find_ip_by_family(view, l3_offset);
	case NS_LINK_RAW_BSD:
	case NS_LINK_RAW_OPENBSD:
	case NS_LINK_RAW:
	case NS_LINK_IPV4:
	case NS_LINK_IPV6:
		return ns_find_ip_by_version(view, 0, l3_offset);
	default:
		return NS_PARSED_UNKNOWN_LINK;
	}
}

#endif
