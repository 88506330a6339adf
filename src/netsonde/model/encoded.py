"""Encoding that fails as everything else does when memory runs out.

`msgspec.msgpack.encode` ends the process there (0.23: it writes through the buffer that could not
grow), while `encode_into` raises MemoryError.
"""

from __future__ import annotations

import msgspec

_ENCODER = msgspec.msgpack.Encoder()


def packed(value: object) -> bytes:
    """Encode as msgpack; raises MemoryError when there is none."""
    buffer = bytearray()
    _ENCODER.encode_into(value, buffer)
    return bytes(buffer)
