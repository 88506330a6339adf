"""TCP transfers for throughput tests: a receiver that counts, a sender that is sampled.

The one idea: two threads that live in the kernel with the interpreter's lock released, one at each
end, and the event loop only reads TCP_INFO every few milliseconds. Both ends count bytes, check
the same caps, and leave nothing behind: sockets are shut down to wake their thread, then closed.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import struct
import time
from collections import Counter
from concurrent.futures import Executor
from functools import partial

from netsonde.agent.kernel_stamps import family_of
from netsonde.agent.probing_limits import Reservation
from netsonde.daemon.threads import begun
from netsonde.model.errors import Busy, ProbeFailed
from netsonde.probe import throughput
from netsonde.probe.stamp import COOKIE_BYTES

_CHUNK_BYTES = 1 << 17
"""Read and written at once; on hosts that are slower than their link a larger one leaves the CPU's
caches and a receiver that did not copy would be half as fast again as any application."""
_BACKLOG = 4
_COOKIE_TIMEOUT_S = 1.0
_CONNECT_TIMEOUT_S = 1.0
_WAKE_UP_US = 200_000
_SETTLE_S = 0.25
_SILENT_NS = 2_000_000_000
"""A sender that is silent for so long is gone: ours stops after 300 ms or four round trips."""
_TIMEVAL = struct.Struct("@ll")
_RESET_ON_CLOSE = struct.pack("@ii", 1, 0)
_TCP_INFO_ASKED_BYTES = 280


class Receiver:
    """Takes one connection, from `src` and beginning with the cookie, and counts what it carries.

    Ends by itself at `lifetime_ms` or `max_bytes`. Whatever else connects is closed and counted.
    """

    def __init__(
        self, *, address: str, src: str, cookie: bytes, lifetime_ms: int, max_bytes: int
    ) -> None:
        self.received = 0
        self.dropped: Counter[str] = Counter()
        self._src = src
        self._cookie = cookie
        self._max_bytes = max_bytes
        self._deadline_mono_ns = time.monotonic_ns() + lifetime_ms * 1_000_000
        self._connection: socket.socket | None = None
        self._begun_mono_ns: int | None = None
        self._ended_mono_ns: int | None = None
        self._stopped = False
        self._finished: asyncio.Future[None] | None = None
        self._listener = socket.create_server(
            (address, 0), family=family_of(address), backlog=_BACKLOG
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def used(self) -> bool:
        """Whether the one it is for has connected."""
        return self._begun_mono_ns is not None

    @property
    def carried_bytes(self) -> int:
        """Bytes that came."""
        return self.received

    @property
    def busy_ns(self) -> int:
        """For how long it has carried anything."""
        if self._begun_mono_ns is None:
            return 0
        return (self._ended_mono_ns or time.monotonic_ns()) - self._begun_mono_ns

    def start(self, threads: Executor) -> None:
        """Begin to accept, in a thread; raises Busy, and closes it, where there is none."""
        try:
            self._finished = begun(threads, self._run)
        except Busy:
            self._listener.close()
            raise
        self._finished.add_done_callback(self._close_sockets)

    def stop(self) -> None:
        """Wake the thread and let it end; harmless when it has ended."""
        self._stopped = True
        for open_socket in (self._listener, self._connection):
            if open_socket is not None:
                _shut_down(open_socket)

    async def close(self) -> None:
        """Let what is on its way arrive for at most 250 ms, then end and close all of it."""
        if self._finished is not None:
            await asyncio.wait([self._finished], timeout=_SETTLE_S)
            self.stop()
            await self._finished

    def _close_sockets(self, _: asyncio.Future[None]) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        connection = self._accept()
        _shut_down(self._listener)
        if connection is not None and not self._stopped:
            self._begun_mono_ns = time.monotonic_ns()
            self._count(connection)
            self._ended_mono_ns = time.monotonic_ns()
            _shut_down(connection)

    def _left_s(self) -> float:
        return 0.0 if self._stopped else (self._deadline_mono_ns - time.monotonic_ns()) / 1e9

    def _accept(self) -> socket.socket | None:
        while (left_s := self._left_s()) > 0:
            self._listener.settimeout(left_s)
            try:
                connection, source = self._listener.accept()
            except OSError:
                return None
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._connection = connection  # so that `stop` wakes a thread that waits for a cookie
            if source[0] != self._src:
                self.dropped["wrong source"] += 1
            elif not self._has_cookie(connection):
                self.dropped["wrong cookie"] += 1
            else:
                return connection
            self._connection = None
            connection.close()
        return None

    def _has_cookie(self, connection: socket.socket) -> bool:
        given = b""
        until_mono_s = time.monotonic() + _COOKIE_TIMEOUT_S
        try:
            while len(given) < COOKIE_BYTES and not self._stopped:
                connection.settimeout(max(0.001, until_mono_s - time.monotonic()))
                part = connection.recv(COOKIE_BYTES - len(given))
                if not part:
                    return False
                given += part
            connection.settimeout(None)
        except OSError:
            return False
        return hmac.compare_digest(given, self._cookie)

    def _count(self, connection: socket.socket) -> None:
        """Read, as an application does, until any end is reached."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(0, _WAKE_UP_US))
        chunk = bytearray(_CHUNK_BYTES)
        heard_mono_ns = time.monotonic_ns()
        while self.received < self._max_bytes and self._left_s() > 0:
            try:
                size = connection.recv_into(chunk, min(len(chunk), self._max_bytes - self.received))
            except BlockingIOError:
                if time.monotonic_ns() - heard_mono_ns > _SILENT_NS:
                    return
                continue
            except OSError:
                return
            if size == 0:
                return
            self.received += size
            heard_mono_ns = time.monotonic_ns()


