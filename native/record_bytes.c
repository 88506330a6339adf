// SPDX-License-Identifier: BSD-2-Clause
#include "record_bytes.h"

static int resize(struct ns_record_bytes *held, size_t room)
{
	Py_ssize_t size = (Py_ssize_t)(room * sizeof(*held->records));

	if (held->bytes)
		_PyBytes_Resize(&held->bytes, size);
	else
		held->bytes = PyBytes_FromStringAndSize(NULL, size);
	held->room = held->bytes ? room : 0;
	held->records = held->bytes ? (struct ns_record *)PyBytes_AS_STRING(held->bytes) : NULL;
	return held->bytes ? 0 : -1;
}

int ns_record_bytes_room(struct ns_record_bytes *held, size_t room)
{
	PyGILState_STATE lock;
	int failed;

	if (room <= held->room)
		return 0;
	lock = PyGILState_Ensure();
	failed = resize(held, room);
	PyErr_Clear(); /* whoever asked says what failed */
	PyGILState_Release(lock);
	return failed;
}

PyObject *ns_record_bytes_take(struct ns_record_bytes *held, size_t used)
{
	PyObject *taken;

	if (!used) {
		ns_record_bytes_clear(held);
		return PyBytes_FromStringAndSize("", 0);
	}
	if (resize(held, used))
		return NULL;
	taken = held->bytes;
	*held = (struct ns_record_bytes){0};
	return taken;
}

void ns_record_bytes_clear(struct ns_record_bytes *held)
{
	Py_XDECREF(held->bytes);
	*held = (struct ns_record_bytes){0};
}
