"""STAMP test packets (RFC 8762, unauthenticated mode, with the SSID of RFC 8972).

The one idea: a cookie that dst gave src over TCP travels in every packet as an Extra Padding TLV
(RFC 8972 §4.1, whose content is free), so packets stay legal STAMP and a stranger's are dropped
unanswered. Requests and replies have the same size, so a reflector amplifies nothing.

Session-Sender (RFC 8762 §4.2.1)             Session-Reflector (§4.3.1)
     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
  0 |                        Sequence Number                        |  sender's | reflector's own
    +---------------------------------------------------------------+
  4 |                  Timestamp (NTP 64-bit format)                |  T1       | T3
    |                                                               |
    +-------------------------------+-------------------------------+
 12 |        Error Estimate         |             SSID              |
    +-------------------------------+-------------------------------+
 16 |                       Receive Timestamp                       |  zero     | T2
    |                                                               |
    +---------------------------------------------------------------+
 24 |                Session-Sender Sequence Number                 |  zero     | copied
    +---------------------------------------------------------------+
 28 |                   Session-Sender Timestamp                    |  zero     | T1, copied
    |                                                               |
    +-------------------------------+-------------------------------+
 36 | Session-Sender Error Estimate |              MBZ              |  zero     | copied
    +---------------+---------------+-------------------------------+
 40 |Ses-Sender TTL |                      MBZ                      |  zero     | TTL T2 saw
    +---------------+---------------+-------------------------------+
 44 |U M I  (flags) | Type 1        | Length 8                      |  U set    | U clear
    +---------------+---------------+-------------------------------+
 48 |                       Cookie (Extra Padding)                  |
    |                                                               |
    +---------------------------------------------------------------+
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from netsonde.model.errors import ProtocolError

PACKET_BYTES = 56
COOKIE_BYTES = 8

_SENDER = struct.Struct("!IQHH28xBBH8s")
_REFLECTOR = struct.Struct("!IQHHQIQH2xB3xBBH8s")
_UNRECOGNIZED = 0x80
_EXTRA_PADDING = 1
_NTP_TO_UNIX_S = 2_208_988_800
_ERA_S = 1 << 32


def ntp(wall_ns: int) -> int:
    """Write nanoseconds since 1970 as an NTP 64-bit timestamp (RFC 5905 §6)."""
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    return (seconds + _NTP_TO_UNIX_S) % _ERA_S << 32 | (rest_ns << 32) // 1_000_000_000


def wall_ns(timestamp: int) -> int:
    """Read an NTP 64-bit timestamp; exact for what `ntp` wrote between 1968 and 2104."""
    seconds, fraction = divmod(timestamp, _ERA_S)
    if seconds < _ERA_S // 2:
        seconds += _ERA_S
    return (seconds - _NTP_TO_UNIX_S) * 1_000_000_000 + (
        (fraction * 1_000_000_000 + (1 << 31)) >> 32
    )


def error_estimate(error_ns: int, *, synchronized: bool) -> int:
    """Write a clock's error in the 16 bits of RFC 4656 §4.1.2, rounded up.

    `S | Z=0 | scale (6 bits) | multiplier (8 bits)`: error = multiplier * 2^scale * 2^-32 s.
    """
    units = max(1, -(-(error_ns << 32) // 1_000_000_000))
    scale = max(0, units.bit_length() - 8)
    multiplier = -(-units >> scale)
    if multiplier > 0xFF:
        scale, multiplier = scale + 1, -(-multiplier >> 1)
    return synchronized << 15 | scale << 8 | multiplier


def session_id(cookie: bytes) -> int:
    """Derive a session's SSID, which is never 0 (RFC 8972 §3), from its cookie."""
    return int.from_bytes(cookie[:2], "big") or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A Session-Sender's packet."""

    sequence: int
    sent_wall_ns: int
    """T1 by the sender's clock."""
    error_estimate: int
    cookie: bytes

    def encode(self) -> bytes:
        """Give the packet's bytes."""
        return _SENDER.pack(
            self.sequence,
            ntp(self.sent_wall_ns),
            self.error_estimate,
            session_id(self.cookie),
            _UNRECOGNIZED,
            _EXTRA_PADDING,
            COOKIE_BYTES,
            self.cookie,
        )

    @classmethod
    def decode(cls, datagram: bytes) -> Probe:
        """Read a packet; raises ProtocolError. Whether the cookie is right is for others to say."""
        _check_size(datagram)
        sequence, sent, error, ssid, flags, kind, size, cookie = _SENDER.unpack(datagram)
        if flags != _UNRECOGNIZED:
            raise ProtocolError("a STAMP packet that was reflected already")
        _check_tail(ssid, kind, size, cookie)
        return cls(
            sequence=sequence, sent_wall_ns=wall_ns(sent), error_estimate=error, cookie=cookie
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A Session-Reflector's packet."""

    sequence: int
    """The reflector's own count of packets it sent in this session, from 0."""
    sent_wall_ns: int
    """T3 by the reflector's clock."""
    error_estimate: int
    received_wall_ns: int
    """T2 by the reflector's clock."""
    probe_sequence: int
    cookie: bytes

    @classmethod
    def decode(cls, datagram: bytes) -> Reply:
        """Read a packet; raises ProtocolError."""
        _check_size(datagram)
        fields = _REFLECTOR.unpack(datagram)
        sequence, sent, error, ssid, received, probe_sequence = fields[:6]
        kind, size, cookie = fields[-3:]
        _check_tail(ssid, kind, size, cookie)
        return cls(
            sequence=sequence,
            sent_wall_ns=wall_ns(sent),
            error_estimate=error,
            received_wall_ns=wall_ns(received),
            probe_sequence=probe_sequence,
            cookie=cookie,
        )


def reflect(
    probe: Probe,
    *,
    sequence: int,
    received_wall_ns: int,
    ttl: int,
    error_estimate: int,
    clock_wall_ns: Callable[[], int],
) -> bytes:
    """Give the reply to a probe; T3 is read from the clock last, so it hides no work of ours."""
    received = ntp(received_wall_ns)
    probe_sent = ntp(probe.sent_wall_ns)
    ssid = session_id(probe.cookie)
    return _REFLECTOR.pack(
        sequence,
        ntp(clock_wall_ns()),
        error_estimate,
        ssid,
        received,
        probe.sequence,
        probe_sent,
        probe.error_estimate,
        ttl,
        0,
        _EXTRA_PADDING,
        COOKIE_BYTES,
        probe.cookie,
    )


def _check_size(datagram: bytes) -> None:
    if len(datagram) != PACKET_BYTES:
        raise ProtocolError(f"a STAMP packet of {len(datagram)} bytes; {PACKET_BYTES} expected")


def _check_tail(ssid: int, kind: int, size: int, cookie: bytes) -> None:
    if (kind, size) != (_EXTRA_PADDING, COOKIE_BYTES):
        raise ProtocolError(f"a STAMP TLV of type {kind} and {size} bytes; no cookie")
    if ssid != session_id(cookie):
        raise ProtocolError(f"STAMP session {ssid} is not the one of its cookie")
