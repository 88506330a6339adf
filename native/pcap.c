// SPDX-License-Identifier: BSD-2-Clause
/*
 * Recognising a capture, and the walk over classic pcap: a header of 24 bytes, then records of 16
 * bytes and a frame. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html
 */
#include "capture.h"

enum {
	PCAP_MICROSECONDS = 0xa1b2c3d4u,
	PCAP_NANOSECONDS = 0xa1b23c4du,
	PCAP_RECORD_BYTES = 16,
	PCAPNG_SECTION = 0x0a0d0d0au, /* reads the same in both byte orders */
};

ns_u64 capture_wall_ns(const struct capture_interface *interface, ns_u64 units)
{
	ns_u64 whole_s = units / interface->units_per_s, rest = units % interface->units_per_s;
	__int128 wall_ns = ((__int128)whole_s + interface->offset_s) * 1000000000;

	/* 94 bits at most: 64 of the rest, 30 of the factor. */
	wall_ns += (__int128)rest * 1000000000 / interface->units_per_s;

	if (wall_ns < 0)
		return 0;
	return wall_ns > __INT64_MAX__ ? __INT64_MAX__ : (ns_u64)wall_ns;
}

enum capture_format pcap_begin(struct capture *capture, const ns_u8 *start)
{
	for (int swapped = 0; swapped < 2; swapped++) {
		ns_u32 magic;

		capture->swapped = swapped;
		magic = capture_read32(capture, start);
		if (magic != PCAP_MICROSECONDS && magic != PCAP_NANOSECONDS)
			continue;
		capture->interfaces = 1;
		/* The upper bits tell of a frame check sequence. */
		capture->interface[0].link = capture_read32(capture, start + 20) & 0xffff;
		capture->interface[0].units_per_s =
			magic == PCAP_NANOSECONDS ? 1000000000 : 1000000;
		capture->skip_bytes = CAPTURE_START_BYTES;
		return CAPTURE_PCAP;
	}
	return CAPTURE_UNKNOWN;
}

enum capture_format capture_begin(struct capture *capture, const ns_u8 *start, size_t bytes)
{
	__builtin_memset(capture, 0, sizeof(*capture));
	if (bytes < CAPTURE_START_BYTES)
		return CAPTURE_UNKNOWN;
	if (capture_read32(capture, start) == PCAPNG_SECTION)
		capture->format = CAPTURE_PCAPNG;
	else
		capture->format = pcap_begin(capture, start);
	return capture->format;
}

enum capture_step pcap_next(struct capture *capture, struct capture_frame *frame)
{
	const struct capture_interface *interface = &capture->interface[0];
	size_t left;
	const ns_u8 *record;

	if (capture->skip_bytes > capture->size - capture->at)
		return CAPTURE_MORE;
	capture->at += capture->skip_bytes;
	capture->skip_bytes = 0;
	left = capture->size - capture->at;
	record = capture->bytes + capture->at;
	if (left < PCAP_RECORD_BYTES)
		return CAPTURE_MORE;
	frame->captured_bytes = capture_read32(capture, record + 8);
	if (frame->captured_bytes > CAPTURE_MAX_FRAME_BYTES)
		return capture_corrupt(capture, "a record of more than 262144 bytes");
	if (left - PCAP_RECORD_BYTES < frame->captured_bytes)
		return CAPTURE_MORE;
	frame->start = record + PCAP_RECORD_BYTES;
	frame->wire_bytes = capture_read32(capture, record + 12);
	frame->link = interface->link;
	frame->wall_ns =
		capture_read32(capture, record) * 1000000000ULL +
		capture_read32(capture, record + 4) * (1000000000ULL / interface->units_per_s);
	frame->record_at = capture->at;
	capture->at += PCAP_RECORD_BYTES + frame->captured_bytes;
	return CAPTURE_FRAME;
}

enum capture_step capture_next(struct capture *capture, struct capture_frame *frame)
{
	return capture->format == CAPTURE_PCAP ? pcap_next(capture, frame)
					       : pcapng_next(capture, frame);
}
