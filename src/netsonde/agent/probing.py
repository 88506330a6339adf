"""Active probes of this host: who may run one, for how long, and what came of it.

The one idea: both ends decide for themselves. src asks dst's agent over the control connection to
open a receiver for it alone, dst answers with a port and a cookie or refuses by its own limits, and
every receiver closes by itself. One throughput test at a time runs on a host, at either end of it,
because two would measure each other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

from netsonde.agent import probing_echo, probing_throughput
from netsonde.model import address as addresses
from netsonde.model.errors import (
    BadField,
    Busy,
    NetsondeError,
    NotFound,
    ProbeFailed,
    TooLarge,
    Unavailable,
)
from netsonde.probe import echo, report, stamp, throughput
from netsonde.wire import peer

Kind = Literal["throughput", "echo"]
Call = Callable[[peer.Message], Awaitable[peer.Message]]
"""Sends one request to dst's agent and gives its reply; sets the id; raises a NetsondeError when
the request is refused or the connection is lost."""

GRACE_MS = 1000
"""A receiver outlives the sending time it was asked for by this: set-up, round trips, the tail."""

_MARGIN_S = 4.0
_CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this host allows, whoever asks."""

    max_bytes: int = 250_000_000
    """Payload of one throughput test."""
    max_ms: int = 3000
    """Sending time of one test."""
    max_packets_per_s: int = 1000
    """Probes of one echo test, sent or answered."""
    max_echo_tests: int = 8
    """Echo tests at once, counted apart as src and as dst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberStatistics:
    """Counts since the start; each mapping holds only what happened."""

    measured: dict[str, int]
    """Tests begun as src, by kind."""
    opened: dict[str, int]
    """Receivers opened as dst, by kind."""
    refused: dict[str, int]
    """Tests not begun at this host, by cause: `busy` or `over limits`."""
    dropped: dict[str, int]
    """Probe packets and connections left unanswered, by cause."""


_Receiver = probing_throughput.Receiver | probing_echo.Reflector


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    kind: Kind
    src: str
    receiver: _Receiver
    expiry: asyncio.TimerHandle


class Prober:
    """Runs tests from this host and opens receivers for tests towards it.

    Not thread-safe: everything is called on one event loop, inside `async with`.
    """

    def __init__(self, *, address: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._open: dict[int, _Open] = {}
        self._running: list[Kind] = []
        self._measured: Counter[str] = Counter()
        self._opened: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="probe")

    async def __aenter__(self) -> Self:
        """Be ready; nothing listens until `open`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every receiver; tests from this host are their callers' to cancel."""
        for port, found in list(self._open.items()):
            await found.receiver.close()
            self._retire(port)
        self._threads.shutdown(wait=False)

    def statistics(self) -> ProberStatistics:
        """Count what happened so far, open receivers included."""
        dropped = sum((o.receiver.dropped for o in self._open.values()), self._dropped.copy())
        return ProberStatistics(
            measured=dict(self._measured),
            opened=dict(self._opened),
            refused=dict(self._refused),
            dropped=dict(dropped),
        )

    async def measure(self, kind: Kind, dst: str, call: Call) -> peer.ProbeResult:
        """Measure the path from here to `dst`; the result's id is 0.

        Ends within the limits' time and 5 s. Raises BadField for an address that cannot be a host,
        Busy when either end is at its limit, ProbeFailed when there is no trustworthy answer, and
        what `call` raises.
        """
        addresses.host("dst", dst)
        run = self._measure_throughput if kind == "throughput" else self._measure_echo
        try:
            with self._slot(kind):
                self._measured[kind] += 1
                async with asyncio.timeout(self._limits.max_ms / 1000 + _MARGIN_S):
                    return await run(dst, call)
        except TimeoutError:
            raise ProbeFailed(f"the {kind} test to {dst} did not end in its time") from None

    async def open(self, request: peer.ProbeOpen, src: str) -> peer.ProbeOpened:
        """Open a receiver for `src`, the far end of the connection that the request came on.

        It closes by itself `GRACE_MS` after the time asked for. Raises BadField, TooLarge, Busy or
        Unavailable; then nothing was opened.
        """
        self._check(request)
        self._refuse_when_busy(request.kind, len(self._receivers(request.kind)))
        cookie = secrets.token_bytes(stamp.COOKIE_BYTES)
        try:
            receiver = self._receiver(request, src, cookie)
        except OSError as error:
            raise Unavailable(
                f"cannot open a probe receiver at {self._address}: {error.strerror}"
            ) from None
        lifetime_s = (request.max_ms + GRACE_MS) / 1000
        expiry = asyncio.get_running_loop().call_later(lifetime_s, self._expire, receiver.port)
        self._open[receiver.port] = _Open(
            kind=request.kind, src=src, receiver=receiver, expiry=expiry
        )
        self._opened[request.kind] += 1
        return peer.ProbeOpened(id=request.id, port=receiver.port, cookie=cookie)

    async def close(self, request: peer.ProbeClose, src: str) -> peer.ProbeClosed:
        """Close the receiver that `src` opened and say what it saw; raises NotFound."""
        found = self._open.get(request.port)
        if found is None or found.src != src:
            raise NotFound(f"no probe receiver of {src} is open on port {request.port}")
        await found.receiver.close()
        self._retire(request.port)
        return peer.ProbeClosed(id=request.id, received=found.receiver.received)

    async def _measure_throughput(self, dst: str, call: Call) -> peer.ProbeResult:
        limits = self._limits
        opened = await _open_at(call, "throughput", limits.max_ms, limits.max_bytes)
        try:
            transfer = await probing_throughput.transfer(
                address=self._address,
                dst=dst,
                port=opened.port,
                cookie=opened.cookie,
                plan=throughput.Plan(max_ns=limits.max_ms * 1_000_000, max_bytes=limits.max_bytes),
                threads=self._threads,
            )
        finally:
            received = await _close_at(call, opened.port)
        return report.throughput_result(transfer, received)

    async def _measure_echo(self, dst: str, call: Call) -> peer.ProbeResult:
        limits = self._limits
        schedule = echo.Schedule.within(
            max_ms=limits.max_ms, max_packets_per_s=limits.max_packets_per_s
        )
        opened = await _open_at(
            call, "echo", schedule.duration_ms, schedule.count * stamp.PACKET_BYTES
        )
        try:
            exchange, clock_shift_ns = await probing_echo.exchange(
                address=self._address,
                dst=dst,
                port=opened.port,
                cookie=opened.cookie,
                schedule=schedule,
                dropped=self._dropped,
            )
        finally:
            received = await _close_at(call, opened.port)
        return report.echo_result(exchange.result(received, clock_shift_ns=clock_shift_ns))

    @contextmanager
    def _slot(self, kind: Kind) -> Iterator[None]:
        """Hold a place among the tests that run from here; raises Busy."""
        self._refuse_when_busy(kind, self._running.count(kind))
        self._running.append(kind)
        try:
            yield
        finally:
            self._running.remove(kind)

    def _refuse_when_busy(self, kind: Kind, same_role: int) -> None:
        """Raise Busy when one more test of a kind would be over the limit of this host."""
        if kind == "throughput":
            busy = self._running.count(kind) + len(self._receivers(kind)) > 0
        else:
            busy = same_role >= self._limits.max_echo_tests
        if busy:
            self._refused["busy"] += 1
            longest_s = (self._limits.max_ms + GRACE_MS) / 1000
            most = "a throughput test" if kind == "throughput" else f"{same_role} echo tests"
            raise Busy(f"{self._address} is in {most}; try again within {longest_s:g} s")

    def _check(self, request: peer.ProbeOpen) -> None:
        limits = self._limits
        echo_bytes = limits.max_packets_per_s * limits.max_ms // 1000 * stamp.PACKET_BYTES
        max_bytes = limits.max_bytes if request.kind == "throughput" else echo_bytes
        for field, value, least, most in (
            ("max_ms", request.max_ms, 1, limits.max_ms),
            ("max_bytes", request.max_bytes, stamp.PACKET_BYTES, max_bytes),
        ):
            if not least <= value <= most:
                self._refused["over limits"] += 1
                wrong = TooLarge if value > most else BadField
                raise wrong(field, value, f"{least} to {most} at {self._address}")

    def _receivers(self, kind: Kind) -> list[_Receiver]:
        return [o.receiver for o in self._open.values() if o.kind == kind]

    def _receiver(self, request: peer.ProbeOpen, src: str, cookie: bytes) -> _Receiver:
        if request.kind == "echo":
            reflector = probing_echo.Reflector(
                address=self._address,
                src=src,
                cookie=cookie,
                max_packets=request.max_bytes // stamp.PACKET_BYTES,
                max_packets_per_s=self._limits.max_packets_per_s,
            )
            reflector.start()
            return reflector
        receiver = probing_throughput.Receiver(
            address=self._address,
            src=src,
            cookie=cookie,
            lifetime_ms=request.max_ms + GRACE_MS,
            max_bytes=request.max_bytes,
        )
        receiver.start(self._threads)
        return receiver

    def _expire(self, port: int) -> None:
        self._open[port].receiver.stop()
        self._retire(port)

    def _retire(self, port: int) -> None:
        """Forget a receiver, but not what it dropped; harmless when it is forgotten."""
        found = self._open.pop(port, None)
        if found is not None:
            found.expiry.cancel()
            self._dropped.update(found.receiver.dropped)


async def _open_at(call: Call, kind: Kind, max_ms: int, max_bytes: int) -> peer.ProbeOpened:
    reply = await call(peer.ProbeOpen(id=0, kind=kind, max_ms=max_ms, max_bytes=max_bytes))
    if not isinstance(reply, peer.ProbeOpened) or len(reply.cookie) != stamp.COOKIE_BYTES:
        raise ProbeFailed(f"dst answered a request to open a receiver with {type(reply).__name__}")
    return reply


async def _close_at(call: Call, port: int) -> int | None:
    """Close dst's receiver and give its count; None when dst does not say, as it closes anyway."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            reply = await call(peer.ProbeClose(id=0, port=port))
    except (NetsondeError, TimeoutError):
        return None
    return reply.received if isinstance(reply, peer.ProbeClosed) else None
