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
from netsonde.sketch import _abi
from netsonde.sketch._core import CaptureWalk, FlowTable
from netsonde.sketch.tick import TICK_NS, Reader, Tick

_WINDOW_BYTES = 4 << 20
"""More than any record that is read (CAPTURE_MAX_BLOCK_BYTES), so a window brings the walk on."""
_GZIP_MAGIC = b"\x1f\x8b"
_LG_BUCKETS = 13
"""Buckets of the one pretended CPU: 64 K flows a tick."""


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

    def read(self, size_bytes: int) -> bytes:
        """Give so many bytes, fewer only at the end or at a fault."""
        parts: list[bytes] = []
        while size_bytes:
            part = self._part(size_bytes)
            if not part:
                break
            parts.append(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def _part(self, size_bytes: int) -> bytes:
        # One step of the decompressor at a time: what it gave before a fault is kept.
        try:
            return self._content.read1(size_bytes) if self.fault is None else b""
        except EOFError:
            self.fault = "truncated (gzip)"
        except (gzip.BadGzipFile, zlib.error):
            self.fault = "corrupt (gzip)"
        except OSError as error:
            self.fault = f"unreadable ({error.strerror})"
        return b""

    def position_bytes(self) -> int:
        """Tell how far into the file on disk reading is; 0 of a pipe."""
        return self._file.tell() if self._file.seekable() else 0

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        self._file.close()


class Capture:
    """A capture opened for counting, once; a fresh flow table with a secret of its own."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Open a capture; raises BadField with the reason when it cannot be."""
        try:
            self._source = Source(path)
        except OSError as error:
            reason = f"a readable file ({error.strerror})"
            raise BadField("FILE", str(path), reason) from None
        self._window = self._source.read(_WINDOW_BYTES)
        try:
            self._walk = CaptureWalk(self._window)
        except ValueError as error:
            self._source.close()
            found = f"; this one is {self._source.fault}" if self._source.fault else ""
            raise BadField("FILE", str(path), f"{error}{found}") from None
        self._table = FlowTable(secret, _LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST)
        self._reader = Reader(
            *self._table.buffers(),
            lg_buckets=_LG_BUCKETS,
            cpus=1,
            hash_key=struct.unpack("<8Q", secret),
        )
        self._before_window_bytes = 0
        self.packets = 0
        self.broken: str | None = None
        """Why the file ended before its last packet was whole; None when it did not."""

    @property
    def size_bytes(self) -> int:
        """Size of the file on disk; 0 of a pipe."""
        return self._source.size_bytes

    def ticks(self) -> Iterator[tuple[Tick, int]]:
        """Count the file; give each tick that holds packets, and the bytes of it read so far.

        Packets are taken in the file's order; one older than the tick being filled counts in it.
        """
        offset = until_ns = in_tick = 0
        try:
            while True:
                offset, packets, next_ns, why = self._table.feed(
                    self._walk, self._window, offset, until_ns
                )
                self.packets += packets
                in_tick += packets
                if why == "more" and self._refill(offset):
                    offset = 0
                    continue
                if in_tick:
                    tick = self._reader.read(self._table.flip(), until_ns // TICK_NS - 1)
                    yield tick, self._source.position_bytes()
                    in_tick = 0
                if why != "tick":
                    break
                until_ns = (next_ns // TICK_NS + 1) * TICK_NS
            self.broken = self._broken(why, offset)
        finally:
            self._source.close()

    def _refill(self, offset: int) -> bool:
        """Move the window on to offset; False when there is nothing new behind it."""
        fresh = self._source.read(_WINDOW_BYTES)
        if not fresh:
            return False
        self._window = self._window[offset:] + fresh
        self._before_window_bytes += offset
        return True

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
