// SPDX-License-Identifier: BSD-2-Clause
/*
 * Fuzzer: the walks over pcap and pcapng, in one window and in windows of 64 bytes that grow only
 * where the walk asks for more. Both must give the same frames, and each frame must lie inside its
 * window.
 */
#include <stdlib.h>
#include <string.h>

#include "capture.h"

enum { SMALL_WINDOW_BYTES = 64 };

struct outcome {
	ns_u64 frames;
	ns_u64 frame_bytes; /* each touched, so that ASan sees what lies outside */
	ns_u64 wall_ns;
	const char *fault;
};

static void touch(struct outcome *outcome, const struct capture *capture,
		  const struct capture_frame *frame)
{
	if (frame->start < capture->bytes ||
	    frame->start + frame->captured_bytes > capture->bytes + capture->size ||
	    frame->wall_ns > __INT64_MAX__)
		abort();
	for (ns_u32 i = 0; i < frame->captured_bytes; i++)
		outcome->frame_bytes = outcome->frame_bytes * 31 + frame->start[i];
	outcome->wall_ns += frame->wall_ns;
	outcome->frames++;
}

/* Walk a window to its end; gives how many of its bytes are used up. */
static size_t walk(struct outcome *outcome, struct capture *capture, const ns_u8 *window,
		   size_t bytes)
{
	struct capture_frame frame;
	enum capture_step step;

	capture->bytes = window;
	capture->size = bytes;
	capture->at = 0;
	while ((step = capture_next(capture, &frame)) == CAPTURE_FRAME)
		touch(outcome, capture, &frame);
	if (step == CAPTURE_CORRUPT)
		outcome->fault = capture->fault;
	if (capture->at > bytes)
		abort();
	return capture->at;
}

static void walk_windows(struct outcome *outcome, struct capture *capture, const ns_u8 *input,
			 size_t bytes)
{
	size_t at = 0, room = SMALL_WINDOW_BYTES;

	while (at < bytes && !outcome->fault) {
		size_t size = bytes - at < room ? bytes - at : room;
		ns_u8 *window = malloc(size); /* its exact size, for ASan */
		size_t used;

		if (!window)
			abort();
		memcpy(window, input + at, size);
		used = walk(outcome, capture, window, size);
		free(window);
		if (!used && at + size == bytes)
			return;
		room = used ? SMALL_WINDOW_BYTES : room * 2;
		at += used;
	}
}

int LLVMFuzzerTestOneInput(const ns_u8 *input, size_t bytes);

int LLVMFuzzerTestOneInput(const ns_u8 *input, size_t bytes)
{
	static struct capture capture;
	struct outcome whole = {0}, pieces = {0};

	if (capture_begin(&capture, input, bytes) == CAPTURE_UNKNOWN)
		return 0;
	walk(&whole, &capture, input, bytes);
	capture_begin(&capture, input, bytes);
	walk_windows(&pieces, &capture, input, bytes);
	if (memcmp(&whole, &pieces, sizeof(whole)) != 0)
		abort();
	return 0;
}
