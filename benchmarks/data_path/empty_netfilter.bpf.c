// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Netfilter's hooks with programs that do nothing: what the kernel takes for calling any. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_nf_ctx;

enum { ACCEPT = 1 };

SEC("?netfilter")
int ns_local_in(struct bpf_nf_ctx *ctx)
{
	(void)ctx;
	return ACCEPT;
}

SEC("?netfilter")
int ns_local_out(struct bpf_nf_ctx *ctx)
{
	(void)ctx;
	return ACCEPT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
