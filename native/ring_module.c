// SPDX-License-Identifier: BSD-2-Clause
/*
 * netsonde.kernel._ring: PacketRing, native/packet_ring.h for Python. The socket and its ring are
 * made in Python; everything that is done for each packet is done here.
 */
#include "packet_ring.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

struct packet_ring {
	PyObject_HEAD struct ns_packet_ring ring;
	Py_buffer memory;
};

static const char type_doc[] =
	"PacketRing(fd, memory, block_bytes, secret, lg_buckets, sample_shift, encapsulated,\n"
	"           whole_device, /)\n"
	"--\n\n"
	"A packet socket's ring, counted into a flow table of one pretended CPU.\n\n"
	"fd: a packet socket with a TPACKET_V3 ring and PACKET_VNET_HDR. memory: the ring, mapped\n"
	"writable. block_bytes: of the ring. secret: 64 bytes, the hash key. lg_buckets: 3 to 16.\n"
	"sample_shift: 6 to 32. encapsulated: of enum ns_encapsulated. whole_device: not 0: count\n"
	"all packets of the devices counted at, whosever they are.";

static PyObject *packet_ring_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
	unsigned int lg_buckets, sample_shift, block_bytes, encapsulated, whole_device;
	struct packet_ring *self;
	Py_ssize_t secret_bytes;
	const char *secret;
	int fd;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "PacketRing takes no keywords");
		return NULL;
	}
	self = (struct packet_ring *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	if (!PyArg_ParseTuple(arguments, "iw*Iy#IIII", &fd, &self->memory, &block_bytes, &secret,
			      &secret_bytes, &lg_buckets, &sample_shift, &encapsulated,
			      &whole_device) ||
	    ns_memory_table_open(&self->ring.table, secret, secret_bytes, lg_buckets, sample_shift))
		goto failed;
	self->ring.table.config.encapsulated = encapsulated;
	self->ring.table.config.whole_device = whole_device;
	if (!block_bytes || !self->memory.len || self->memory.len % block_bytes) {
		PyErr_SetString(PyExc_ValueError, "PacketRing: memory is whole blocks");
		goto failed;
	}
	if (!ns_packet_ring_open(&self->ring, fd, self->memory.buf, (size_t)self->memory.len,
				 block_bytes))
		return (PyObject *)self;
	PyErr_SetFromErrno(PyExc_OSError);
failed:
	Py_DECREF(self);
	return NULL;
}

static void packet_ring_dealloc(PyObject *object)
{
	struct packet_ring *self = (struct packet_ring *)object;

	ns_packet_ring_close(&self->ring);
	ns_memory_table_close(&self->ring.table);
	PyBuffer_Release(&self->memory);
	Py_TYPE(object)->tp_free(object);
}

static struct ns_packet_ring *ring_of(PyObject *object)
{
	return &((struct packet_ring *)object)->ring;
}

static void *copied(const void *from, Py_ssize_t bytes)
{
	void *to = malloc(bytes ? (size_t)bytes : 1);

	if (to)
		memcpy(to, from, (size_t)bytes);
	return to;
}

static const char follow_doc[] =
	"follow(devices, addresses, /)\n--\n\n"
	"Say what is this host's: devices counted at, (u32 index, u32 ethernet) each, and its\n"
	"addresses, 16 bytes each; both sorted, devices by number, addresses by bytes.";

static PyObject *packet_ring_follow(PyObject *object, PyObject *arguments)
{
	Py_ssize_t devices_bytes, addresses_bytes;
	const char *devices, *addresses;
	struct ns_host *host;

	if (!PyArg_ParseTuple(arguments, "y#y#", &devices, &devices_bytes, &addresses,
			      &addresses_bytes))
		return NULL;
	if (devices_bytes % (Py_ssize_t)sizeof(*host->devices) || addresses_bytes % 16) {
		PyErr_SetString(PyExc_ValueError, "follow: devices are 8 bytes, addresses 16");
		return NULL;
	}
	host = calloc(1, sizeof(*host));
	if (!host)
		return PyErr_NoMemory();
	host->devices = copied(devices, devices_bytes);
	host->addresses = copied(addresses, addresses_bytes);
	if (!host->devices || !host->addresses) {
		ns_host_free(host);
		return PyErr_NoMemory();
	}
	host->devices_count = (size_t)devices_bytes / sizeof(*host->devices);
	host->addresses_count = (size_t)addresses_bytes / 16;
	ns_packet_ring_follow(ring_of(object), host);
	Py_RETURN_NONE;
}

