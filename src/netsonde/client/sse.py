"""Server-sent events as the HTML standard has them (whatwg.org, 9.2.6), from bytes to messages."""

from __future__ import annotations

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 1 << 22
"""Of a message and of a line; an agent's are smaller."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; comments and empty messages are none."""

    data: str
    kind: str = "message"
    """Its `event:`."""
    id: str | None = None
    """What to resume after; kept from the message before where it has none of its own."""


class Oversized(Exception):
    """A message that is larger than any an agent sends."""


class Parser:
    """Takes a stream in pieces of any size and gives its whole messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._size = 0
        self._kind = ""
        self._id: str | None = None

    def feed(self, piece: bytes) -> list[Message]:
        """Take some bytes and give the messages they complete; raises Oversized."""
        text = self._rest + piece
        # A CR at the end may be half of a CRLF: it waits for the next piece.
        held = text.endswith(b"\r")
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = lines.split(b"\n")
        self._rest = rest + b"\r" * held
        found = [message for line in whole if (message := self._line(line)) is not None]
        if max(self._size, len(self._rest)) > MAX_MESSAGE_BYTES:
            raise Oversized(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
        return found

    def _line(self, line: bytes) -> Message | None:
        if not line:
            return self._end()
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(line)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value or None
        return None

    def _end(self) -> Message | None:
        data, kind = self._data, self._kind
        self._data, self._kind, self._size = [], "", 0
        if not data:
            return None
        return Message("\n".join(data), kind or "message", self._id)
