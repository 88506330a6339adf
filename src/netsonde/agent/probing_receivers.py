"""The receivers that this host opens for tests towards it.

The one idea: a receiver is for whoever uses it. One that nobody uses gives its place back after a
moment, and who leaves such behind waits before the next, so a stranger who only asks keeps nobody
from measuring.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from netsonde.agent import probing_echo, probing_throughput
from netsonde.agent.probing_limits import Allowance, Reservation
from netsonde.model.errors import BadField, NotFound, TooLarge, Unavailable
from netsonde.probe import stamp
from netsonde.probe.budget import Cost
from netsonde.wire import peer

Kind = Literal["throughput", "echo"]

GRACE_MS = 1000
"""A receiver outlives the sending time it was asked for by this: set-up, round trips, the tail."""
UNUSED_S = 1.5
"""Seconds for the first probe, or the connection: src sends at once."""
PAUSE_S = 10.0
"""Seconds that a source waits which left a throughput receiver unused, or two in that time."""
USED_BYTES = 64 << 10
"""A throughput test that carries less was none."""
MAX_PAUSES = 256
"""Sources that are remembered; the longest ago gives way."""

_Receiver = probing_throughput.Receiver | probing_echo.Reflector


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    kind: Kind
    src: str
    receiver: _Receiver
    reservation: Reservation
    expiry: asyncio.TimerHandle
    unused: asyncio.TimerHandle
    most_bytes: int

    def stop_timers(self) -> None:
        """Wait for nothing any more."""
        self.expiry.cancel()
        self.unused.cancel()


class Receivers:
    """All open receivers of one host; called on one event loop."""

    def __init__(self, allowance: Allowance, threads: ThreadPoolExecutor) -> None:
        self._allowance = allowance
        self._limits = allowance.limits
        self._threads = threads
        self._open: dict[int, _Open] = {}
        self._ended: dict[int, tuple[str, int]] = {}
        """Port -> src and what came, of those that were unused; until src asks, or its time ends"""
        self._left_unused: dict[str, tuple[float, int]] = {}
        """Source -> when it last left a throughput receiver unused, and how often."""
        self.opened: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """Probe packets and connections left unanswered, by cause."""
        return sum((one.receiver.dropped for one in self._open.values()), self._dropped.copy())

    def count(self, kind: Kind) -> int:
        """Count the receivers of a kind that are open."""
        return sum(one.kind == kind for one in self._open.values())

    def open(self, request: peer.ProbeOpen, src: str) -> peer.ProbeOpened:
        """Open a receiver; raises BadField, TooLarge, Busy or Unavailable."""
        self._check(request)
        self._refuse(request.kind, src)
        busy_ns = request.max_ms * 1_000_000 if request.kind == "throughput" else 0
        most = Cost(sent_bytes=request.max_bytes, busy_ns=busy_ns)
        reservation = self._allowance.reserve(most)
        cookie = secrets.token_bytes(stamp.COOKIE_BYTES)
        try:
            receiver = self._receiver(request, src, cookie)
        except BaseException as error:
            self._allowance.settle(reservation)
            if isinstance(error, OSError):
                where = self._allowance.address
                why = f"cannot open a probe receiver at {where}: {error.strerror}"
                raise Unavailable(why) from None
            raise
        loop, lifetime_s = asyncio.get_running_loop(), (request.max_ms + GRACE_MS) / 1000
        self._ended.pop(receiver.port, None)
        self._open[receiver.port] = _Open(
            kind=request.kind,
            src=src,
            receiver=receiver,
            reservation=reservation,
            expiry=loop.call_later(lifetime_s, self._expire, receiver.port),
            unused=loop.call_later(UNUSED_S, self._end_unused, receiver.port, lifetime_s),
            most_bytes=request.max_bytes,
        )
        self.opened[request.kind] += 1
        return peer.ProbeOpened(id=request.id, port=receiver.port, cookie=cookie)

    async def close(self, request: peer.ProbeClose, src: str) -> peer.ProbeClosed:
        """Close the receiver that `src` opened and say what it saw; raises NotFound."""
        found = self._open.get(request.port)
        if found is not None and found.src == src:
            found.unused.cancel()
            await found.receiver.close()
            self._retire(request.port)
            return peer.ProbeClosed(id=request.id, received=found.receiver.received)
        before = self._ended.get(request.port)
        if before is None or before[0] != src:
            raise NotFound(f"no probe receiver of {src} is open on port {request.port}")
        del self._ended[request.port]
        return peer.ProbeClosed(id=request.id, received=before[1])

    async def close_all(self) -> None:
        """Close every receiver."""
        for port, found in list(self._open.items()):
            await found.receiver.close()
            self._retire(port)

    def _check(self, request: peer.ProbeOpen) -> None:
        limits = self._limits
        echo_bytes = limits.max_packets_per_s * limits.max_ms // 1000 * stamp.PACKET_BYTES
        max_bytes = limits.max_bytes if request.kind == "throughput" else echo_bytes
        for field, value, least, most in (
            ("max_ms", request.max_ms, 1, limits.max_ms),
            ("max_bytes", request.max_bytes, stamp.PACKET_BYTES, max_bytes),
        ):
            if not least <= value <= most:
                self._allowance.refused["over limits"] += 1
                wrong = TooLarge if value > most else BadField
                raise wrong(field, value, f"{least} to {most} at {self._allowance.address}")

    def _refuse(self, kind: Kind, src: str) -> None:
        """Raise Busy for a source that has its share, or has to wait."""
        if kind == "echo":
            share = max(1, self._limits.max_echo_tests // 2)
            if sum(one.src == src for one in self._open.values() if one.kind == kind) >= share:
                raise self._allowance.busy("busy", f"is in {share} echo tests of {src}", 1)
            return
        left_mono_s, times = self._left_unused.get(src, (0.0, 0))
        wait_s = left_mono_s + PAUSE_S - time.monotonic()
        if times > 1 and wait_s > 0:
            why = f"opened receivers for {src} that it did not use"
            raise self._allowance.busy("unused before", why, wait_s)

    def _receiver(self, request: peer.ProbeOpen, src: str, cookie: bytes) -> _Receiver:
        if request.kind == "echo":
            reflector = probing_echo.Reflector(
                address=self._allowance.address,
                src=src,
                cookie=cookie,
                max_packets=request.max_bytes // stamp.PACKET_BYTES,
                max_packets_per_s=self._limits.max_packets_per_s,
            )
            reflector.start()
            return reflector
        receiver = probing_throughput.Receiver(
            address=self._allowance.address,
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

    def _end_unused(self, port: int, lifetime_s: float) -> None:
        """Give the place of a receiver back that nobody has used, but not what it would say."""
        found = self._open[port]
        if found.receiver.used:
            return
        found.receiver.stop()
        self._retire(port, abandoned=True)
        self._ended[port] = (found.src, found.receiver.received)
        forget_s = max(0.0, lifetime_s - UNUSED_S)
        asyncio.get_running_loop().call_later(forget_s, self._ended.pop, port, None)

    def _retire(self, port: int, *, abandoned: bool = False) -> None:
        """Forget a receiver, but not what it cost and dropped; harmless when it is forgotten."""
        found = self._open.pop(port, None)
        if found is None:
            return
        found.stop_timers()
        receiver, reservation = found.receiver, found.reservation
        self._dropped.update(receiver.dropped)
        reservation.sent_bytes = receiver.carried_bytes
        if isinstance(receiver, probing_throughput.Receiver):
            if receiver.received >= min(USED_BYTES, found.most_bytes):
                reservation.busy_ns = min(receiver.busy_ns, reservation.taken.busy_ns)
                self._left_unused.pop(found.src, None)
            else:
                self._note_unused(found.src, 2 if abandoned or receiver.used else 1)
        self._allowance.settle(reservation)

    def _note_unused(self, src: str, times: int) -> None:
        now_s = time.monotonic()
        last_s, before = self._left_unused.pop(src, (now_s, 0))
        recent = before if now_s - last_s < PAUSE_S else 0
        if len(self._left_unused) >= MAX_PAUSES:
            del self._left_unused[next(iter(self._left_unused))]
        self._left_unused[src] = (now_s, recent + times)
