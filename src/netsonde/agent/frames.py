"""Frames on an asyncio stream, and the refusals that travel in them.

Waiting for a frame may last for ever, since an idle connection sends nothing; once its first byte
is there, the rest has a deadline.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from netsonde.model import errors
from netsonde.model.coverage import Refusal
from netsonde.model.number import MAX_RETRY_S
from netsonde.wire.frame import HEADER, MAX_FRAME_BYTES, Codec

BODY_S = 10.0
"""Seconds that a frame may take from its header to its end."""

T = TypeVar("T")

_CARRIED: dict[str, type[errors.NetsondeError]] = {
    kind.__name__: kind
    for kind in (
        errors.NotFound,
        errors.Busy,
        errors.Unavailable,
        errors.ProbeFailed,
        errors.Unforeseen,
        errors.UnsupportedByKernel,
    )
}


async def read(
    reader: asyncio.StreamReader, codec: Codec[T], limit_bytes: int = MAX_FRAME_BYTES
) -> T:
    """Read one message.

    Raises ConnectionError at the end of the stream, TimeoutError when a frame comes too slowly,
    ProtocolError when it is over the limit or cannot be read.
    """
    try:
        size = codec.body_bytes(await reader.readexactly(HEADER.size))
        if size > limit_bytes:
            raise errors.ProtocolError(f"a frame of {size} bytes is over {limit_bytes}")
        async with asyncio.timeout(BODY_S):
            return codec.decode(await reader.readexactly(size))
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("the other side closed the connection") from None


def refusal(
    kind: str, reason: str, refused: Refusal | None, retry_after_s: float | None = None
) -> errors.NetsondeError:
    """Give the error that a refusal stands for; `refused` is the field that it is about, if any.

    A field that the other process found bad may not be the manager's: it is a ProtocolError.
    """
    if refused is not None:
        return errors.FieldRefused(
            reason, field=refused.field, value=refused.value, allowed=refused.allowed
        )
    error = _CARRIED.get(kind, errors.ProtocolError)(reason)
    if retry_after_s is not None:
        error.retry_after_s = min(max(0.0, retry_after_s), MAX_RETRY_S)
    return error
