// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Hook: BPF netfilter link (kernel 6.4+) at LOCAL_IN and LOCAL_OUT, IPv4 and IPv6. Sees the host's
 * own traffic on every device and loopback, reassembled, without what is only forwarded.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "port.h"

/* The fields read here, placed by CO-RE; include/linux/skbuff.h. */
struct sk_buff {
	unsigned int len, data_len; /* all of it, and what is in fragments */
	unsigned char *head, *data;
	unsigned int end;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	unsigned short gso_size;
	unsigned short gso_segs;
} __attribute__((preserve_access_index));

/* include/linux/netdevice.h, include/net/rtnetlink.h */
struct rtnl_link_ops {
	const char *kind;
} __attribute__((preserve_access_index));

struct net_device {
	const struct rtnl_link_ops *rtnl_link_ops; /* NULL: hardware, or loopback */
} __attribute__((preserve_access_index));

/* include/linux/netfilter.h; a program's context. */
struct nf_hook_state {
	struct net_device *in;
	struct net_device *out;
} __attribute__((preserve_access_index));

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

#define NS_VIEW_DEFINED
struct ns_view {
	struct bpf_dynptr *pieces; /* for ns_view_at(), set by ns_parse_pieces() */
	struct sk_buff *skb;
	const ns_u8 *start; /* of the part that lies in one piece, for ns_word() only */
	ns_u32 start_bytes; /* of that part */
};

extern int bpf_dynptr_from_skb(struct sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer,
			      __u32 buffer_bytes) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

/* A packet need not be linear: the kernel copies to @scratch what lies in fragments. */
static __always_inline const ns_u8 *ns_view_at(const struct ns_view *view, ns_u32 offset,
					       ns_u8 *scratch, ns_u32 size)
{
	return bpf_dynptr_slice(view->pieces, offset, scratch, size);
}

/* Any struct of the kernel that is plain 64-bit words: what memory is read through. It is part of
 * the kernel's promise to user space (include/uapi/linux/if_link.h), so it does not change. */
struct rtnl_link_stats64 {
	__u64 rx_packets;
} __attribute__((preserve_access_index));

/* Memory of the kernel as words; what is not mapped reads as 0. Calls nothing. */
static __always_inline const ns_u8 *ns_kernel_words(const void *at)
{
	return bpf_rdonly_cast(at, bpf_core_type_id_kernel(struct rtnl_link_stats64));
}

static __always_inline const ns_u8 *ns_view_words(const struct ns_view *view, ns_u32 offset,
						  ns_u32 size)
{
	return offset + size > view->start_bytes ? (const ns_u8 *)0 : view->start + offset;
}

#include "usual.h"

/* Out of the way of the usual packet, with the calls that one in pieces takes. */
static __noinline enum ns_parsed
ns_parse_pieces(struct sk_buff *skb, const struct ns_carrier *carrier, struct ns_packet *packet)
{
	struct bpf_dynptr pieces;
	struct ns_view view = {.pieces = &pieces};

	if (bpf_dynptr_from_skb(skb, 0, &pieces))
		return NS_PARSED_TRUNCATED;
	return ns_parse_any(&view, carrier, packet);
}

static __always_inline enum ns_parsed ns_parse_unusual(const struct ns_view *view,
						       const struct ns_carrier *carrier,
						       struct ns_packet *packet)
{
	struct ns_carrier apart = *carrier; /* so that only here it has to lie in memory */

	return ns_parse_pieces(view->skb, &apart, packet);
}

/* The hooks themselves see the host's own traffic only. */
static __always_inline int ns_is_mine(const struct ns_view *view, const struct ns_packet *packet)
{
	(void)view;
	(void)packet;
	return 1;
}

#include "maps.bpf.h"

enum { NS_NF_ACCEPT = 1 };

/* Whether a name of which @word holds the first eight bytes is @kind, or begins with its first
 * seven. */
#define NS_IS_KIND(word, kind)                                                                     \
	({                                                                                         \
		const char wanted[] = kind "\0\0\0\0\0\0\0\0";                                     \
		const char bits[] = "\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0";              \
		const unsigned int letters = sizeof(kind) < 8 ? sizeof(kind) : 7;                  \
		__u64 pattern, mask;                                                               \
                                                                                                   \
		__builtin_memcpy(&pattern, wanted, sizeof(pattern));                               \
		__builtin_memcpy(&mask, bits + 8 - letters, sizeof(mask));                         \
		!((word ^ pattern) & mask);                                                        \
	})

enum { NS_VETH = 0x68746576 }; /* "veth" */

/*
 * Tell whether a device is the inner side of a tunnel: of a kind, as `ip link` names them, whose
 * packets this host carries inside others. devices.py has the same for the hooks on devices.
 *
 * Asked for each packet, so the name is read in place: a helper that copies it takes 60 ns.
 */
static __always_inline int ns_is_tunnel(const struct net_device *device)
{
	const struct rtnl_link_ops *driver = device ? device->rtnl_link_ops : (void *)0;
	__u64 word;

	if (!driver)
		return 0;
	word = ns_word(ns_kernel_words(driver->kind), 0);
	if (NS_LIKELY((ns_u32)word == NS_VETH)) /* the commonest of all kinds */
		return 0;
	switch (*(const char *)&word) {
	case 'v':
		return NS_IS_KIND(word, "vxlan") || NS_IS_KIND(word, "vti") ||
		       NS_IS_KIND(word, "vti6");
	case 'g':
		return NS_IS_KIND(word, "gre") || NS_IS_KIND(word, "gretap") ||
		       NS_IS_KIND(word, "geneve") || NS_IS_KIND(word, "gtp");
	case 'i':
		return NS_IS_KIND(word, "ipip") || NS_IS_KIND(word, "ip6tnl") ||
		       NS_IS_KIND(word, "ip6gre") || NS_IS_KIND(word, "ip6gretap") ||
		       NS_IS_KIND(word, "ip6erspan");
	default:
		return NS_IS_KIND(word, "wireguard") || NS_IS_KIND(word, "sit") ||
		       NS_IS_KIND(word, "erspan") || NS_IS_KIND(word, "xfrm") ||
		       NS_IS_KIND(word, "bareudp");
	}
}

static __always_inline int ns_observe_skb(struct bpf_nf_ctx *ctx, ns_u32 direction)
{
	struct sk_buff *skb = ctx->skb;
	struct skb_shared_info *shared = bpf_rdonly_cast(
		skb->head + skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
	struct ns_carrier carrier = {
		.l3_offset = 0,
		.l3_bytes = skb->len,
		.gso_size = shared->gso_size,
		.direction = direction,
	};
	const struct net_device *device = direction == NS_IN ? ctx->state->in : ctx->state->out;
	struct ns_view view = {
		.skb = skb,
		.start = ns_kernel_words(skb->data),
		.start_bytes = skb->len - skb->data_len,
	};

	if (NS_UNLIKELY(carrier.gso_size))
		carrier.gso_segs = shared->gso_segs;
	/* The carrier of the packet passes here too, after it when sent and before when received.
	 */
	if (ns_config.encapsulated == NS_ENCAPSULATED_OUTER && ns_is_tunnel(device))
		return NS_NF_ACCEPT;
	ns_observe(&view, &carrier, NS_PARSED);
	return NS_NF_ACCEPT;
}

SEC("?netfilter")
int ns_local_in(struct bpf_nf_ctx *ctx)
{
	return ns_observe_skb(ctx, NS_IN);
}

SEC("?netfilter")
int ns_local_out(struct bpf_nf_ctx *ctx)
{
	return ns_observe_skb(ctx, NS_OUT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
