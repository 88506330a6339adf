/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every record that crosses a boundary: kernel maps, the native extension, numpy dtypes. Fixed
 * widths, named padding, sizes asserted. `.ci/abi.py` generates the Python side from this file's
 * BTF and CI fails when they differ.
 */
#ifndef NS_ABI_H
#define NS_ABI_H

#include "port.h"

enum ns_constant {
	NS_ABI_VERSION = 1,
	NS_WAYS = 8,		   /* slots of a bucket */
	NS_HASH_WORDS = 8,	   /* 64-bit words of the hash key */
	NS_DIRECTIONS = 2,	   /* NS_IN, NS_OUT */
	NS_PARITIES = 2,	   /* buffers of a slice: even and odd epochs */
	NS_SAMPLE_SHIFT_LEAST = 6, /* 1 of 64 flows, while few are new */
	NS_SAMPLE_SHIFT_MOST = 10, /* 1 of 1024, in a flood */
	NS_HLL_BITS = 12,
	NS_HLL_REGISTERS = 1 << NS_HLL_BITS,
	NS_KEY_HAS_PORTS = 1,	 /* ns_key.flags: ports were read (a port may itself be 0) */
	NS_TCP_SYN_ONE = 1 << 8, /* ns_slot.tcp: one SYN without ACK */
	NS_PORT_RANGES = 16,	 /* of a filter, for each end */
};

enum ns_direction {
	NS_IN = 0,  /* for this host */
	NS_OUT = 1, /* from this host */
};

/* Of a packet that this host carries inside another, one of the two is counted. */
enum ns_encapsulated {
	NS_ENCAPSULATED_OUTER = 0,   /* the carrier, not what goes into or comes out of a tunnel */
	NS_ENCAPSULATED_EXCLUDE = 1, /* what is carried, not the carrier (ns_carries_another()) */
};

/* Why a packet that was seen is in no flow. Each has a counter in every slice. */
enum ns_drop {
	NS_DROP_NOT_IP = 0,	     /* ARP, LLC, an ethertype not parsed */
	NS_DROP_TRUNCATED = 1,	     /* the IP header, or one before it, is not all there */
	NS_DROP_BAD_HEADER = 2,	     /* IP version or length that cannot be; PPPoE version */
	NS_DROP_NO_BUCKET = 3,	     /* a map lookup failed: a fault of ours */
	NS_DROP_TOO_NESTED = 4,	     /* more VLAN tags and MPLS labels than are followed */
	NS_DROP_UNKNOWN_LINK = 5,    /* a link type not parsed, of a capture or a device */
	NS_DROP_RING_FULL = 6,	     /* the reader of a packet ring came too late */
	NS_DROP_UNKNOWN_OFFLOAD = 7, /* a super-packet whose segments a packet ring cannot tell */
	NS_DROP_CAUSES = 8,
};

/*
 * Flow key, 40 bytes; addresses in network order, IPv4 mapped into ::ffff:0:0/96, ports in host
 * order, 0 where the packet has none.
 */
struct ns_key {
	ns_u8 src[16];
	ns_u8 dst[16];
	ns_u16 sport;
	ns_u16 dport;
	ns_u8 proto;
	ns_u8 direction;
	ns_u8 flags;
	ns_u8 reserved;
};
_Static_assert(sizeof(struct ns_key) == 40, "the key is hashed as five 64-bit words");

/*
 * Counts of one flow in one tick. tcp: bits 0-7 the OR of TCP flags (a hint: an interrupt may lose
 * a bit, never a count), bits 8-31 packets with SYN and without ACK.
 */
struct ns_slot {
	ns_u64 fingerprint;
	ns_u64 bytes;
	ns_u32 packets;
	ns_u32 tcp;
};
_Static_assert(sizeof(struct ns_slot) == 24, "eight slots fill three cache lines");

/*
 * Hot bucket, four cache lines; a hit touches two of them.
 *
 *   0        16           48     52      56      64                    256
 *   | tag[8] | priority[8] | epoch| spill | spill | slot[8] ............ |
 *   |  u16   |    u32      |  u32 | pkts  | bytes |  24 bytes each       |
 */
struct ns_hot {
	ns_u16 tag[NS_WAYS];	  /* 0: empty lane */
	ns_u32 priority[NS_WAYS]; /* Space-Saving weight: own plus inherited */
	ns_u32 epoch;		  /* the counts below belong to this epoch only */
	ns_u32 spill_packets;	  /* moved out by replacement */
	ns_u64 spill_bytes;
	struct ns_slot slot[NS_WAYS];
};
_Static_assert(sizeof(struct ns_hot) == 256, "a bucket never straddles a page");
_Static_assert(__builtin_offsetof(struct ns_hot, slot) == 64, "line 0 is reset as a whole");

/* Cold bucket: written on insert only. The label is one spilled flow, drawn by its packets. */
struct ns_cold {
	struct ns_key key[NS_WAYS];
	struct ns_key label_key;
	struct ns_slot label;
};
_Static_assert(sizeof(struct ns_cold) == 384, "8 keys, one label");

/*
 * One slice belongs to one CPU, direction and parity. Its counters only grow; readers take
 * differences.
 */
