"""UDP sockets whose packets are stamped by the kernel, on arrival and on departure.

The one idea: a stamp taken in user space holds the time this process waited for a CPU, which is
often a hundred times the delay of the path. Departures come back on the socket's error queue
(Linux Documentation/networking/timestamping.rst: SO_TIMESTAMPING with OPT_ID and OPT_TSONLY).
Where the kernel gives no stamp, the user-space time is used and `stamped` is False.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

WARM_UP_S = 0.1
"""Time between opening the first socket of a host and its first packet: the kernel switches
stamping on asynchronously, and stamps packets before that when they are read."""

_SO_TIMESTAMPNS = 35
_SO_TIMESTAMPING = 37
_TX_SOFTWARE, _RX_SOFTWARE, _SOFTWARE, _OPT_ID, _OPT_TSONLY = (
    1 << 1,
    1 << 3,
    1 << 4,
    1 << 7,
    1 << 11,
)
_ARRIVALS = _RX_SOFTWARE | _SOFTWARE
_DEPARTURES = _ARRIVALS | _TX_SOFTWARE | _OPT_ID | _OPT_TSONLY
_TIMESPEC = struct.Struct("@ll")
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_TIMESTAMPING = 4
_IP_RECVTTL, _IP_RECVERR, _IPV6_RECVERR = 12, 11, 25
_MAX_DATAGRAM_BYTES = 2048
_ANCILLARY_BYTES = 512
_DATAGRAMS_A_TURN = 64

_Ancillary = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """A packet that arrived."""

    payload: bytes
    source: tuple[str, int]
    """Address and port."""
    arrived_wall_ns: int
    stamped: bool
    """Whether the time is the kernel's."""
    ttl: int
    """TTL or hop limit it arrived with; 0 when the kernel did not say."""


class StampedSocket:
    """A non-blocking UDP socket bound to an ephemeral port; a context manager that closes it.

    Arrivals are stamped always, departures when asked for.
    """

    def __init__(self, address: str, *, departures: bool = False) -> None:
        family = family_of(address)
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind((address, 0))
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            self._ask_for_stamps(_DEPARTURES if departures else _ARRIVALS)
        except BaseException:
            self._socket.close()
            raise

    def _ask_for_stamps(self, wanted: int) -> None:
        """Ask for the best this kernel has; without any, user-space times are used."""
        for option, value in ((_SO_TIMESTAMPING, wanted), (_SO_TIMESTAMPNS, 1)):
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, value)
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Its descriptor, readable when a packet or a departure stamp waits."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; harmless when closed."""
        self._socket.close()

    def connect(self, address: str, port: int) -> None:
        """Send to, and receive from, this far end alone; raises OSError when there is no route."""
        self._socket.connect((address, port))

    def send(self, payload: bytes) -> None:
        """Send to the connected far end; raises OSError. Successful sends are numbered from 0."""
        self._socket.send(payload)

    def send_to(self, payload: bytes, destination: tuple[str, int]) -> None:
        """Send to any far end; raises OSError."""
        self._socket.sendto(payload, destination)

    def arrivals(self) -> Iterator[Datagram]:
        """Give the packets that wait, at most 64 so that others get their turn.

        An ICMP error of a connected far end is skipped: its probe counts as lost.
        """
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                payload, ancillary, _, source = self._socket.recvmsg(
                    _MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES
                )
            except BlockingIOError:
                return
            except OSError:
                continue
            stamp = _stamp_wall_ns(ancillary)
            yield Datagram(
                payload=payload,
                source=source[:2],
                arrived_wall_ns=stamp or time.time_ns(),
                stamped=stamp is not None,
                ttl=_ttl(ancillary),
            )

    def departures(self) -> Iterator[tuple[int, int]]:
        """Give (number of the send, time it left in ns since 1970) for the stamps that wait."""
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                _, ancillary, _, _ = self._socket.recvmsg(0, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
            except OSError:
                return
            stamp, number = _stamp_wall_ns(ancillary), _send_number(ancillary)
            if stamp is not None and number is not None:
                yield number, stamp


def family_of(address: str) -> socket.AddressFamily:
    """Tell the socket family of an address already known to be one."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _stamp_wall_ns(ancillary: _Ancillary) -> int | None:
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind in (_SO_TIMESTAMPING, _SO_TIMESTAMPNS):
            seconds, rest_ns = _TIMESPEC.unpack_from(content)
            return int(seconds * 1_000_000_000 + rest_ns) or None
    return None


def _send_number(ancillary: _Ancillary) -> int | None:
    for level, kind, content in ancillary:
        if (level, kind) in (
            (socket.IPPROTO_IP, _IP_RECVERR),
            (socket.IPPROTO_IPV6, _IPV6_RECVERR),
        ):
            _, origin, _, _, _, _, number = _EXTENDED_ERROR.unpack_from(content)
            return int(number) if origin == _ORIGIN_TIMESTAMPING else None
    return None


def _ttl(ancillary: _Ancillary) -> int:
    for level, kind, content in ancillary:
        if (level, kind) in (
            (socket.IPPROTO_IP, socket.IP_TTL),
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
        ):
            return int.from_bytes(content[:4], sys.byteorder)
    return 0
