"""uvicorn inside the agent's own event loop: the agent owns signals, sockets and the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import cast

import structlog
import uvicorn
from litestar import Litestar
from litestar.types import HTTPReceiveMessage, HTTPScope, Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 64
"""HTTP connections at a time; one more is answered 503."""
REQUEST_S = 5
"""Seconds a connection may take to bring its next request; then it is closed."""
MAX_FRAMING_BYTES = 64 << 10
"""Bytes of a request that are not its body: its head, and in chunks what stands between them."""
UNTAKEN_S = 20
"""Seconds that a client may take none of what was sent to it; then its connection is closed."""

_REHEARSED = (
    ("GET", "/"),
    ("POST", "/"),
    ("GET", "/nowhere"),
    ("GET", "/metrics"),
    ("GET", "/v1/tasks"),
    ("POST", "/v1/questions"),
    ("GET", "/v1/events/stream"),
)

log = structlog.get_logger()


class HttpServer:
    """Serves an application on a listening socket; `run` until cancelled."""

    def __init__(self, app: Litestar, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                http=_PromptProtocol,
                ws="none",
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=REQUEST_S,
            )
        )

    async def rehearse(self) -> None:
        """Answer one good and one bad message to nobody, so that all code is loaded afterwards.

        Whoever gives up root next may no longer be able to read where the code lies.
        """
        self._server.config.load()
        for method, path in _REHEARSED:
            await self._app(_scope(method, path), _Gone().receive, _unheard)

    async def run(self) -> None:
        """Serve; when cancelled, answer what is due at once and leave the rest."""
        _log_to_structlog()
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        try:
            await asyncio.shield(serving)
        finally:
            self._server.end()
            await asyncio.wait([serving])


def _scope(method: str, path: str) -> HTTPScope:
    """Give the ASGI scope of a request without headers."""
    return cast(
        HTTPScope,
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": None,
            "server": None,
            "extensions": {},
        },
    )


class _Gone:
    """A client that sends an empty body and goes away."""

    def __init__(self) -> None:
        self._sent = False

    async def receive(self) -> HTTPReceiveMessage:
        if self._sent:
            return {"type": "http.disconnect"}
        self._sent = True
        return {"type": "http.request", "body": b"", "more_body": False}


async def _unheard(_: Message) -> None:
    return None


class _PromptProtocol(HttpToolsProtocol):
    """Bounds what uvicorn does not: how late a request may be, and how long around its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_OneWrite(transport, self.loop))
        connection = transport.get_extra_info("socket")
        # asyncio does it only for sockets that were made with IPPROTO_TCP; without it what is sent
        # in two pieces waits 40 ms for the client to acknowledge the first (RFC 9293 §3.7.4,
        # §3.8.6.3).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel closes it, be the client's window shut or its host gone (tcp(7)).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_S * 1000)
        self._framing_bytes = 0
        self._watched = False
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        self._framing_bytes += len(data)
        super().data_received(data)
        if self._framing_bytes > MAX_FRAMING_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {MAX_FRAMING_BYTES} bytes around a body.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._framing_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

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
        else:
            self.transport.close()


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


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to the agent."""
        yield

    async def main_loop(self) -> None:
        """Date headers once a second and end at once; uvicorn looks ten times a second for both."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ended.wait()

    def end(self) -> None:
        """Stop serving without waiting for anybody."""
        self.should_exit = self.force_exit = True
        self._ended.set()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.error("http", message=record.getMessage(), exc_info=record.exc_info)


def _log_to_structlog() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_ToStructlog(logging.WARNING)]
    logger.propagate = False
