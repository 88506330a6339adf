"""A capture file, pcap or pcapng, plain or gzip: its packets counted tick by tick.

The file is read in windows, so memory stays the same (two windows and the table) however large it
is or decompresses to, and a pipe serves as well. What a file says of itself is checked natively
(`native/capture.h`); here is where its bytes come from, and how its end is told.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from netsonde.model.errors import BadField
from netsonde.model.window import TICK_NS
from netsonde.sketch import _abi
from netsonde.sketch._core import CaptureWalk, FlowTable
from netsonde.sketch.absent import placement
from netsonde.sketch.tick import Tick

_READ_BYTES = 256 << 10
"""Read at a time: what was just read is counted while the CPU's cache still holds it."""
_MOST_TAIL_BYTES = 1 << 20
"""Most that a walk may leave over, part of a record that goes on (CAPTURE_MAX_BLOCK_BYTES)."""
_START_BYTES = 24
"""What tells the format of a capture (CAPTURE_START_BYTES)."""
_GZIP_MAGIC = b"\x1f\x8b"
LG_BUCKETS = 13
"""Log2 of the buckets of the one pretended CPU: 64 K flows a tick."""


class Source:
    """Bytes of a file, decompressed where it is gzip; ends at a fault, and says which."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises OSError."""
        self._file = path.open("rb")
        try:
            self.size_bytes = os.fstat(self._file.fileno()).st_size
            """Size on disk; 0 of a pipe."""
            self.compressed = self._file.peek(2)[:2] == _GZIP_MAGIC
        except OSError:
            self._file.close()
            raise
        self._content = gzip.GzipFile(fileobj=self._file) if self.compressed else self._file
        self.fault: str | None = None
        """Why there are no more bytes, when it is not the file's end."""

    def read_into(self, room: memoryview) -> int:
        """Fill the room and give the bytes read, fewer only at the end or at a fault."""
        filled = 0
        while filled < len(room) and (part := self._part_into(room[filled:])):
            filled += part
        return filled

    def _part_into(self, room: memoryview) -> int:
        # One step of the decompressor at a time: what it gave before a fault is kept.
        try:
            return self._content.readinto1(room) if self.fault is None else 0
        except EOFError:
            self.fault = "truncated (gzip)"
        except (gzip.BadGzipFile, zlib.error):
            self.fault = "corrupt (gzip)"
        except OSError as error:
            self.fault = f"unreadable ({error.strerror})"
        return 0

    def position_bytes(self) -> int:
        """Tell how far into the file on disk reading is; 0 of a pipe."""
        return self._file.tell() if self._file.seekable() else 0

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        self._file.close()


class Capture:
    """A capture opened for counting, once; a fresh flow table with a secret of its own."""

    def __init__(self, path: Path, secret: bytes, lg_buckets: int = LG_BUCKETS) -> None:
        """Open a capture; raises BadField with the reason when it cannot be."""
        try:
            self._source = Source(path)
        except OSError as error:
            reason = f"a readable file ({error.strerror})"
            raise BadField("FILE", str(path), reason) from None
        self._before_window_bytes = 0
        self._room = memoryview(bytearray(_MOST_TAIL_BYTES + _READ_BYTES))
        self._window = self._room[:0]
        self._refill(0)
        try:
            self._walk = CaptureWalk(bytes(self._window[:_START_BYTES]))
        except ValueError as error:
            self._source.close()
            found = f"; this one is {self._source.fault}" if self._source.fault else ""
            raise BadField("FILE", str(path), f"{error}{found}") from None
        self._table = FlowTable(secret, lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
        self._placement = placement(struct.unpack("<8Q", secret), lg_buckets)
        self.packets = 0
        self.broken: str | None = None
        """Why the file ended before its last packet was whole; None when it did not."""

    @property
    def size_bytes(self) -> int:
        """Size of the file on disk; 0 of a pipe."""
        return self._source.size_bytes

    def ticks(self, most_at_once: int = 0) -> Iterator[tuple[Tick, int]]:
        """Count the file; give its ticks, several at a time, and the bytes of it read so far.

        `most_at_once`: 1 gives each tick by itself, 0 as many together as fit. Packets are taken in
        the file's order; one older than the tick being filled counts in it.
        A tick that spilled ends what is given together.
        """
        offset = 0
        try:
            while True:
                offset, packets, why = self._table.feed(
                    self._walk, self._window, offset, TICK_NS, most_at_once
                )
                self.packets += packets
                if why == "more":
                    refilled = self._refill(offset)
                    offset = 0
                    if refilled:
                        continue
                if span := self._table.take(why != "span"):
                    yield Tick.of_span(span, self._placement), self._source.position_bytes()
                if why != "span":
                    break
            self.broken = self._broken(why, offset)
        finally:
            self._source.close()

    def close(self) -> None:
        """Leave the file, without counting it or in the middle of it."""
        self._source.close()

    def _refill(self, offset: int) -> bool:
        """Move the window on to offset; False when there is nothing new behind it."""
        tail = len(self._window) - offset
        self._room[:tail] = self._window[offset:]
        fresh = self._source.read_into(self._room[tail : tail + _READ_BYTES])
        self._window = self._room[: tail + fresh]
        self._before_window_bytes += offset
        return fresh > 0

    def _broken(self, why: str, offset: int) -> str | None:
        if why != "more":
            fault = f"corrupt ({why})"
        elif self._source.fault:
            fault = self._source.fault
        elif offset < len(self._window) or self._walk.pending:
            fault = "truncated"
        else:
            return None
        where = self._before_window_bytes + offset
        total = " of what it decompresses to" if self._source.compressed else ""
        if not total and self.size_bytes:
            total = f" of {self.size_bytes}"
        return f"{fault} at byte {where}{total}"
