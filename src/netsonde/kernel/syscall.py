"""The few bpf(2) commands that need no library, and mmap of a map (`include/uapi/linux/bpf.h`)."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
_MAP_UPDATE_ELEM = 2
_PROG_TEST_RUN = 10
_LINK_CREATE = 28
_ATTACH_NETFILTER = 45
_ATTR_BYTES = 128


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


def map_view(map_fd: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
    """Map a BPF_F_MMAPABLE array into memory; it lives on when the file descriptor is closed."""
    rounded = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return mmap.mmap(map_fd, rounded, mmap.MAP_SHARED, protection)