async def transfer(
    *,
    address: str,
    dst: str,
    port: int,
    cookie: bytes,
    plan: throughput.Plan,
    threads: Executor,
    cost: Reservation,
) -> throughput.Transfer:
    """Send from `address` to a receiver until its goodput is known or a cap is reached.

    Raises ProbeFailed when dst cannot be reached, closes early or stops acknowledging, Busy when
    there is no thread to send from, OSError when there is no socket. The connection is reset on the
    way out, so nothing queued is sent afterwards. Writes to `cost` what was sent and for how long.
    """
    with socket.socket(family_of(dst), socket.SOCK_STREAM) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        await _connect(connection, address, dst, port, cookie)
        first = _sample(connection)
        sending = begun(threads, partial(_fill, connection, plan.max_bytes))
        try:
            return await _watch(connection, sending, throughput.Estimator(plan, first), first, dst)
        finally:
            _shut_down(connection)
            try:
                await asyncio.wait([sending])
            finally:
                last = _sample(connection)
                cost.sent_bytes = last.bytes_sent - first.bytes_sent
                cost.busy_ns = last.mono_ns - first.mono_ns


async def _connect(
    connection: socket.socket, address: str, dst: str, port: int, cookie: bytes
) -> None:
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            connection.bind((address, 0))
            await loop.sock_connect(connection, (dst, port))
            await loop.sock_sendall(connection, cookie)
    except OSError as error:
        why = error.strerror or f"no answer within {_CONNECT_TIMEOUT_S:g} s"
        raise ProbeFailed(f"cannot connect to the receiver at {dst} port {port}: {why}") from None
    connection.setblocking(True)


async def _watch(
    connection: socket.socket,
    sending: asyncio.Future[int],
    estimator: throughput.Estimator,
    first: throughput.Sample,
    dst: str,
) -> throughput.Transfer:
    while True:
        await asyncio.sleep(estimator.interval_ns / 1e9)
        ended_early = sending.done() and sending.result() > 0
        sample = _sample(connection)
        if ended_early:
            raise ProbeFailed(f"{dst} closed the test connection after {sample.bytes_acked} bytes")
        estimate = estimator.add(sample)
        if estimate is not None:
            if estimate.reason == "quiet":
                raise ProbeFailed(f"{dst} acknowledged nothing for 300 ms; the test was stopped")
            name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            return throughput.Transfer(
                estimate=estimate,
                first=first,
                last=sample,
                congestion_control=name.rstrip(b"\0").decode(),
            )


def _fill(connection: socket.socket, max_bytes: int) -> int:
    """Send at most `max_bytes`, in a thread; give how many were left when the connection ended.

    What is sent is random: a path that compresses would carry zeros at a rate of its own.
    """
    chunk = memoryview(os.urandom(_CHUNK_BYTES))
    left = max_bytes
    try:
        while left > 0:
            left -= connection.send(chunk[:left])
    except OSError:
        return left
    return 0


def _sample(connection: socket.socket) -> throughput.Sample:
    raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_ASKED_BYTES)
    return throughput.Sample.from_tcp_info(raw, time.monotonic_ns())


def _shut_down(open_socket: socket.socket) -> None:
    """Wake whoever waits on a socket; its far end may be gone already."""
    try:
        open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
