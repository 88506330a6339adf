"""A classic pcap file: its header, and its packets counted tick by tick.

Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap, both byte orders, micro- and
nanoseconds, link type Ethernet. The file is mapped, not read: it may be larger than memory.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netsonde.model.errors import BadField
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import TICK_NS, Reader, Tick

_HEADER_BYTES = 24
_LINKTYPE_ETHERNET = 1
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": (False, False),
    b"\xa1\xb2\xc3\xd4": (True, False),
    b"\x4d\x3c\xb2\xa1": (False, True),
    b"\xa1\xb2\x3c\x4d": (True, True),
}
_LG_BUCKETS = 13
"""Buckets of the one pretended CPU: 64 K flows a tick."""
_SAMPLE_SHIFT = 6


@dataclass(frozen=True, slots=True)
class Header:
    """What a capture's first 24 bytes say."""

    swapped: bool
    """Whether its byte order is not this host's."""
    nanoseconds: bool
    """Whether its time stamps count nanoseconds, not microseconds."""


def read_header(path: Path, start: bytes) -> Header:
    """Read a capture's header; raises BadField when it is not a classic pcap file of Ethernet."""
    if len(start) < _HEADER_BYTES or start[:4] not in _MAGIC:
        raise BadField("FILE", str(path), "a classic pcap file (as `tcpdump -w` writes)")
    swapped, nanoseconds = _MAGIC[start[:4]]
    (link_type,) = struct.unpack(">I" if swapped else "<I", start[20:24])
    if link_type & 0xFFFF != _LINKTYPE_ETHERNET:
        raise BadField("FILE", str(path), f"link type Ethernet (1), not {link_type & 0xFFFF}")
    return Header(swapped, nanoseconds)


class Capture:
    """A capture opened for counting; a fresh flow table with a secret of its own."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Open a capture; raises BadField with the reason when it cannot be."""
        try:
            with path.open("rb") as file:
                self._header = read_header(path, file.read(_HEADER_BYTES))
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            reason = f"a readable file ({error.strerror})"
            raise BadField("FILE", str(path), reason) from None
        self._table = FlowTable(secret, _LG_BUCKETS, _SAMPLE_SHIFT)
        self._reader = Reader(*self._table.buffers(), lg_buckets=_LG_BUCKETS, cpus=1)
        self.packets = 0
        self.broken: str | None = None
        """Why the file ended before its last packet was whole; None when it did not."""

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return len(self._bytes)

    def ticks(self) -> Iterator[tuple[Tick, int]]:
        """Count the file; give each tick that holds packets, and the bytes read so far.

        Packets are taken in the file's order; one older than the tick being filled counts in it.
        """
        offset, until_ns, why = _HEADER_BYTES, 0, "tick"
        while why == "tick":
            offset, packets, next_ns, why = self._table.feed(
                self._bytes, offset, self._header.swapped, self._header.nanoseconds, until_ns
            )
            self.packets += packets
            if packets:
                yield self._reader.read(self._table.flip(), until_ns // TICK_NS - 1), offset
            until_ns = (next_ns // TICK_NS + 1) * TICK_NS
        if why != "end":
            self.broken = f"{why} at byte {offset} of {self.size_bytes}"
