"""A real HttpServer over a small application, in a thread of its own: clients are plain sockets."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Iterator

from litestar import Litestar, Request, get, post
from litestar.response import Stream

from netsonde.agent.http.server import HttpServer
from netsonde.agent.metrics import Served
from netsonde.daemon.failures import Failures

HOST = "127.0.0.2"
GREETING = "small"
LARGE = 256 << 10
MAX_STREAMS = 8


class Serving:
    """A running server."""

    def __init__(self, http: HttpServer, port: int, refused: "Tally[str]") -> None:
        self.http = http
        self.port = port
        self.refused = refused
        self.answered: Tally[str] = Tally()
        self.streams = 0

    def connect(self, source: str, receive_bytes: int | None = None) -> socket.socket:
        """Connect from an address of loopback."""
        connection = socket.socket()
        connection.settimeout(10)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.bind((source, 0))
        connection.connect((HOST, self.port))
        return connection

    def request(self, path: str = "/", *, method: str = "GET", body: bytes = b"") -> bytes:
        """Write a request."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n".encode() + body

    def ask(self, source: str, path: str = "/") -> bytes:
        """Ask as a well-behaved client does; gives the status line."""
        with self.connect(source) as connection:
            connection.sendall(self.request(path))
            return connection.makefile("rb").readline()

    def settled(self, holds: Callable[[], bool]) -> None:
        """Wait until something of the server's holds."""
        done = threading.Event()
        for _ in range(1000):
            if holds():
                return
            done.wait(0.01)
        raise AssertionError("it never came to hold")


def application(serving: Callable[[], Serving]) -> Litestar:
    """Give a small answer, a large one, the body back, and a stream."""

    @get("/", sync_to_thread=False, media_type="text/plain")
    def small() -> str:
        serving().answered["small"] += 1
        return GREETING

    @get("/large", sync_to_thread=False, media_type="text/plain")
    def large() -> str:
        serving().answered["large"] += 1
        return "x" * LARGE

    @post("/", media_type="text/plain")
    async def echo(request: "Request[object, object, object]") -> bytes:
        serving().answered["echo"] += 1
        return await request.body()

    async def forever() -> AsyncIterator[bytes]:
        serving().streams += 1
        try:
            while serving().streams <= MAX_STREAMS:
                yield b"tick\n"
                await asyncio.sleep(0.01)
        finally:
            serving().streams -= 1

    @get("/stream", sync_to_thread=False)
    def stream() -> Stream:
        return Stream(forever())

    return Litestar([small, large, echo, stream], request_max_body_size=64 << 10)


@contextlib.contextmanager
def running(
    make: Callable[[Callable[[], Serving]], Litestar] = application,
) -> Iterator[Serving]:
    """Serve meanwhile."""
    listener = socket.create_server((HOST, 0))
    made: list[Serving] = []
    ready, ended = threading.Event(), asyncio.Event()

    async def serve() -> None:
        served = Served()
        http = HttpServer(make(lambda: made[0]), listener, served, Failures())
        made.append(Serving(http, listener.getsockname()[1], served.refused))
        await http.rehearse()
        task = asyncio.create_task(http.run())
        loops.append(asyncio.get_running_loop())
        ready.set()
        await ended.wait()
        task.cancel()
        await asyncio.wait([task])

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield made[0]
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()
