/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a frame to its IP header: Ethernet with any stack of VLAN tags (IEEE 802.1Q, 802.1ad).
 */
#ifndef NS_LINK_H
#define NS_LINK_H

#include "parse.h"

enum { NS_ETHERNET_BYTES = 14, NS_VLAN_BYTES = 4, NS_MAX_VLANS = 8 };

enum ns_ethertype {
	NS_ETHERTYPE_IPV4 = 0x0800,
	NS_ETHERTYPE_VLAN = 0x8100,
	NS_ETHERTYPE_IPV6 = 0x86dd,
	NS_ETHERTYPE_QINQ = 0x88a8,
	NS_ETHERTYPE_QINQ_OLD = 0x9100,
};

NS_INLINE int ns_is_vlan(ns_u32 ethertype)
{
	return ethertype == NS_ETHERTYPE_VLAN || ethertype == NS_ETHERTYPE_QINQ ||
	       ethertype == NS_ETHERTYPE_QINQ_OLD;
}

/**
 * ns_parse_ethernet - find the IP header of an Ethernet frame
 * @view: the frame, from its destination address
 * @l3_offset: result: where the IP header starts
 *
 * Return: NS_PARSED, NS_PARSED_NOT_IP or NS_PARSED_TRUNCATED.
 */
NS_INLINE enum ns_parsed ns_parse_ethernet(const struct ns_view *view, ns_u32 *l3_offset)
{
	ns_u32 offset = NS_ETHERNET_BYTES - 2;

	for (int i = 0; i <= NS_MAX_VLANS; i++) {
		ns_u8 scratch[2];
		const ns_u8 *field = ns_view_at(view, offset, scratch, 2);
		ns_u32 ethertype;

		if (!field)
			return NS_PARSED_TRUNCATED;
		ethertype = ns_read_be16(field);
		if (!ns_is_vlan(ethertype)) {
			*l3_offset = offset + 2;
			return ethertype == NS_ETHERTYPE_IPV4 || ethertype == NS_ETHERTYPE_IPV6
				       ? NS_PARSED
				       : NS_PARSED_NOT_IP;
		}
		offset += NS_VLAN_BYTES;
	}
	return NS_PARSED_NOT_IP;
}

#endif
