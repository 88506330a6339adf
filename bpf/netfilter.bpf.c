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
	unsigned int len;
	unsigned char *head;
	unsigned int end;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	unsigned short gso_size;
	unsigned short gso_segs;
} __attribute__((preserve_access_index));

/* include/linux/netfilter.h; a program's context. */
struct bpf_nf_ctx {
	const void *state;
	struct sk_buff *skb;
} __attribute__((preserve_access_index));

#define NS_VIEW_DEFINED
struct ns_view {
	struct bpf_dynptr *packet;
};

extern int bpf_dynptr_from_skb(struct sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *dynptr, __u32 offset, void *buffer,
			      __u32 buffer_bytes) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

/* A packet need not be linear: the kernel copies to @scratch what lies in fragments. */
static __always_inline const ns_u8 *ns_view_at(const struct ns_view *view, ns_u32 offset,
					       ns_u8 *scratch, ns_u32 size)
{
	return bpf_dynptr_slice(view->packet, offset, scratch, size);
}

struct ns_packet;

/* The hooks themselves see the host's own traffic only. */
static __always_inline int ns_is_mine(const struct ns_view *view, const struct ns_packet *packet)
{
	(void)view;
	(void)packet;
	return 1;
}

#include "maps.bpf.h"

enum { NS_NF_ACCEPT = 1 };

static __always_inline int ns_observe_skb(struct bpf_nf_ctx *ctx, ns_u32 direction)
{
	struct sk_buff *skb = ctx->skb;
	struct skb_shared_info *shared = bpf_rdonly_cast(
		skb->head + skb->end, bpf_core_type_id_kernel(struct skb_shared_info));
	struct ns_carrier carrier = {
		.l3_offset = 0,
		.l3_bytes = skb->len,
		.gso_size = shared->gso_size,
		.gso_segs = shared->gso_segs,
		.direction = direction,
	};
	struct bpf_dynptr packet;
	struct ns_view view = {.packet = &packet};

	if (!bpf_dynptr_from_skb(skb, 0, &packet))
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
