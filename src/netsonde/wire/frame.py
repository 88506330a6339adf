"""Framing: a 4-byte little-endian length, then one msgpack object (a tagged struct).

Used on the monitor's unix socket and between agents. A frame's length is checked before anything
is allocated for it; unknown fields are ignored and unknown tags refused, so that fields can be
added and never reused.
"""

from __future__ import annotations

import struct
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from netsonde.model import encoded
from netsonde.model.errors import ProtocolError

SCHEMA = 1
"""Version of the messages on both sockets; peers with another one are refused by name."""
MAX_FRAME_BYTES = 8 << 20
MAX_REQUEST_BYTES = 1 << 20
"""Largest frame that an agent takes from whoever dials it; all tasks and detectors fit."""

Schema = Annotated[int, Meta(ge=0, lt=1 << 32)]
MessageId = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
HEADER = struct.Struct("<I")

T = TypeVar("T")


class BadMessage(ProtocolError):
    """A whole frame holds a message that breaks its type, but says which one it is by its id."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.id = number


class _Numbered(msgspec.Struct, frozen=True):
    id: MessageId


_NUMBERED = msgspec.msgpack.Decoder(_Numbered)


class Codec(Generic[T]):
    """Encodes and decodes one tagged union of message structs."""

    def __init__(self, union: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(union)

    def encode(self, message: T) -> bytes:
        """Give the frame of a message; raises ProtocolError when it would be over the limit."""
        body = encoded.packed(message)
        if len(body) > MAX_FRAME_BYTES:
            raise ProtocolError(f"a message of {len(body)} bytes is over {MAX_FRAME_BYTES}")
        return HEADER.pack(len(body)) + body

    def decode(self, body: bytes) -> T:
        """Read a frame's body; raises ProtocolError, BadMessage where its id at least is known."""
        try:
            message: T = self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            why = f"cannot read a message: {error}"
        else:
            return message
        try:
            number = _NUMBERED.decode(body).id
        except (msgspec.DecodeError, RecursionError):
            raise ProtocolError(why) from None
        raise BadMessage(why, number)

    @staticmethod
    def body_bytes(header: bytes) -> int:
        """Read a frame's header; raises ProtocolError when the body would be over the limit."""
        (size,) = HEADER.unpack(header)
        if size > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {size} bytes is over {MAX_FRAME_BYTES}")
        return int(size)
