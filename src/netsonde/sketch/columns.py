"""Columns: arrays of one length as the few bytes that they really hold, for the wire.

The one idea: counts and addresses are mostly zeros and mostly alike, but by place in the number,
not by number. So bytes of one place stand together, and zstandard does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import zstandard
from numpy.typing import NDArray

from netsonde.model.errors import ProtocolError
from netsonde.model.number import MAX_COUNT

MAX_PART_BYTES = 8 << 20
"""Of the columns of a part, packed."""
_LEVEL = 1
"""Of zstandard: 65,536 keys in milliseconds; higher ones save little more."""


def packed(columns: Sequence[NDArray[np.generic]]) -> bytes:
    """Write columns (shape (n,), little-endian) one after another."""
    planes = (_bytes_of(column).T.tobytes() for column in columns)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(planes))


def unpacked(
    data: bytes, rows: int, dtypes: Sequence[np.dtype[np.generic]]
) -> list[NDArray[np.generic]]:
    """Read what `packed` wrote; raises ProtocolError for anything else.

    Memory is taken only for `rows` of these types, whatever the data says of itself: `rows` is the
    caller's to bound.
    """
    size = rows * sum(dtype.itemsize for dtype in dtypes)
    try:
        if zstandard.get_frame_parameters(data).content_size != size:
            raise ProtocolError(f"columns of {rows} rows have another length")
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size) if size else b""
    except zstandard.ZstdError as error:
        raise ProtocolError(f"cannot read columns: {error}") from None
    if len(raw) != size:
        raise ProtocolError(f"columns of {rows} rows have another length")
    columns, offset = [], 0
    for dtype in dtypes:
        length = rows * dtype.itemsize
        planes = np.frombuffer(raw, np.uint8, length, offset).reshape(dtype.itemsize, rows)
        columns.append(np.ascontiguousarray(planes.T).view(dtype).reshape(rows))
        offset += length
    return columns


def _bytes_of(column: NDArray[np.generic]) -> NDArray[np.uint8]:
    flat = np.ascontiguousarray(column)
    return flat.view(np.uint8).reshape(len(flat), flat.dtype.itemsize)


def packed_bounds(
    lower: NDArray[np.int64], estimate: NDArray[np.int64], upper: NDArray[np.int64]
) -> list[NDArray[np.generic]]:
    """Give the columns of bounds: the lower ones, then what lies between, mostly 0."""
    return [lower.astype("<i8"), (estimate - lower).astype("<i8"), (upper - estimate).astype("<i8")]


def unpacked_bounds(
    columns: Sequence[NDArray[np.generic]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Read what `packed_bounds` gave; raises ProtocolError unless 0 <= lower <= estimate
    <= upper <= MAX_COUNT."""
    lower, more, most = (column.astype(np.int64) for column in columns)
    if any(((part < 0) | (part > MAX_COUNT)).any() for part in (lower, more, most)):
        raise ProtocolError("bounds that are not in order")
    upper = lower + more + most
    if (upper > MAX_COUNT).any():
        raise ProtocolError(f"bounds over {MAX_COUNT}")
    return lower, lower + more, upper
