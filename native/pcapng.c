// SPDX-License-Identifier: BSD-2-Clause
/*
 * The walk over pcapng: blocks that carry their length in front and behind, in sections of either
 * byte order. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
 */
#include "capture.h"

enum block {
	BLOCK_INTERFACE = 1,
	BLOCK_OBSOLETE_PACKET = 2,
	BLOCK_SIMPLE_PACKET = 3,
	BLOCK_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a,
};

enum {
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	OPTION_END = 0,
	OPTION_TIME_RESOLUTION = 9,
	OPTION_TIME_OFFSET = 14,
	HEAD_BYTES = 8,	  /* type and length */
	FRAME_BYTES = 12, /* head, and the length behind */
	SECTION_BYTES = 28,
	INTERFACE_BYTES = 8,
	PACKET_BYTES = 20,
	SIMPLE_PACKET_BYTES = 4,
};

static const char bad_length[] = "a block length that cannot be";

/* A block that is all in the window. */
struct body {
	const ns_u8 *start;
	ns_u32 bytes;
};

/* 10^-n, or 2^-n where the highest bit is set. Return: 0 where no 64 bits hold it. */
static ns_u64 units_per_s(ns_u8 resolution)
{
	ns_u64 units = 1;

	if (resolution & 0x80)
		return (resolution & 0x7f) < 64 ? 1ULL << (resolution & 0x7f) : 0;
	if (resolution > 19)
		return 0;
	for (int i = 0; i < resolution; i++)
		units *= 10;
	return units;
}

/* Return: 0, or -1 where an option runs past its block or says what cannot be. */
static int read_options(const struct capture *capture, struct capture_interface *interface,
			struct body options)
{
	while (options.bytes >= 4) {
		ns_u32 code = capture_read16(capture, options.start);
		ns_u32 length = capture_read16(capture, options.start + 2);
		ns_u32 padded = 4 + ((length + 3) & ~3u);
		const ns_u8 *value = options.start + 4;

		if (code == OPTION_END)
			return 0;
		if (padded > options.bytes)
			return -1;
		if (code == OPTION_TIME_RESOLUTION && length == 1) {
			interface->units_per_s = units_per_s(value[0]);
			if (!interface->units_per_s)
				return -1;
		}
		if (code == OPTION_TIME_OFFSET && length == 8)
			interface->offset_s = (long long)capture_read64(capture, value);
		options.start += padded;
		options.bytes -= padded;
	}
	return 0;
}

static enum capture_step read_interface(struct capture *capture, struct body body)
{
	struct capture_interface *interface = &capture->interface[capture->interfaces];

	if (body.bytes < INTERFACE_BYTES)
		return capture_corrupt(capture, bad_length);
	if (capture->interfaces == CAPTURE_MAX_INTERFACES)
		return capture_corrupt(capture, "more than 4096 interfaces in a section");
	*interface = (struct capture_interface){
		.link = capture_read16(capture, body.start),
		.snap_bytes = capture_read32(capture, body.start + 4),
		.units_per_s = 1000000,
	};
	body.start += INTERFACE_BYTES;
	body.bytes -= INTERFACE_BYTES;
	if (read_options(capture, interface, body))
		return capture_corrupt(capture, "an interface option that cannot be");
	capture->interfaces++;
	return CAPTURE_FRAME;
}

static enum capture_step frame_in(struct capture *capture, const struct capture_frame *frame,
				  struct body body)
{
	if (frame->captured_bytes > (size_t)(body.start + body.bytes - frame->start))
		return capture_corrupt(capture, "a packet longer than its block");
	if (frame->captured_bytes > CAPTURE_MAX_FRAME_BYTES)
		return capture_corrupt(capture, "a packet of more than 262144 bytes");
	return CAPTURE_FRAME;
}

/* Enhanced and obsolete packet blocks differ in the width of the interface's number alone. */
static enum capture_step read_packet(struct capture *capture, struct body body, int obsolete,
				     struct capture_frame *frame)
{
	const struct capture_interface *interface;
	ns_u32 number;

	if (body.bytes < PACKET_BYTES)
		return capture_corrupt(capture, bad_length);
	number = obsolete ? capture_read16(capture, body.start)
			  : capture_read32(capture, body.start);
	if (number >= capture->interfaces)
		return capture_corrupt(capture, "a packet of an interface not described");
	interface = &capture->interface[number];
	frame->start = body.start + PACKET_BYTES;
	frame->captured_bytes = capture_read32(capture, body.start + 12);
	frame->wire_bytes = capture_read32(capture, body.start + 16);
	frame->link = interface->link;
	frame->wall_ns =
		capture_wall_ns(interface, (ns_u64)capture_read32(capture, body.start + 4) << 32 |
						   capture_read32(capture, body.start + 8));
	capture->last_wall_ns = frame->wall_ns;
	return frame_in(capture, frame, body);
}

