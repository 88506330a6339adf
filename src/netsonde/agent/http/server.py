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
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS = 64
"""HTTP connections at a time; one more is answered 503."""
REQUEST_S = 5
"""Seconds a connection may take to bring its next request; then it is closed."""
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


class _PromptProtocol(H11Protocol):
    """Closes a connection whose next request is late, however busily it drips: uvicorn does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        # asyncio does it only for sockets that were made with IPPROTO_TCP; without it an answer's
        # body waits 40 ms for the client to acknowledge its head (RFC 9293 §3.7.4, §3.8.6.3).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel closes it, be the client's window shut or its host gone (tcp(7)).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_S * 1000)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        self.loop.call_later(REQUEST_S, self._close_if_late, self.cycle)

    def _close_if_late(self, former: RequestResponseCycle) -> None:
        if self.cycle is former and not self.transport.is_closing():
            self.transport.close()


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
