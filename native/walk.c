// SPDX-License-Identifier: BSD-2-Clause
/* CaptureWalk: where in a capture one is, and what its headers said so far. */
#include "core_module.h"

#include "link.h"

static const char type_doc[] =
	"CaptureWalk(start, /)\n--\n\n"
	"A walk over a capture, pcap or pcapng, for FlowTable.feed().\n\n"
	"start: the first bytes of the file, 24 at least; the first window begins with them "
	"again.\n"
	"Raises ValueError with what is allowed, when it is neither or of a link type not parsed.";

/* A classic file has one link type: one that is not parsed is told at once. */
static int is_parsed(const struct capture *capture)
{
	const struct ns_view nothing = {0};
	ns_u32 offset;

	return capture->format != CAPTURE_PCAP ||
	       ns_find_ip(capture->interface[0].link, &nothing, &offset) != NS_PARSED_UNKNOWN_LINK;
}

static PyObject *walk_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	struct ns_walk *self;
	Py_ssize_t bytes;
	const char *start;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "CaptureWalk takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(arguments, "y#", &start, &bytes))
		return NULL;
	self = (struct ns_walk *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	if (capture_begin(&self->capture, (const ns_u8 *)start, (size_t)bytes) == CAPTURE_UNKNOWN) {
		PyErr_SetString(PyExc_ValueError,
				"a pcap or pcapng file (as `tcpdump -w` writes), plain or gzip");
		Py_DECREF(self);
		return NULL;
	}
	if (!is_parsed(&self->capture)) {
		PyErr_Format(
			PyExc_ValueError,
			"a capture of Ethernet, Linux cooked, raw IP or loopback frames (link "
			"types 1, 113, 276, 101, 228, 229, 12, 14, 0, 108), not of link type %u",
			self->capture.interface[0].link);
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static PyObject *walk_pending(PyObject *object, void *Py_UNUSED(none))
{
	const struct ns_walk *self = (const struct ns_walk *)object;

	return PyBool_FromLong(self->capture.skip_length != 0);
}

static PyGetSetDef properties[] = {
	{"pending", walk_pending, NULL, "Whether the walk is inside a block that it skips.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject ns_walk_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.sketch._core.CaptureWalk",
	.tp_basicsize = sizeof(struct ns_walk),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = walk_new,
	.tp_getset = properties,
};
