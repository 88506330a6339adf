/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records that grow inside a bytes object: what a tick holds is written once and never copied, and
 * takes no more memory than it has records.
 *
 * May be used with or without the interpreter's lock, which is taken only to grow.
 */
#ifndef NS_RECORD_BYTES_H
#define NS_RECORD_BYTES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "abi.h"

struct ns_record_bytes {
	PyObject *bytes; /* NULL: none yet; nobody else has seen it */
	struct ns_record *records;
	size_t room;
};

/* Have room for so many; returns 0, or -1 without memory: then there are none. */
int ns_record_bytes_room(struct ns_record_bytes *held, size_t room);

/* Give the first so many as bytes, and begin anew; NULL with an exception. With the lock. */
PyObject *ns_record_bytes_take(struct ns_record_bytes *held, size_t used);

/* Free them. With the lock. */
void ns_record_bytes_clear(struct ns_record_bytes *held);

#endif
