"""The few bpf(2) commands that need no library, and mmap of a map (`include/uapi/linux/bpf.h`)."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from collections.abc import Iterator

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
_MAP_UPDATE_ELEM = 2
_MAP_DELETE_ELEM = 3
_MAP_GET_NEXT_KEY = 4
_PROG_LOAD = 5
_OBJ_PIN = 6
_OBJ_GET = 7
_PROG_TEST_RUN = 10
_PROG_GET_FD_BY_ID = 13
_OBJ_GET_INFO_BY_FD = 15
_PROG_QUERY = 16
_LINK_GET_FD_BY_ID = 30
_LINK_GET_NEXT_ID = 31
_LINK_CREATE = 28
_ATTACH_NETFILTER = 45
_TYPE_NETFILTER = 32
_ACCEPT = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)
"""`r0 = NF_ACCEPT; exit` (RFC 9669)."""
BPF_TCX_INGRESS, BPF_TCX_EGRESS = 46, 47
BPF_F_BEFORE, BPF_F_AFTER = 1 << 3, 1 << 4
"""Without a program to be relative to: first, last."""
_ATTR_BYTES = 128
_INFO_BYTES = 256
_MAX_PROGRAMS = 64
"""On one side of a device, as the kernel limits TCX."""
_PROGRAM_NAME = slice(64, 80)
"""Field `name` of `struct bpf_prog_info`."""


def _bpf(command: int, attributes: bytes) -> bytes:
    """Make one bpf(2) call and give the attributes back as the kernel left them; raises OSError."""
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2) has no known number on {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, _ATTR_BYTES)
    result = _LIBC.syscall(
        ctypes.c_long(number), ctypes.c_int(command), buffer, ctypes.c_uint(_ATTR_BYTES)
    )
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return struct.pack("<i", result) + buffer.raw


def netfilter_link(program_fd: int, *, family: int, hook: int, priority: int) -> int:
    """Attach a program to a netfilter hook of the current network namespace.

    Returns the link's file descriptor: the program runs until the last copy of it is closed, so a
    killed process leaves nothing attached. Raises OSError; EBUSY means that another program holds
    this hook and priority.
    """
    attributes = struct.pack(
        "<IIIIIIiI", program_fd, 0, _ATTACH_NETFILTER, 0, family, hook, priority, 0
    )
    return int(struct.unpack_from("<i", _bpf(_LINK_CREATE, attributes))[0])


def netfilter_program() -> int:
    """Load a program for netfilter that accepts every packet; gives its file descriptor."""
    code, licence = ctypes.create_string_buffer(_ACCEPT), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        *(_TYPE_NETFILTER, len(_ACCEPT) // 8, ctypes.addressof(code), ctypes.addressof(licence)),
        *(0, 0, 0, 0, 0, b"ns_nothing", 0, _ATTACH_NETFILTER),
    )
    return int(struct.unpack_from("<i", _bpf(_PROG_LOAD, attributes))[0])


def tcx_link(program_fd: int, device: int, attach_type: int, place: int) -> int:
    """Attach a program to a device's ingress or egress; gives the link's file descriptor.

    Raises OSError: EINVAL where the kernel knows no TCX.
    """
    attributes = struct.pack("<IIIIIIQ", program_fd, device, attach_type, place, 0, 0, 0)
    return int(struct.unpack_from("<i", _bpf(_LINK_CREATE, attributes))[0])


def close_link(link_fd: int) -> None:
    """Detach what a link holds."""
    os.close(link_fd)


def delete_from_map(map_fd: int, key: bytes) -> None:
    """Remove one element of a map; raises OSError."""
    buffer = ctypes.create_string_buffer(key, len(key))
    _bpf(_MAP_DELETE_ELEM, struct.pack("<IIQQQ", map_fd, 0, ctypes.addressof(buffer), 0, 0))


def keys_of_map(map_fd: int, key_bytes: int) -> Iterator[bytes]:
    """Give every key of a hash map that nobody else changes meanwhile; raises OSError."""
    key, following = (ctypes.create_string_buffer(key_bytes) for _ in range(2))
    before = 0  # none: the first key follows
    while True:
        attributes = struct.pack("<IIQQQ", map_fd, 0, before, ctypes.addressof(following), 0)
        try:
            _bpf(_MAP_GET_NEXT_KEY, attributes)
        except FileNotFoundError:
            return
        yield following.raw
        key.raw, before = following.raw, ctypes.addressof(key)


def pin(descriptor: int, path: str) -> None:
    """Give a map, program or link a name on a BPF file system; it lives while it has one.

    Raises OSError.
    """
    name = ctypes.create_string_buffer(path.encode())
    _bpf(_OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), descriptor, 0))


def pinned(path: str) -> int:
    """Open what is pinned under a name and give its file descriptor; raises OSError."""
    name = ctypes.create_string_buffer(path.encode())
    attributes = struct.pack("<QII", ctypes.addressof(name), 0, 0)
    return int(struct.unpack_from("<i", _bpf(_OBJ_GET, attributes))[0])


def update_map(map_fd: int, key: bytes, value: bytes) -> None:
    """Set one element of a map; raises OSError."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    attributes = struct.pack(
        "<IIQQQ", map_fd, 0, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0
    )
    _bpf(_MAP_UPDATE_ELEM, attributes)


