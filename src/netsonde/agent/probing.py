"""Active probes of this host: who may run one, for how long, and what came of it.

The one idea: both ends decide for themselves. src asks dst's agent over the control connection to
open a receiver for it alone, dst answers with a port and a cookie or refuses by its own limits, and
every receiver closes by itself. One throughput test at a time runs on a host, at either end of it,
because two would measure each other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from netsonde.agent import probing_echo, probing_throughput
from netsonde.agent.probing_limits import Allowance, Limits
from netsonde.agent.probing_receivers import GRACE_MS, Kind, Receivers
from netsonde.model import address as addresses
from netsonde.model.errors import NetsondeError, ProbeFailed
from netsonde.probe import checks, echo, report, stamp, throughput
from netsonde.probe.budget import Cost
from netsonde.wire import peer

Call = Callable[[peer.Message], Awaitable[peer.Message]]
"""Sends one request to dst's agent and gives its reply; sets the id; raises a NetsondeError when
the request is refused or the connection is lost."""

_MARGIN_S = 4.0
_CLOSE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberStatistics:
    """Counts since the start; each mapping holds only what happened."""

    measured: dict[str, int]
    """Tests begun as src, by kind."""
    opened: dict[str, int]
    """Receivers opened as dst, by kind."""
    refused: dict[str, int]
    """Tests not begun at this host, by cause: `busy`, `over limits`, `over budget` or `unused
    before`."""
    dropped: dict[str, int]
    """Probe packets and connections left unanswered, by cause."""
    left: Cost
    """What active tests may cost now, at either end."""


class Prober:
    """Runs tests from this host and opens receivers for tests towards it.

    Not thread-safe: everything is called on one event loop, inside `async with`.
    """

    def __init__(self, *, address: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._allowance = Allowance(address, limits)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="probe")
        self._receivers = Receivers(self._allowance, self._threads)
        self._running: list[Kind] = []
        self._measured: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        """Be ready; nothing listens until `open`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every receiver; tests from this host are their callers' to cancel."""
        await self._receivers.close_all()
        self._threads.shutdown(wait=False)

    def statistics(self) -> ProberStatistics:
        """Count what happened so far, open receivers included."""
        return ProberStatistics(
            measured=dict(self._measured),
            opened=dict(self._receivers.opened),
            refused=dict(self._allowance.refused),
            dropped=dict(self._dropped + self._receivers.dropped),
            left=self._allowance.left,
        )

    async def measure(self, kind: Kind, dst: str, call: Call) -> peer.ProbeResult:
        """Measure the path from here to `dst`; the result's id is 0.

        Ends within the limits' time and 5 s. Raises BadField for an address that cannot be a host,
        Busy when either end is at a limit or has spent its budget, ProbeFailed when there is no
        trustworthy answer or none that can be true, and what `call` raises.
        """
        addresses.host("dst", dst)
        run = self._measure_throughput if kind == "throughput" else self._measure_echo
        try:
            with self._slot(kind):
                async with asyncio.timeout(self._limits.max_ms / 1000 + _MARGIN_S):
                    result = await run(dst, call)
        except TimeoutError:
            raise ProbeFailed(f"the {kind} test to {dst} did not end in its time") from None
        except OSError as error:  # no descriptor, no memory, no address
            raise ProbeFailed(
                f"the {kind} test to {dst} cannot be made from {self._address}: {error.strerror}"
            ) from None
        checks.check_result(result)
        return result

    async def open(self, request: peer.ProbeOpen, src: str) -> peer.ProbeOpened:
        """Open a receiver for `src`, the far end of the connection that the request came on.

        It closes by itself `GRACE_MS` after the time asked for. Raises BadField, TooLarge, Busy or
        Unavailable; then nothing was opened.
        """
        self._refuse_when_busy(request.kind, self._receivers.count(request.kind))
        return self._receivers.open(request, src)

    async def close(self, request: peer.ProbeClose, src: str) -> peer.ProbeClosed:
        """Close the receiver that `src` opened and say what it saw; raises NotFound."""
        return await self._receivers.close(request, src)

    async def _measure_throughput(self, dst: str, call: Call) -> peer.ProbeResult:
        limits = self._limits
        with self._allowance.reserved(limits.longest) as cost:
            self._measured["throughput"] += 1
            opened = await _open_at(call, "throughput", limits.max_ms, limits.max_bytes)
            try:
                transfer = await probing_throughput.transfer(
                    address=self._address,
                    dst=dst,
                    port=opened.port,
                    cookie=opened.cookie,
                    plan=throughput.Plan(
                        max_ns=limits.max_ms * 1_000_000, max_bytes=limits.max_bytes
                    ),
                    threads=self._threads,
                    cost=cost,
                )
            finally:
                received = await _close_at(call, opened.port)
        if received is not None:
            checks.check_received(received, least=0, most=limits.max_bytes)
        return report.throughput_result(transfer, received)

    async def _measure_echo(self, dst: str, call: Call) -> peer.ProbeResult:
        limits = self._limits
        schedule = echo.Schedule.within(
            max_ms=limits.max_ms, max_packets_per_s=limits.max_packets_per_s
        )
        most_bytes = schedule.count * stamp.PACKET_BYTES
        with self._allowance.reserved(Cost(sent_bytes=most_bytes)) as cost:
            self._measured["echo"] += 1
            opened = await _open_at(call, "echo", schedule.duration_ms, most_bytes)
            cost.sent_bytes = most_bytes
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
        result = exchange.result(received, clock_shift_ns=clock_shift_ns)
        if received is not None:
            checks.check_received(received, least=result.returned, most=result.sent)
        return report.echo_result(result)

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
            busy = self._running.count(kind) + self._receivers.count(kind) > 0
        else:
            busy = same_role >= self._limits.max_echo_tests
        if busy:
            longest_s = (self._limits.max_ms + GRACE_MS) / 1000
            most = "a throughput test" if kind == "throughput" else f"{same_role} echo tests"
            raise self._allowance.busy("busy", f"is in {most}", longest_s)


async def _open_at(call: Call, kind: Kind, max_ms: int, max_bytes: int) -> peer.ProbeOpened:
    reply = await call(peer.ProbeOpen(id=0, kind=kind, max_ms=max_ms, max_bytes=max_bytes))
    if not isinstance(reply, peer.ProbeOpened):
        raise ProbeFailed(f"dst answered a request to open a receiver with {type(reply).__name__}")
    checks.check_opened(reply)
    return reply


async def _close_at(call: Call, port: int) -> int | None:
    """Close dst's receiver and give its count; None when dst does not say, as it closes anyway."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            reply = await call(peer.ProbeClose(id=0, port=port))
    except (NetsondeError, TimeoutError):
        return None
    return reply.received if isinstance(reply, peer.ProbeClosed) else None