struct ns_slice {
	ns_u64 busy;		  /* contexts inside, this CPU: process, softirq, a preempted one */
	ns_u64 contended_packets; /* new flows that met a busy slice: counted, but in no flow */
	ns_u64 contended_bytes;
	ns_u64 inserts;
	ns_u64 drops[NS_DROP_CAUSES];
	ns_u64 reserved[4];
	ns_u32 distinct[NS_HLL_REGISTERS]; /* hll.h: flows that were inserted */
};
_Static_assert(__builtin_offsetof(struct ns_slice, distinct) == 128,
	       "two cache lines, the second for rare drops");
_Static_assert(sizeof(struct ns_slice) % 64 == 0, "slices share no cache line");

/* Written by user space as one word, read as one word per packet. */
struct ns_control {
	ns_u32 epoch;	     /* its lowest bit is the parity in use */
	ns_u32 sample_shift; /* 1 of 2^shift keys lives in the sample region; not below config's */
};
_Static_assert(sizeof(struct ns_control) == 8, "one word");

/* Constants of a load: the verifier sees them as constants. */
struct ns_config {
	ns_u64 hash_key[NS_HASH_WORDS]; /* secret, drawn at each start */
	ns_u32 lg_buckets;		/* log2 of buckets per slice */
	ns_u32 sample_shift;		/* the least that ns_control's may be */
	ns_u32 encapsulated;		/* enum ns_encapsulated */
	ns_u32 whole_device;		/* not 0: count all that passes, whosever it is */
};
_Static_assert(sizeof(struct ns_config) == 80, "no padding");

enum ns_record_kind {
	NS_RECORD_FLOW = 0,  /* counts are exact since insertion */
	NS_RECORD_LABEL = 1, /* estimate: stands for what its bucket spilled */
};

/*
 * One flow of a closed tick, as folding writes it. The credit is the part of what an absent flow of
 * its bucket may have (ns_absent) that this flow, being present, cannot have.
 */
struct ns_record {
	struct ns_key key;
	ns_u64 packets;
	ns_u64 bytes;
	ns_u32 tcp;
	ns_u32 kind;
	ns_u64 credit_bytes;
	ns_u32 credit_packets;
	ns_u32 others; /* so many more flows like it are estimated */
};
_Static_assert(sizeof(struct ns_record) == 80, "no padding");

/* The most that a flow may have which its bucket does not hold. */
struct ns_absent {
	ns_u64 packets;
	ns_u64 bytes;
};
_Static_assert(sizeof(struct ns_absent) == 16, "no padding");

/* What a closed tick adds up to, one for each direction. Spilled, contended and thinned are in no
 * record. */
struct ns_tally {
	ns_u64 packets; /* flows + spilled + contended + thinned */
	ns_u64 bytes;
	ns_u64 spilled_packets;
	ns_u64 spilled_bytes;
	ns_u64 contended_packets; /* cumulative, as in the slices */
	ns_u64 contended_bytes;
	ns_u64 thinned_packets; /* left out to keep within the reader's budget */
	ns_u64 thinned_bytes;
	ns_u64 inserts;		      /* cumulative */
	ns_u64 drops[NS_DROP_CAUSES]; /* cumulative */
	ns_u64 used_buckets;
	ns_u64 spilled_buckets;
};
_Static_assert(sizeof(struct ns_tally) == 152, "no padding");

/* Classes of flows that a filter may ask for, told by match.h. */
enum ns_flow_class {
	NS_FLOW_ANY = 0,
	NS_FLOW_ATTEMPT = 1,   /* looks like an attempt to open something */
	NS_FLOW_HALF_OPEN = 2, /* TCP with a SYN and without an ACK */
	NS_FLOW_UNASKED = 3,   /* looks like a reply */
	NS_FLOW_PROBE = 4,     /* an attempt, or what no open connection sends */
};

/* Ports, both ends included. */
struct ns_port_range {
	ns_u16 low;
	ns_u16 high;
};
_Static_assert(sizeof(struct ns_port_range) == 4, "no padding");

/* A task's filter: value and mask for each address, as two 64-bit words each. */
struct ns_match {
	ns_u64 src[2];
	ns_u64 src_mask[2];
	ns_u64 dst[2];
	ns_u64 dst_mask[2];
	ns_u32 directions; /* bit 1 << ns_direction */
	ns_u32 proto;	   /* 256: any */
	ns_u32 family;	   /* 4 or 6; 0: any */
	ns_u32 flow_class; /* enum ns_flow_class */
	ns_u32 sports;	   /* ranges of sport in use; 0: any, and flows without ports */
	ns_u32 dports;
	struct ns_port_range sport[NS_PORT_RANGES];
	struct ns_port_range dport[NS_PORT_RANGES];
};
_Static_assert(sizeof(struct ns_match) == 216, "no padding");

/* Counts of one key in a window, user space. Truth is in [packets, packets + over_packets]. */
struct ns_entry {
	struct ns_key key;
	ns_u64 packets;
	ns_u64 bytes;
	ns_u64 label_packets; /* estimate of what was spilled, not in packets */
	ns_u64 label_bytes;
	ns_u64 over_packets;
	ns_u64 over_bytes;
	ns_u64 credit_packets; /* sum of its records' */
	ns_u64 credit_bytes;
};
_Static_assert(sizeof(struct ns_entry) == 104, "no padding");

#endif