/* Of the first interface, without a time stamp, cut to the interface's snap length. */
static enum capture_step read_simple_packet(struct capture *capture, struct body body,
					    struct capture_frame *frame)
{
	const struct capture_interface *interface = &capture->interface[0];

	if (body.bytes < SIMPLE_PACKET_BYTES)
		return capture_corrupt(capture, bad_length);
	if (!capture->interfaces)
		return capture_corrupt(capture, "a packet of an interface not described");
	frame->start = body.start + SIMPLE_PACKET_BYTES;
	frame->wire_bytes = capture_read32(capture, body.start);
	frame->captured_bytes = frame->wire_bytes;
	if (interface->snap_bytes && frame->captured_bytes > interface->snap_bytes)
		frame->captured_bytes = interface->snap_bytes;
	frame->link = interface->link;
	frame->wall_ns = capture->last_wall_ns;
	return frame_in(capture, frame, body);
}

/* A section header tells the byte order of all that follows, its own length included. */
static enum capture_step read_section(struct capture *capture, const ns_u8 *block)
{
	capture->swapped = 0;
	if (capture_read32(capture, block + 8) != BYTE_ORDER_MAGIC) {
		capture->swapped = 1;
		if (capture_read32(capture, block + 8) != BYTE_ORDER_MAGIC)
			return capture_corrupt(capture, "a section without a byte order");
	}
	if (capture_read32(capture, block + 4) < SECTION_BYTES)
		return capture_corrupt(capture, bad_length);
	if (capture_read16(capture, block + 12) != 1)
		return capture_corrupt(capture, "a pcapng version that is not 1");
	capture->interfaces = 0;
	return CAPTURE_FRAME;
}

/* Go past a block that is not read, which may be larger than any window. */
static enum capture_step skip(struct capture *capture)
{
	size_t left = capture->size - capture->at;
	size_t here = capture->skip_bytes < left ? (size_t)capture->skip_bytes : left;

	capture->at += here;
	capture->skip_bytes -= here;
	if (!capture->skip_length)
		return CAPTURE_FRAME;
	if (left - here < 4)
		return CAPTURE_MORE;
	if (capture_read32(capture, capture->bytes + capture->at) != capture->skip_length)
		return capture_corrupt(capture, "block lengths that differ");
	capture->at += 4;
	capture->skip_length = 0;
	return CAPTURE_FRAME;
}

static enum capture_step read_block(struct capture *capture, ns_u32 type, struct body body,
				    struct capture_frame *frame)
{
	if (type == BLOCK_INTERFACE)
		return read_interface(capture, body);
	if (type == BLOCK_SIMPLE_PACKET)
		return read_simple_packet(capture, body, frame);
	return read_packet(capture, body, type == BLOCK_OBSOLETE_PACKET, frame);
}

static int is_read(ns_u32 type)
{
	return type == BLOCK_INTERFACE || type == BLOCK_OBSOLETE_PACKET ||
	       type == BLOCK_SIMPLE_PACKET || type == BLOCK_PACKET;
}

/* One block. Return: CAPTURE_FRAME also where it held none; then frame->start is NULL. */
static enum capture_step step(struct capture *capture, struct capture_frame *frame)
{
	const ns_u8 *block = capture->bytes + capture->at;
	size_t left = capture->size - capture->at;
	enum capture_step result;
	ns_u32 type, length;

	if (left < HEAD_BYTES + 4)
		return CAPTURE_MORE;
	type = capture_read32(capture, block);
	if (type == BLOCK_SECTION) {
		if (left < SECTION_BYTES)
			return CAPTURE_MORE;
		result = read_section(capture, block);
		if (result != CAPTURE_FRAME)
			return result;
	}
	length = capture_read32(capture, block + 4);
	if (length < FRAME_BYTES || length % 4)
		return capture_corrupt(capture, bad_length);
	if (!is_read(type)) {
		capture->skip_bytes = length - 4;
		capture->skip_length = length;
		return skip(capture);
	}
	if (length > CAPTURE_MAX_BLOCK_BYTES)
		return capture_corrupt(capture, "a block of more than 1048576 bytes");
	if (left < length)
		return CAPTURE_MORE;
	if (capture_read32(capture, block + length - 4) != length)
		return capture_corrupt(capture, "block lengths that differ");
	result = read_block(capture, type, (struct body){block + HEAD_BYTES, length - FRAME_BYTES},
			    frame);
	if (result == CAPTURE_FRAME) {
		frame->record_at = capture->at;
		capture->at += length;
	}
	return result;
}

enum capture_step pcapng_next(struct capture *capture, struct capture_frame *frame)
{
	enum capture_step result = skip(capture);

	frame->start = (const ns_u8 *)0;
	while (result == CAPTURE_FRAME && !frame->start)
		result = step(capture, frame);
	return result;
}
