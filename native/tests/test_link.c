// SPDX-License-Identifier: BSD-2-Clause
/* Every link type and every tag before an IP header, one built frame a case. */
#include "link.h"

#include "check.h"

struct frame {
	ns_u8 bytes[160];
	ns_u32 size;
};

/* The exact size on the heap, so that ASan sees a read past the end. */
static enum ns_parsed find(ns_u32 link, const struct frame *frame, ns_u32 size, ns_u32 *l3_offset)
{
	ns_u8 *copy = malloc(size ? size : 1);
	struct ns_view view = {.start = copy, .bytes = size};
	enum ns_parsed result;

	memcpy(copy, frame->bytes, size);
	result = ns_find_ip(link, &view, l3_offset);
	free(copy);
	return result;
}

/* An IP header at @at is found there, and every cut before @needed bytes is told as a cut. */
static void is_found(ns_u32 link, const struct frame *frame, ns_u32 at, ns_u32 needed)
{
	ns_u32 offset = 0;

	CHECK(find(link, frame, frame->size, &offset) == NS_PARSED && offset == at);
	for (ns_u32 size = 0; size <= frame->size; size++)
		CHECK(find(link, frame, size, &offset) ==
		      (size < needed ? NS_PARSED_TRUNCATED : NS_PARSED));
}

static void is_not(ns_u32 link, const struct frame *frame, enum ns_parsed what)
{
	ns_u32 offset;

	CHECK(find(link, frame, frame->size, &offset) == what);
}

static void add(struct frame *frame, const char *bytes, ns_u32 size)
{
	memcpy(frame->bytes + frame->size, bytes, size);
	frame->size += size;
}

#define ADD(frame, text) add(frame, text, sizeof(text) - 1)

static struct frame ethernet(void)
{
	return (struct frame){.size = 12};
}

static void vlan_tags(void)
{
	struct frame frame = ethernet();

	ADD(&frame, "\x88\xa8\0\1\x91\0\0\2\x81\0\0\3\x08\0\x45");
	is_found(NS_LINK_ETHERNET, &frame, 26, 26);
	frame.bytes[25] = 6; /* ARP */
	is_not(NS_LINK_ETHERNET, &frame, NS_PARSED_NOT_IP);
}

static void mpls_labels(void)
{
	struct frame frame = ethernet();

	ADD(&frame, "\x88\x47\0\1\0\x40\0\1\x10\x40\0\1\x21\x40\x60");
	is_found(NS_LINK_ETHERNET, &frame, 26, 27);
	frame.bytes[26] = 0; /* a pseudowire's control word, RFC 4385 §3 */
	is_not(NS_LINK_ETHERNET, &frame, NS_PARSED_NOT_IP);
	frame.bytes[26] = 0x45;
	frame.bytes[13] = 0x48;
	is_found(NS_LINK_ETHERNET, &frame, 26, 27);
}

static void pppoe_session(void)
{
	struct frame frame = ethernet();

	ADD(&frame, "\x81\0\0\7\x88\x64\x11\0\0\1\0\x1e\0\x21\x45");
	is_found(NS_LINK_ETHERNET, &frame, 26, 26);
	frame.bytes[25] = 0x57;
	is_found(NS_LINK_ETHERNET, &frame, 26, 26);
	frame.bytes[24] = 0xc0; /* LCP */
	is_not(NS_LINK_ETHERNET, &frame, NS_PARSED_NOT_IP);
	frame.bytes[19] = 9; /* a discovery code */
	is_not(NS_LINK_ETHERNET, &frame, NS_PARSED_BAD_HEADER);
}

static void tags_without_end(void)
{
	struct frame frame = ethernet();

	for (int i = 0; i < NS_MAX_TAGS; i++)
		ADD(&frame, "\x81\0\0\1");
	ADD(&frame, "\x08\0\x45");
	is_found(NS_LINK_ETHERNET, &frame, 14 + 4 * NS_MAX_TAGS, 14 + 4 * NS_MAX_TAGS);
	frame.size = 12;
	for (int i = 0; i <= NS_MAX_TAGS; i++)
		ADD(&frame, "\x81\0\0\1");
	ADD(&frame, "\x08\0\x45");
	is_not(NS_LINK_ETHERNET, &frame, NS_PARSED_TOO_NESTED);
}

static void linux_cooked(void)
{
	struct frame frame = {.size = 14};

	ADD(&frame, "\x81\0\0\7\x08\0\x45");
	is_found(NS_LINK_COOKED, &frame, 20, 20);
	frame = (struct frame){.size = 0};
	ADD(&frame, "\x86\xdd\0\0\0\0\0\1\0\1\0\6\0\0\0\0\0\0\0\0\x60");
	is_found(NS_LINK_COOKED2, &frame, 20, 2);
	frame.bytes[1] = 0xd0;
	is_not(NS_LINK_COOKED2, &frame, NS_PARSED_NOT_IP);
}

static void no_link_header(void)
{
	static const ns_u32 links[] = {NS_LINK_RAW, NS_LINK_RAW_BSD, NS_LINK_RAW_OPENBSD,
				       NS_LINK_IPV4, NS_LINK_IPV6};
	struct frame frame = {.size = 0};

	ADD(&frame, "\x45");
	for (ns_u32 i = 0; i < sizeof(links) / sizeof(*links); i++) {
		frame.bytes[0] = 0x45;
		is_found(links[i], &frame, 0, 1);
		frame.bytes[0] = 0x10;
		is_not(links[i], &frame, NS_PARSED_NOT_IP);
	}
}

static void address_families(void)
{
	static const ns_u8 families[] = {2, 10, 24, 28, 30};
	struct frame frame = {.size = 5};

	for (ns_u32 i = 0; i < sizeof(families); i++) {
		frame.bytes[0] = families[i];
		frame.bytes[3] = 0;
		is_found(NS_LINK_NULL, &frame, 4, 4);
		frame.bytes[0] = 0;
		frame.bytes[3] = families[i];
		is_found(NS_LINK_LOOP, &frame, 4, 4);
	}
	frame.bytes[0] = 30; /* in both byte orders at once */
	is_not(NS_LINK_NULL, &frame, NS_PARSED_NOT_IP);
	frame.bytes[0] = 0;
	frame.bytes[3] = 16; /* AppleTalk */
	is_not(NS_LINK_NULL, &frame, NS_PARSED_NOT_IP);
}

static void other_links(void)
{
	struct frame frame = {.size = 60};

	is_not(127, &frame, NS_PARSED_UNKNOWN_LINK);
	is_not(0xffffffff, &frame, NS_PARSED_UNKNOWN_LINK);
}

int main(void)
{
	vlan_tags();
	mpls_labels();
	pppoe_session();
	tags_without_end();
	linux_cooked();
	no_link_header();
	address_families();
	other_links();
	return 0;
}