static const char listen_doc[] =
	"listen(device, /)\n--\n\n"
	"Take packets of a device from now on, by its index; 0: of every device. Raises OSError.";

static PyObject *packet_ring_listen(PyObject *object, PyObject *arguments)
{
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = __builtin_bswap16(ETH_P_ALL),
	};

	if (!PyArg_ParseTuple(arguments, "i", &where.sll_ifindex))
		return NULL;
	if (bind(ring_of(object)->fd, (const struct sockaddr *)&where, sizeof(where)))
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

static const char walk_doc[] = "walk()\n--\n\nCount until stop(); for a thread of its own.";

static PyObject *packet_ring_walk(PyObject *object, PyObject *Py_UNUSED(none))
{
	Py_BEGIN_ALLOW_THREADS ns_packet_ring_walk(ring_of(object));
	Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static const char stop_doc[] = "stop()\n--\n\nEnd walk().";

static PyObject *packet_ring_stop(PyObject *object, PyObject *Py_UNUSED(none))
{
	ns_packet_ring_stop(ring_of(object));
	Py_RETURN_NONE;
}

static const char flip_doc[] =
	"flip(sample_shift, /)\n--\n\n"
	"Move on to the next epoch, in which 1 of 2^sample_shift flows is sampled; gives the\n"
	"closed one, which nobody writes any more. Somebody must be inside walk(). Raises OSError.";

static PyObject *packet_ring_flip(PyObject *object, PyObject *arguments)
{
	unsigned int sample_shift;
	ns_u32 closed;
	int failed;

	if (!PyArg_ParseTuple(arguments, "I", &sample_shift))
		return NULL;
	if (sample_shift < NS_SAMPLE_SHIFT_LEAST || sample_shift > 32) {
		PyErr_SetString(PyExc_ValueError, "flip: sample_shift is 6 to 32");
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS failed = ns_packet_ring_flip(ring_of(object), sample_shift, &closed);
	Py_END_ALLOW_THREADS if (failed) return PyErr_SetFromErrno(PyExc_OSError);
	return PyLong_FromUnsignedLong(closed);
}

static const char buffers_doc[] =
	"buffers()\n--\n\n"
	"Give read-only (hot, cold, slices) that live as long as the ring, for fold().";

static PyObject *packet_ring_buffers(PyObject *object, PyObject *Py_UNUSED(none))
{
	return ns_memory_table_buffers(&ring_of(object)->table);
}

static PyMethodDef methods[] = {
	{"buffers", packet_ring_buffers, METH_NOARGS, buffers_doc},
	{"flip", packet_ring_flip, METH_VARARGS, flip_doc},
	{"follow", packet_ring_follow, METH_VARARGS, follow_doc},
	{"listen", packet_ring_listen, METH_VARARGS, listen_doc},
	{"stop", packet_ring_stop, METH_NOARGS, stop_doc},
	{"walk", packet_ring_walk, METH_NOARGS, walk_doc},
	{NULL, NULL, 0, NULL},
};

static PyTypeObject packet_ring_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "netsonde.kernel._ring.PacketRing",
	.tp_basicsize = sizeof(struct packet_ring),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = type_doc,
	.tp_new = packet_ring_new,
	.tp_dealloc = packet_ring_dealloc,
	.tp_methods = methods,
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "netsonde.kernel._ring",
	.m_doc = "The reader of packet sockets' rings.",
	.m_size = -1,
};

PyMODINIT_FUNC PyInit__ring(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (module && PyModule_AddType(module, &packet_ring_type))
		Py_CLEAR(module);
	return module;
}
