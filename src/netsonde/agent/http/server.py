"""uvicorn inside the agent's own event loop: the agent owns signals, sockets and the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import cast

import structlog
import uvicorn
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message

from netsonde.agent.http.accept import Acceptor, affordable, places
from netsonde.agent.http.protocol import REQUEST_S, PromptProtocol
from netsonde.agent.metrics import Served
from netsonde.daemon.failures import Failures
from netsonde.daemon.memory import give_back
from netsonde.daemon.slots import Slots
from netsonde.model.errors import Unavailable

_REHEARSED = (
    ("GET", "/"),
    ("POST", "/"),
    ("GET", "/nowhere"),
    ("GET", "/metrics"),
    ("GET", "/v1/tasks"),
    ("POST", "/v1/questions"),
    ("GET", "/v1/events/stream"),
)

_GIVE_BACK_S = 10

log = structlog.get_logger()


class HttpServer:
    """Serves an application on a listening socket; `run` until cancelled, and again if it fails."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, served: Served, failures: Failures
    ) -> None:
        """Count in `served` by cause whom it does not answer."""
        self._failures = failures
        self._app = app
        self._listener = listener
        self._refused = served.refused
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            http=PromptProtocol,
            ws="none",
            timeout_keep_alive=REQUEST_S,
        )
        self.slots = places(affordable())
        """Who has how many of its connections."""
        served.connections = lambda: self.slots.taken

    async def rehearse(self) -> None:
        """Answer one good and one bad message to nobody, so that all code is loaded afterwards.

        Whoever gives up root next may no longer be able to read where the code lies.
        """
        self._config.load()
        for method, path in _REHEARSED:
            await self._app(_scope(method, path), _Gone().receive, _unheard)

    async def run(self) -> None:
        """Serve; when cancelled, answer what is due at once and leave the rest. Never returns."""
        _heard_by(_Complaints(self._failures))
        server = _Uvicorn(self._config, self._listener, self.slots, self._refused)
        serving = asyncio.create_task(server.serve())
        try:
            try:
                await asyncio.shield(serving)
                raise Unavailable("the HTTP server ended by itself")
            finally:
                server.end()
                await asyncio.wait([serving])
        except asyncio.CancelledError:
            self._listener.close()
            raise


def _scope(method: str, path: str) -> HTTPScope:
    """Give the ASGI scope of a request of this host's own."""
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
            "headers": [(b"host", b"localhost")],
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


class _Uvicorn(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        slots: Slots,
        refused: Tally[str],
    ) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self._acceptor = Acceptor(listener, self._protocol, refused, slots)
        self._refused = refused

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections at a door of our own."""
        self.servers = []
        self._acceptor.start()
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and end as uvicorn does."""
        self._acceptor.close()
        await super().shutdown(sockets)

    def _protocol(self, end: Callable[[], None]) -> PromptProtocol:
        state = self.lifespan.state
        return PromptProtocol(self.config, self.server_state, state, self._refused, end)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signals to the agent."""
        yield

    async def main_loop(self) -> None:
        """Date headers once a second and end at once; uvicorn looks ten times a second for both.

        What a burst leaves free goes back to the system once it is over, or ten seconds on.
        """
        kept_s, before = 0, 0
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ended.wait()
            now = self.server_state.total_requests + self._refused.total()
            kept_s = kept_s + 1 if kept_s or now != before else 0
            if kept_s and (now == before or kept_s >= _GIVE_BACK_S):
                kept_s = 0
                give_back()
            before = now

    def end(self) -> None:
        """Stop serving without waiting for anybody."""
        self.should_exit = self.force_exit = True
        self._ended.set()


class _Complaints(logging.Handler):
    """What uvicorn would log. What it warns of is what clients send, and counted elsewhere."""

    def __init__(self, failures: Failures) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._failures.note("answer", error)
        else:
            log.error("http", message=record.getMessage())


def _heard_by(complaints: _Complaints) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [complaints]
    logger.propagate = False
