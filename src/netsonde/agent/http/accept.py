"""Connections are taken here, one by one, before anything of them is read.

The one idea: asyncio's own loop takes whoever comes, and at the limit of descriptors says so with a
traceback for each attempt. This one turns away at the door whom `Slots` has no place for, with a
sentence that costs nothing, and rests where the system has nothing left.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from abc import abstractmethod
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import structlog

from netsonde.daemon.slots import Slots, is_of_host, source_of

MAX_CONNECTIONS = 64
"""HTTP connections at a time; one more is told so and closed."""
OF_ONE = 32
"""Of these, at most of one source; a jump host or a NAT is one."""
FOR_HOST = 8
"""Of these, kept for connections of this host's own."""
PAUSE_S = 0.5
"""Seconds of rest where no more can be taken."""
UNTAKEN_S = 20
"""Seconds that a client may take none of what was sent to it; then its connection is closed."""
PARTING_S = 0.5
"""Seconds that a connection which was turned away stays open, unread: closed at once, its client
would be cut off while it still sends, and not see why."""
MAX_PARTING = 16
"""Connections that stay so; the next ones are closed at once."""
_BACKLOG = 1024
_AT_ONCE = 32
_OTHER_DESCRIPTORS = 32
"""What an agent needs besides, from its monitor to its peers."""
_LEAST_CONNECTIONS = 4
_WHY = b"all HTTP connections of this agent, or of your address, are taken; try again later\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_WHY), _WHY)
_CAUSES = {
    errno.EMFILE: "no_descriptor",
    errno.ENFILE: "no_descriptor",
    errno.ENOBUFS: "no_memory",
    errno.ENOMEM: "no_memory",
}

log = structlog.get_logger()


class Guest(asyncio.BaseProtocol):
    """A connection that has a place."""

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether nothing that it asked is being answered."""

    @abstractmethod
    def displace(self) -> None:
        """Close it at once, and say that it has ended."""


class Acceptor:
    """Takes the connections of a listening socket, from `start` until `close`."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Callable[[], None]], Guest],
        refused: Tally[str],
        slots: Slots | None = None,
        *,
        of_host: Callable[[str, str], bool] = is_of_host,
        full: bytes = _FULL,
    ) -> None:
        """Let each connection have what `make` gives, which calls what it is given once, when the
        connection has ended; whom nobody serves is told `full` and counted in `refused` by cause.

        `of_host`: tells by a connection's two addresses whether places are kept for it.
        """
        self.slots = slots or places(affordable())
        self._listener = listener
        self._make = make
        self._refused = refused
        self._of_host = of_host
        self._full = full
        self._loop = asyncio.get_running_loop()
        self._by_source: dict[str, dict[Guest, None]] = {}
        self._coming: set[asyncio.Task[Any]] = set()
        self._parting: set[socket.socket] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._failed = False

    def start(self) -> None:
        """Take connections from now on."""
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._loop.add_reader(self._listener, self._ready)

    def close(self) -> None:
        """Take no more; those that are taken go on."""
        self._loop.remove_reader(self._listener)
        if self._resting is not None:
            self._resting.cancel()
        self._dismiss()

    def _ready(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._rest(error)
                return
            self._failed = False
            self._admit(connection, address[0])

    def _rest(self, error: OSError) -> None:
        """Look away for a while: the listening socket stays readable, and no descriptor comes free
        by asking."""
        self._dismiss()
        self._refused[_CAUSES.get(error.errno or 0, "accept_failed")] += 1
        if not self._failed:
            self._failed = True
            log.error("no connection can be taken", reason=error.strerror, pause_s=PAUSE_S)
        self._loop.remove_reader(self._listener)
        self._resting = self._loop.call_later(PAUSE_S, self.start)

    def _admit(self, connection: socket.socket, host: str) -> None:
        try:
            connection.setblocking(False)
            of_host = self._of_host(host, connection.getsockname()[0])
            # asyncio does it only for sockets that were made with IPPROTO_TCP; without it what is
            # sent in two pieces waits 40 ms for the client to acknowledge the first (RFC 9293
            # §3.7.4, §3.8.6.3).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel closes it, be the client's window shut or its host gone (tcp(7)).
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_S * 1000)
        except OSError:
            self._refused["gone"] += 1
            connection.close()
            return
        source = source_of(host)
        refusal = self.slots.take(source, of_host=of_host)
        if refusal == "over_limit" and self._made_room(source):
            refusal = self.slots.take(source, of_host=of_host)
        if refusal is not None:
            self._refused[refusal] += 1
            self._turn_away(connection)
            return
        self._serve(connection, source, of_host)

    def _turn_away(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(self._full)
            connection.shutdown(socket.SHUT_WR)
        if not self._full or len(self._parting) >= MAX_PARTING:
            connection.close()
            return
        self._parting.add(connection)
        self._loop.call_later(PARTING_S, self._part, connection)

    def _part(self, connection: socket.socket) -> None:
        self._parting.discard(connection)
        connection.close()

    def _dismiss(self) -> None:
        """Close at once what was turned away."""
        while self._parting:
            self._parting.pop().close()

    def _made_room(self, source: str) -> bool:
        """Close an idle connection of whoever has most, if that is more than this source's."""
        for greedier in self.slots.greedier(source):
            for one in self._by_source[greedier]:
                if one.idle:
                    one.displace()
                    self._refused["displaced"] += 1
                    return True
        return False

    def _serve(self, connection: socket.socket, source: str, of_host: bool) -> None:
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self.slots.free(source, of_host=of_host)
                of_source = self._by_source[source]
                del of_source[guest]
                if not of_source:
                    del self._by_source[source]

        guest = self._make(end)
        self._by_source.setdefault(source, {})[guest] = None
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: guest, connection))
        self._coming.add(task)

        def came(task: asyncio.Task[Any]) -> None:
            self._coming.discard(task)
            if task.cancelled() or task.exception() is not None:
                self._refused["gone"] += 1
                end()
                connection.close()

        task.add_done_callback(came)


def places(total: int) -> Slots:
    """Give so many places, shared as all of them would be."""
    of_one, for_host = (part * total // MAX_CONNECTIONS for part in (OF_ONE, FOR_HOST))
    return Slots(total, of_one=max(1, of_one), for_host=for_host)


def affordable() -> int:
    """Give how many connections the limit of descriptors has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(_LEAST_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))
