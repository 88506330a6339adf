"""Active measurement between any two hosts: run where the path begins, steered over the overlay.

Whoever is asked finds the agent of `src`; that one opens a receiver at the agent of `dst` over a
connection of its own and measures. Nothing of it passes through the tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from netsonde.agent.peer_server import Inbound
from netsonde.agent.peers import Dialer, Garbled, Reply, Request
from netsonde.model.address import host
from netsonde.model.errors import BadField, Busy, ProbeFailed, ProtocolError
from netsonde.probe import checks
from netsonde.wire import peer

MAX_PROBES = 8
"""Measurements that one agent runs or waits for at a time."""
MARGIN_S = 6.0
"""Seconds a measurement may take beyond its own limit: connecting, opening, closing."""

Kind = Literal["throughput", "echo"]
Call = Callable[[peer.Message], Awaitable[peer.Message]]


class Measures(Protocol):
    """What runs the measurements on this host: `probing.Prober`."""

    async def measure(self, kind: Kind, dst: str, call: Call) -> peer.ProbeResult:
        """Measure from here to dst, steering dst's agent by `call`."""

    async def open(self, request: peer.ProbeOpen, src: str) -> peer.ProbeOpened:
        """Open a receiver for src."""

    async def close(self, request: peer.ProbeClose, src: str) -> peer.ProbeClosed:
        """Close it and tell what it saw."""


class Paths:
    """Measures paths, its own and those it is asked for."""

    def __init__(self, *, own: str, prober: Measures, dialer: Dialer, max_ms: int) -> None:
        self._own = own
        self._prober = prober
        self._dialer = dialer
        self._limit_s = max_ms / 1000 + MARGIN_S
        self._running = 0

    async def measure(self, kind: Kind, src: str, dst: str) -> peer.ProbeResult:
        """Measure the path from src to dst.

        Raises Unavailable when one of their agents cannot be reached, Busy when this agent or one
        of them runs too much already, ProbeFailed when no trustworthy answer came in time.
        """
        if self._running >= MAX_PROBES:
            raise Busy(f"{MAX_PROBES} measurements are running; try again later")
        self._running += 1
        try:
            async with asyncio.timeout(self._limit_s):
                return await (
                    self._from_here(kind, dst)
                    if src == self._own
                    else self._from_there(kind, src, dst)
                )
        except Garbled as error:  # such as figures that are none: no measurement
            raise ProbeFailed(str(error)) from None
        except TimeoutError:
            raise ProbeFailed(
                f"the path from {src} to {dst} gave no answer within {self._limit_s:.0f} s"
            ) from None
        finally:
            self._running -= 1

    async def handle(
        self, request: peer.ProbeRun | peer.ProbeOpen | peer.ProbeClose, inbound: Inbound
    ) -> Reply:
        """Serve another agent's measurement."""
        if isinstance(request, peer.ProbeOpen):
            return await self._prober.open(request, inbound.name)
        if isinstance(request, peer.ProbeClose):
            return await self._prober.close(request, inbound.name)
        if request.src != self._own or host("dst", request.dst) == self._own:
            raise BadField("src", request.src, f"{self._own} itself, and another host as dst")
        return await self.measure(request.kind, request.src, request.dst)

    async def _from_here(self, kind: Kind, dst: str) -> peer.ProbeResult:
        async with self._dialer.dial(dst) as (connection, _):

            async def call(message: peer.Message) -> peer.Message:
                if not isinstance(message, Request):
                    raise ProtocolError(f"{type(message).__name__} is not a request")
                return await connection.exchange(message)

            return await self._prober.measure(kind, dst, call)

    async def _from_there(self, kind: Kind, src: str, dst: str) -> peer.ProbeResult:
        async with self._dialer.dial(src) as (connection, _):
            run = peer.ProbeRun(id=0, kind=kind, src=src, dst=dst)
            result = await connection.call(run, peer.ProbeResult)
        checks.check_result(result)
        return result
