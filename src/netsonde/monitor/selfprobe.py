"""The self-probe: a hook is believed when packets that were sent are the packets it counts.

The one idea: it is tried in a network namespace of its own, so nothing on this host is touched, and
a monitor that is counting goes on undisturbed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import socket
import struct
from dataclasses import dataclass

import msgspec

from netsonde.kernel.hooks import HOOKS
from netsonde.kernel.packet_path import PacketPath
from netsonde.kernel.tables import missing_capabilities
from netsonde.model.errors import NetsondeError, UnsupportedByKernel
from netsonde.sketch.tick import Reader

PACKETS = 100
"""Datagrams sent over loopback; each is counted once in each direction."""
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_LG_BUCKETS = 6
_LIBC = ctypes.CDLL(None, use_errno=True)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a hook did with the probe's packets."""

    hook: str
    works: bool
    reason: str
    """Why it cannot count here, or what it counted."""


@dataclass(frozen=True, slots=True)
class _Counted:
    received: int
    sent: int


def probe(hook: str) -> Verdict:
    """Try one hook in a child process; never raises for what the hook does."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.write(write_end, msgspec.json.encode(_verdict(hook)))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        return Verdict(hook=hook, works=False, reason="the probe died without a word")
    return msgspec.json.decode(answer, type=Verdict)


def _verdict(hook: str) -> Verdict:
    try:
        counted = _count_own_packets(hook)
    except (NetsondeError, OSError) as error:
        return Verdict(hook=hook, works=False, reason=str(error))
    exact = counted == _Counted(PACKETS, PACKETS)
    reason = f"{PACKETS} packets sent, counted {counted.received} in and {counted.sent} out"
    return Verdict(hook=hook, works=exact, reason=reason)


def _count_own_packets(hook: str) -> _Counted:
    missing = missing_capabilities()
    if missing and hook != PacketPath.hook:  # before a namespace whose root lacks none
        raise UnsupportedByKernel(f"not root: needs {', '.join(missing)} to be tried")
    _enter_own_namespace()
    secret = [secrets.randbits(64) for _ in range(8)]
    with HOOKS[hook](hash_key=secret, lg_buckets=_LG_BUCKETS) as path:
        path.attach()
        _send()
        reader = Reader(
            path.hot,
            path.cold,
            path.slices,
            lg_buckets=_LG_BUCKETS,
            cpus=path.cpus,
            hash_key=secret,
        )
        received, sent = reader.read(path.flip(), 0).sides
        return _Counted(received.packets, sent.packets)


def _enter_own_namespace() -> None:
    flags = _CLONE_NEWNET | (0 if os.geteuid() == 0 else _CLONE_NEWUSER)
    if _LIBC.unshare(flags):
        error = ctypes.get_errno()
        raise OSError(error, f"no network namespace for a self-probe: {os.strerror(error)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", _IFF_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)


def _send() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1)
        for _ in range(PACKETS):
            sender.sendto(b"netsonde", receiver.getsockname())
            receiver.recv(64)
