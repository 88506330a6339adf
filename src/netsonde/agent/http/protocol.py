"""uvicorn's protocol with bounds: how late a request may be, how long around its body, and how much
of a client is read before it has its answers.

The one idea: the parser gets no more than one request, and the next when that is answered and
taken. What else has come waits as bytes, no more than one read of the socket, and nothing more is
read.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from netsonde.agent.http.accept import Guest

REQUEST_S = 5
"""Seconds a connection may take to bring its next request; then it is closed."""
MAX_FRAMING_BYTES = 64 << 10
"""Bytes of a request that are not its body: its head, and in chunks what stands between them."""
READ_BYTES = 64 << 10
"""Bytes of a client that are taken at once, and all that waits of it."""
_CHUNKED_BYTES = 256
"""Bytes of a chunked body that are parsed at once: few requests have room behind its end."""
_HEAD_ENDS = re.compile(rb"\A[\r\n]+|\n\r?\n")
"""An empty line; one at the beginning may belong to what was parsed before."""
_ARRIVED = memoryview(bytearray(READ_BYTES))
"""What one read brings, of whichever connection: it is copied before the next."""


class PromptProtocol(HttpToolsProtocol, asyncio.BufferedProtocol, Guest):
    """One connection; counts in `refused` by cause what it does not answer."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        refused: Tally[str],
        end: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._refused = refused
        self._end = end
        self._held = bytearray()
        self._holds = False
        self._between = True
        self._chunked = False
        self._body_bytes_left = 0
        self._framing_bytes = 0
        self._piece_bytes = 0
        self._watched = False

    @property
    def idle(self) -> bool:
        """Whether no request of it is whole and being answered."""
        return self.transport is not None and not (self._between and self._answering)

    def displace(self) -> None:
        """Make room for another connection."""
        self.transport.abort()
        self._end()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        # Whatever of an answer the kernel does not take is an answer that the client has not read.
        transport.set_write_buffer_limits(high=0)
        super().connection_made(_OneWrite(transport, self.loop))
        self.flow = _Flow(self.transport, self._held)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._held.clear()
        self._end()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that has said all have its answer, unless that goes on for ever."""
        if self._between and self._answering and not self.cycle.response_started:
            self.cycle.keep_alive = False
            return True
        return False

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give where the next bytes go."""
        return _ARRIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Take the next bytes."""
        self._held += _ARRIVED[:nbytes]
        self._read_on()

    def resume_writing(self) -> None:
        """Read on when the client has taken its answer."""
        super().resume_writing()
        self.loop.call_soon(self._read_on)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._between = False
        self._framing_bytes = self._piece_bytes

    def on_headers_complete(self) -> None:
        """Learn how far its body goes."""
        fields = dict(self.headers)
        self._chunked = b"transfer-encoding" in fields
        self._body_bytes_left = 0 if self._chunked else int(fields.get(b"content-length", 0))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of its body."""
        self._framing_bytes -= len(body)
        self._body_bytes_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End it."""
        self._between = True
        self._chunked = False
        self._body_bytes_left = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next."""
        super().on_response_complete()
        self._expect_request()
        if self._held:
            self.loop.call_soon(self._read_on)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; the connection ends."""
        self._refused["malformed"] += 1
        self._held.clear()
        super().send_400_response(msg)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _read_on(self) -> None:
        """Parse what is held, up to the end of one request while another waits for its answer."""
        while self._held and not self.transport.is_closing():
            if self.flow.write_paused or (self._between and self._answering):
                self._holds = True
                self.flow.pause_reading()
                return
            self._parse(self._next_piece())
        if self._holds:
            self._holds = False
            self.flow.resume_reading()

    def _next_piece(self) -> bytes:
        """Take as much as belongs to one request for sure."""
        if self._chunked:
            size = _CHUNKED_BYTES
        elif self._body_bytes_left:
            size = self._body_bytes_left
        else:
            end = _HEAD_ENDS.search(self._held)
            size = end.end() if end else len(self._held)
        piece = bytes(self._held[:size])
        del self._held[:size]
        return piece

    def _parse(self, piece: bytes) -> None:
        self._piece_bytes = len(piece)
        self._framing_bytes += len(piece)
        self.data_received(piece)
        if self._framing_bytes > MAX_FRAMING_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {MAX_FRAMING_BYTES} bytes around a body.")

    def _expect_request(self) -> None:
        self._former = self.cycle
        self._due_s = self.loop.time() + REQUEST_S
        if not self._watched:
            self._watched = True
            self.loop.call_at(self._due_s, self._close_if_late)

    def _close_if_late(self) -> None:
        """Close it however busily it drips; one timer a connection, since each holds a request."""
        self._watched = self.cycle is self._former and not self.transport.is_closing()
        if not self._watched:
            return  # until the next response is complete
        if self.loop.time() < self._due_s:
            self.loop.call_at(self._due_s, self._close_if_late)
            return
        if not self._between:
            self._refused["late"] += 1
        self.transport.close()


class _Flow(FlowControl):
    """Does not read on while what was read before waits."""

    def __init__(self, transport: asyncio.Transport, held: bytearray) -> None:
        super().__init__(transport)
        self._held = held

    def resume_reading(self) -> None:
        if not self._held:
            super().resume_reading()


class _OneWrite(asyncio.Transport):
    """Sends what is written twice in one turn of the loop at once: a response's head and body.

    A packet less to send and to wake the client for. No more than one piece waits, for one turn.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif data:
            self._held = bytes(data)
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._held = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)
