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

from netsonde.model import encoded
from netsonde.model.errors import ProtocolError
from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import Absent
from netsonde.sketch.tick import Side, Tick

VERSION = 1
_LEVEL = 1
"""Of zstandard: what is left in the columns is mostly random, higher ones gain nothing."""
_MOST_BYTES = 1 << 30
"""Most that a pack may unpack to."""
_LAYOUT = crc32(repr((_abi.RECORD, _abi.HLL_REGISTERS)).encode())
_ABSENT_BYTES = _abi.ABSENT.itemsize
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
        table = np.ascontiguousarray(tick.absent.table.astype("<i8", copy=False))
        absent = _columns(table.data.cast("B"), _ABSENT_BYTES)
    written = encoded.packed(
        _Pack(
            version=VERSION,
            layout=_LAYOUT,
            id=tick.id,
            first_id=tick.first_id,
            ticks=tick.ticks,
            sides=tick.sides,
            ranks=b"" if tick.ranks == _NO_RANKS else tick.ranks,
            records=_columns(tick.records, _abi.RECORD.itemsize),
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
        absent = Absent.from_bytes(_table(found.absent, _ABSENT_BYTES), placement)
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


def _columns(table: bytes | memoryview, row_bytes: int) -> _Columns:
    """Take a table apart; its rows are a multiple of 8 bytes long."""
    if not len(table):
        return _Columns(rows=0, first=b"", varying=b"", columns=b"")
    varying, columns = _core.columns(table, row_bytes)
    return _Columns(
        rows=len(table) // row_bytes,
        first=bytes(table[:row_bytes]),
        varying=varying,
        columns=columns,
    )


def _table(columns: _Columns, row_bytes: int) -> bytes:
    """Put a table together; raises ProtocolError when its parts do not fit."""
    rows = columns.rows
    if not rows and not columns.columns:
        return b""
    if rows * row_bytes > _MOST_BYTES:
        raise ProtocolError(f"a tick of more than {_MOST_BYTES} bytes")
    try:
        if len(columns.first) != row_bytes:
            raise ValueError("rows of another length")
        return _core.rows(columns.first, columns.varying, columns.columns, rows)
    except ValueError:
        raise ProtocolError("a packed tick has columns of other lengths") from None