def run_program(program_fd: int, packet: bytes, repeat: int = 1) -> int:
    """Run a program on a packet (BPF_PROG_TEST_RUN) and give its verdict; raises OSError."""
    data = ctypes.create_string_buffer(packet, len(packet))
    attributes = struct.pack(
        "<IIIIQQII", program_fd, 0, len(packet), 0, ctypes.addressof(data), 0, repeat, 0
    )
    return int(struct.unpack_from("<I", _bpf(_PROG_TEST_RUN, attributes), 8)[0])


def links() -> Iterator[bytes]:
    """Give the `struct bpf_link_info` of every link of this system; raises OSError."""
    link_id = 0
    while True:
        try:
            found = _bpf(_LINK_GET_NEXT_ID, struct.pack("<II", link_id, 0))
        except FileNotFoundError:
            return
        (link_id,) = struct.unpack_from("<I", found, 8)
        try:
            yield _info(_LINK_GET_FD_BY_ID, link_id)
        except FileNotFoundError:
            continue  # it went while we looked


def device_of_link(link_fd: int) -> int:
    """Give the index of the device that a TCX link is attached to, 0 when it has gone."""
    return int(struct.unpack_from("<I", _info_of(link_fd), 16)[0])


def program_id(program_fd: int) -> int:
    """Give the id of a program; raises OSError."""
    return int(struct.unpack_from("<I", _info_of(program_fd), 4)[0])


def programs_at(device: int, attach_type: int) -> list[int]:
    """Give the ids of the TCX programs on one side of a device, in the order they run.

    Empty where the kernel knows no TCX; raises OSError for other reasons.
    """
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = struct.pack(
        "<IIIIQII", device, attach_type, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS, 0
    )
    try:
        found = _bpf(_PROG_QUERY, attributes)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return []
        raise
    (count,) = struct.unpack_from("<I", found, 4 + 24)
    return list(ids[:count])


def program_name(program_id: int) -> str:
    """Give the name of a program, `?` when it is gone; raises OSError."""
    try:
        name = _info(_PROG_GET_FD_BY_ID, program_id)[_PROGRAM_NAME]
    except FileNotFoundError:
        return "?"
    return name.rstrip(b"\0").decode(errors="replace")


def _info(by_id: int, number: int) -> bytes:
    (descriptor,) = struct.unpack_from("<i", _bpf(by_id, struct.pack("<I", number)))
    try:
        return _info_of(descriptor)
    finally:
        os.close(descriptor)


def _info_of(descriptor: int) -> bytes:
    info = ctypes.create_string_buffer(_INFO_BYTES)
    attributes = struct.pack("<IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info))
    _bpf(_OBJ_GET_INFO_BY_FD, attributes)
    return info.raw


def map_view(map_fd: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
    """Map a BPF_F_MMAPABLE array into memory; it lives on when the file descriptor is closed."""
    rounded = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return mmap.mmap(map_fd, rounded, mmap.MAP_SHARED, protection)
