// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Hook: a device's ingress and egress, as a TCX link (kernel 6.6+) or a clsact filter (any kernel).
 * Sees everything that passes the device; what is the host's own is told by the addresses in
 * ns_local, unless all of it is wanted. No kernel types beyond <linux/bpf.h>, so it loads without
 * the kernel's BTF.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "port.h"

#define NS_VIEW_DEFINED
struct ns_view {
	struct __sk_buff *skb;
	const ns_u8 *start;
	const ns_u8 *end;
	ns_u32 packet_type; /* PACKET_HOST, ... as the receiving driver found */
	ns_u32 direction;
};

enum { NS_MAX_OFFSET = 0x3fff };

/* Most headers lie in the linear part; what does not is copied to @scratch. */
static __always_inline const ns_u8 *ns_view_at(const struct ns_view *view, ns_u32 offset,
					       ns_u8 *scratch, ns_u32 size)
{
	if (offset > NS_MAX_OFFSET)
		return (const ns_u8 *)0;
	if (view->start + offset + size <= view->end)
		return view->start + offset;
	if (bpf_skb_load_bytes(view->skb, offset, scratch, size))
		return (const ns_u8 *)0;
	return scratch;
}

/* Headers of usual packets lie there. */
static __always_inline const ns_u8 *ns_view_words(const struct ns_view *view, ns_u32 offset,
						  ns_u32 size)
{
	if (offset > NS_MAX_OFFSET || view->start + offset + size > view->end)
		return (const ns_u8 *)0;
	return view->start + offset;
}

struct ns_address {
	ns_u8 bytes[16];
};

/* Addresses of the host, IPv4 mapped into IPv6; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ns_address);
	__type(value, ns_u8);
} ns_local SEC(".maps");

#include "usual.h"

static __always_inline int ns_is_mine(const struct ns_view *view, const struct ns_packet *packet);

/* Out of the way of the usual packet. */
static __noinline enum ns_parsed ns_parse_unusual(const struct ns_view *view,
						  const struct ns_carrier *carrier,
						  struct ns_packet *packet)
{
	return ns_parse_any(view, carrier, packet);
}

#include "maps.bpf.h"

/*
 * INPUT as netfilter sees it: for this host by address or to many; OUTPUT: from this host. A view
 * of the device takes all that passes instead.
 */
static __always_inline int ns_is_mine(const struct ns_view *view, const struct ns_packet *packet)
{
	const ns_u8 *address = packet->key.src;

	if (ns_config.whole_device)
		return 1;
	if (view->direction == NS_IN) {
		if (view->packet_type == PACKET_OTHERHOST)
			return 0;
		if (view->packet_type != PACKET_HOST)
			return 1;
		address = packet->key.dst;
	}
	return bpf_map_lookup_elem(&ns_local, address) != (void *)0;
}

/*
 * Find the IP header behind tags, labels or PPPoE: its offset, or -enum ns_parsed. A global
 * function is verified once, on its own; inlined, each of its ways out would be verified together
 * with all of parsing, over a million instructions.
 */
__attribute__((noinline)) int ns_find_tagged(struct __sk_buff *skb)
{
	struct ns_view view = {.skb = skb};
	ns_u32 l3_offset = 0;
	enum ns_parsed found = ns_parse_ethernet(&view, &l3_offset);

	return found == NS_PARSED ? (int)l3_offset : -(int)found;
}

static __always_inline enum ns_parsed
ns_find_in_frame(struct __sk_buff *skb, const struct ns_view *view, ns_u32 *l3_offset)
{
	ns_u8 scratch[2];
	const ns_u8 *type = ns_view_at(view, NS_ETHERNET_BYTES - 2, scratch, 2);
	int offset;

	if (!type)
		return NS_PARSED_TRUNCATED;
	*l3_offset = NS_ETHERNET_BYTES;
	if (ns_read_be16(type) == NS_ETHERTYPE_IPV4 || ns_read_be16(type) == NS_ETHERTYPE_IPV6)
		return NS_PARSED;
	offset = ns_find_tagged(skb);
	if (offset <= 0)
		return (enum ns_parsed) - offset;
	*l3_offset = (ns_u32)offset;
	return NS_PARSED;
}

static __always_inline int ns_observe_frame(struct __sk_buff *skb, ns_u32 direction, int ethernet)
{
	/* All context fields at once: clang 14 else computes addresses the verifier refuses. */
	volatile struct __sk_buff *fields = skb;
	ns_u32 bytes = fields->len;
	ns_u32 gso_size = fields->gso_size;
	ns_u32 gso_segs = fields->gso_segs;
	ns_u32 packet_type = fields->pkt_type;
	const ns_u8 *start = (const ns_u8 *)(long)fields->data;
	const ns_u8 *end = (const ns_u8 *)(long)fields->data_end;
	struct ns_view view = {skb, start, end, packet_type, direction};
	struct ns_carrier carrier = {
		.gso_size = gso_size, .gso_segs = gso_segs, .direction = direction};
	enum ns_parsed found = NS_PARSED;

	if (ethernet)
		found = ns_find_in_frame(skb, &view, &carrier.l3_offset);
	carrier.l3_bytes = bytes - carrier.l3_offset;
	ns_observe(&view, &carrier, found);
	return TC_ACT_UNSPEC;
}

SEC("?tc")
int ns_ingress(struct __sk_buff *skb)
{
	return ns_observe_frame(skb, NS_IN, 1);
}

SEC("?tc")
int ns_egress(struct __sk_buff *skb)
{
	return ns_observe_frame(skb, NS_OUT, 1);
}

/* The same for devices without a link-layer header: tunnels, WireGuard. */
SEC("?tc")
int ns_ingress_ip(struct __sk_buff *skb)
{
	return ns_observe_frame(skb, NS_IN, 0);
}

SEC("?tc")
int ns_egress_ip(struct __sk_buff *skb)
{
	return ns_observe_frame(skb, NS_OUT, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
