// SPDX-License-Identifier: BSD-2-Clause
/*
 * Fuzzer: ns_find_ip() and both ways to parse over any frame of any link type. Input: link type (2
 * bytes), segment size (2), segments (2), wire bytes beyond the frame (2), little-endian; then the
 * frame.
 */
#include <stdlib.h>

#include "link.h"
#include "usual.h"

int LLVMFuzzerTestOneInput(const ns_u8 *input, size_t bytes);

int LLVMFuzzerTestOneInput(const ns_u8 *input, size_t bytes)
{
	struct ns_carrier carrier = {.direction = NS_OUT};
	struct ns_packet packet, usual;
	struct ns_view view;
	int is_usual;
	ns_u16 head[4];

	if (bytes < sizeof(head))
		return -1;
	__builtin_memcpy(head, input, sizeof(head));
	view.start = input + sizeof(head);
	view.bytes = (ns_u32)(bytes - sizeof(head));
	carrier.gso_size = head[1];
	carrier.gso_segs = head[2];
	if (ns_find_ip(head[0], &view, &carrier.l3_offset) != NS_PARSED)
		return 0;
	if (view.bytes + head[3] > carrier.l3_offset)
		carrier.l3_bytes = view.bytes + head[3] - carrier.l3_offset;
	__builtin_memset(&packet, 0, sizeof(packet));
	is_usual = ns_parse_usual(&view, &carrier, &usual);
	if (ns_parse_any(&view, &carrier, &packet) != NS_PARSED) {
		if (is_usual)
			abort();
		return 0;
	}
	/* Whoever is asked says the same. */
	if (is_usual && __builtin_memcmp(&usual, &packet, sizeof(packet)))
		abort();
	/* Every field of the result is set, and a packet is at least one segment. */
	if (!packet.packets || packet.key.direction != NS_OUT || packet.key.reserved)
		abort();
	if (!packet.key.flags && (packet.key.sport || packet.key.dport))
		abort();
	return 0;
}
