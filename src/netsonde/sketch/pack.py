"""Packing: a tick as few bytes, for keeping many of them in memory.

The one idea: most bytes of a record are the same in all of them (the upper bytes of counts, the
prefix of mapped IPv4 addresses), so a table is written as its first row and the columns of bytes
that vary, which then compress well and fast. What is read back is the very same tick.
"""

from __future__ import annotations

from zlib import crc32

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from netsonde.model.errors import ProtocolError
from netsonde.sketch import _abi
from netsonde.sketch.absent import Absent
from netsonde.sketch.tick import Side, Tick

VERSION = 1
_LEVEL = 1
"""Of zstandard: what is left in the columns is mostly random, higher ones gain nothing."""
_MOST_BYTES = 1 << 30
"""Most that a pack may unpack to."""
_LAYOUT = crc32(repr((_abi.RECORD, _abi.HLL_REGISTERS)).encode())
_NO_RANKS = bytes(_abi.DIRECTIONS * _abi.HLL_REGISTERS)


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """A table of bytes."""

    rows: int
    first: bytes
    """The first row; empty without rows."""
    varying: bytes
    """Numbers of the columns that are not the same in every row."""
    columns: bytes
    """Those columns, one after the other."""


class _Pack(msgspec.Struct, frozen=True, array_like=True):
    version: int
    layout: int
    id: int
    first_id: int | None
    ticks: int
    sides: tuple[Side, Side]
    ranks: bytes
    """Empty: all are 0."""
    records: _Columns
    absent: _Columns | None


def pack(tick: Tick) -> bytes:
    """Write a tick; where its table places flows is left out, being the same for all of them."""
    absent = None
    if tick.absent is not None:
        table = tick.absent.table.astype("<i8", copy=False)
        absent = _columns(np.ascontiguousarray(table).view(np.uint8).reshape(-1, 16))
    written = msgspec.msgpack.encode(
        _Pack(
            version=VERSION,
            layout=_LAYOUT,
            id=tick.id,
            first_id=tick.first_id,
            ticks=tick.ticks,
            sides=tick.sides,
            ranks=b"" if tick.ranks == _NO_RANKS else tick.ranks,
            records=_columns(_rows(tick.records, _abi.RECORD.itemsize)),
            absent=absent,
        )
    )
    return zstandard.ZstdCompressor(level=_LEVEL).compress(written)


def unpack(data: bytes, placement: bytes) -> Tick:
    """Read what `pack` wrote; `placement`: `ns_config` of the tick's table, or empty.

    Raises ProtocolError for anything else, or what another version wrote.
    """
    try:
        if zstandard.frame_content_size(data) > _MOST_BYTES:
            raise ProtocolError(f"a tick of more than {_MOST_BYTES} bytes")
        found = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data), type=_Pack)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ProtocolError(f"cannot read a packed tick: {error}") from None
    if (found.version, found.layout) != (VERSION, _LAYOUT):
        raise ProtocolError(f"a packed tick of version {found.version}, or of another layout")
    absent = None
    if found.absent is not None:
        absent = Absent.from_bytes(_table(found.absent, 16), placement)
    return Tick(
        id=found.id,
        first_id=found.first_id,
        ticks=found.ticks,
        records=_table(found.records, _abi.RECORD.itemsize),
        sides=found.sides,
        absent=absent,
        ranks=found.ranks or _NO_RANKS,
        placement=placement,
    )


def _rows(data: bytes, row_bytes: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).reshape(-1, row_bytes)


def _columns(table: NDArray[np.uint8]) -> _Columns:
    """Take a table apart; its rows are a multiple of 8 bytes long."""
    if not len(table):
        return _Columns(rows=0, first=b"", varying=b"", columns=b"")
    words = table.view("<u8")
    differing = np.bitwise_or.reduce(words ^ words[0], axis=0)
    varying = np.flatnonzero(differing.view(np.uint8))
    return _Columns(
        rows=len(table),
        first=table[0].tobytes(),
        varying=varying.astype(np.uint8).tobytes(),
        columns=b"".join(table[:, column].tobytes() for column in varying),
    )


def _table(columns: _Columns, row_bytes: int) -> bytes:
    """Put a table together; raises ProtocolError when its parts do not fit."""
    varying, rows = columns.varying, columns.rows
    if not rows and not columns.columns:
        return b""
    fits = len(columns.first) == row_bytes and max(varying, default=0) < row_bytes
    if not fits or rows < 0 or len(columns.columns) != rows * len(varying):
        raise ProtocolError("a packed tick has columns of other lengths")
    if rows * row_bytes > _MOST_BYTES:
        raise ProtocolError(f"a tick of more than {_MOST_BYTES} bytes")
    table = np.empty((rows, row_bytes), np.uint8)
    table[:] = np.frombuffer(columns.first, np.uint8)
    for number, column in enumerate(varying):
        table[:, column] = np.frombuffer(columns.columns, np.uint8, rows, number * rows)
    return table.tobytes()
