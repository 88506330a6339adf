/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames out of a capture, classic pcap or pcapng, that comes in windows: no file, no allocation,
 * no Python. Every length in the bytes is checked before it is believed.
 *
 * The owner gives a window (bytes, size, at = 0) and asks for frames until CAPTURE_MORE; then it
 * gives a new window that begins with what the old one held from `at` on. A window of
 * CAPTURE_MAX_BLOCK_BYTES always brings the walk on.
 */
#ifndef NS_CAPTURE_H
#define NS_CAPTURE_H

#include <stddef.h>

#include "port.h"

enum {
	CAPTURE_START_BYTES = 24,	   /* what capture_begin() needs */
	CAPTURE_MAX_FRAME_BYTES = 1 << 18, /* tcpdump's MAXIMUM_SNAPLEN */
	CAPTURE_MAX_BLOCK_BYTES = 1
				  << 20, /* of pcapng blocks that are read; others may be larger */
	CAPTURE_MAX_INTERFACES = 4096,	 /* of one pcapng section */
};

enum capture_format { CAPTURE_UNKNOWN = 0, CAPTURE_PCAP = 1, CAPTURE_PCAPNG = 2 };

enum capture_step {
	CAPTURE_FRAME = 0,
	CAPTURE_MORE = 1,    /* the window ends here, or within what begins here */
	CAPTURE_CORRUPT = 2, /* see capture.fault; the walk cannot go on */
};

struct capture_frame {
	const ns_u8 *start;
	ns_u32 captured_bytes;
	ns_u32 wire_bytes;
	ns_u32 link;	  /* enum ns_link, or any other number */
	ns_u64 wall_ns;	  /* unix time, at most INT64_MAX */
	size_t record_at; /* set capture.at to this to meet the frame again */
};

struct capture_interface {
	ns_u32 link;
	ns_u32 snap_bytes;  /* 0: no limit */
	ns_u64 units_per_s; /* of its time stamps */
	long long offset_s; /* added to its time stamps */
};

struct capture {
	const ns_u8 *bytes; /* the window */
	size_t size;
	size_t at;
	enum capture_format format;
	int swapped;	     /* byte order is not this host's; of the section, in pcapng */
	ns_u64 skip_bytes;   /* left of a pcapng block that is not read */
	ns_u32 skip_length;  /* what that block must end with; 0: none */
	ns_u64 last_wall_ns; /* for frames without a time stamp */
	const char *fault;   /* of CAPTURE_CORRUPT */
	ns_u32 interfaces;
	struct capture_interface interface[CAPTURE_MAX_INTERFACES]; /* classic pcap: the first */
};

/**
 * capture_begin - recognise a capture
 * @capture: result; its window is not set
 * @start: the first bytes of the file
 * @bytes: how many there are
 *
 * Return: the format, CAPTURE_UNKNOWN when it is neither or shorter than CAPTURE_START_BYTES.
 */
enum capture_format capture_begin(struct capture *capture, const ns_u8 *start, size_t bytes);

/* Give the next frame. */
enum capture_step capture_next(struct capture *capture, struct capture_frame *frame);

enum capture_format pcap_begin(struct capture *capture, const ns_u8 *start);
enum capture_step pcap_next(struct capture *capture, struct capture_frame *frame);
enum capture_step pcapng_next(struct capture *capture, struct capture_frame *frame);

/* An interface's time stamp as unix time, kept within 0 and INT64_MAX. */
ns_u64 capture_wall_ns(const struct capture_interface *interface, ns_u64 units);

NS_INLINE enum capture_step capture_corrupt(struct capture *capture, const char *fault)
{
	capture->fault = fault;
	return CAPTURE_CORRUPT;
}

NS_INLINE ns_u16 capture_read16(const struct capture *capture, const ns_u8 *at)
{
	ns_u16 value;

	__builtin_memcpy(&value, at, sizeof(value));
	return capture->swapped ? __builtin_bswap16(value) : value;
}

NS_INLINE ns_u32 capture_read32(const struct capture *capture, const ns_u8 *at)
{
	ns_u32 value;

	__builtin_memcpy(&value, at, sizeof(value));
	return capture->swapped ? __builtin_bswap32(value) : value;
}

NS_INLINE ns_u64 capture_read64(const struct capture *capture, const ns_u8 *at)
{
	ns_u64 value;

	__builtin_memcpy(&value, at, sizeof(value));
	return capture->swapped ? __builtin_bswap64(value) : value;
}

#endif
