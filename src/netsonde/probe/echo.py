"""Delay, jitter and loss from an exchange of STAMP packets: both ends as step functions.

The one idea: four timestamps a packet (T1 sent, T2 reached dst, T3 left dst, T4 came back) of two
clocks that need not agree. Round-trip delay is (T4-T1)-(T3-T2) and jitter uses differences of
T2-T1, so the offset between the clocks cancels in both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from netsonde.model.errors import ProtocolError
from netsonde.probe import stamp

Drop = Literal["malformed", "wrong cookie", "over budget"]
"""Why a packet that reached us was not used."""

STAMP_ERROR_NS = 100_000
"""Stated error of a timestamp against its own clock: a software stamp on a busy host."""
MAX_CLOCK_SHIFT_NS = 2_000_000
"""Most that wall and monotonic clock may part during a test; slewing by NTP stays below it."""
_ERROR_ESTIMATE = stamp.error_estimate(STAMP_ERROR_NS, synchronized=False)
_BURST_PACKETS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When probes leave: evenly spaced."""

    count: int = 100
    interval_ns: int = 10_000_000

    @classmethod
    def within(cls, *, max_ms: int, max_packets_per_s: int) -> Schedule:
        """Give the default schedule, slower and shorter where limits ask for it."""
        interval_ns = max(cls().interval_ns, -(-1_000_000_000 // max_packets_per_s))
        count = max(1, min(cls().count, max_ms * 1_000_000 // interval_ns))
        return cls(count=count, interval_ns=interval_ns)

    def due_ns(self, sequence: int) -> int:
        """Time from the start of the test at which a probe leaves."""
        return sequence * self.interval_ns

    @property
    def duration_ms(self) -> int:
        """Time in which all probes leave, rounded up."""
        return -(-self.count * self.interval_ns // 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one exchange showed; a figure that was not measured is None, never 0."""

    sent: int
    received: int | None
    """Distinct probes that reached dst, by its own count."""
    returned: int
    """Distinct probes whose reply came back."""
    delay_ms: float | None
    """Median round-trip delay without the reflector's own time (RFC 2681)."""
    delay_p99_ms: float | None
    jitter_ms: float | None
    """Interarrival jitter src to dst (RFC 3550 §6.4.1); only the sender's half of the path."""
    duplicates: int
    """Replies beyond the first to the same probe."""
    reordered: int
    """Replies that came back after the reply to a later probe."""
    unstamped: int
    """Returned probes of which src's kernel did not stamp both T1 and T4."""
    clock_set: bool
    """Whether src's wall clock was set during the test; then no time is given."""


@dataclass(slots=True)
class _Returned:
    order: int
    t2_ns: int
    t3_ns: int
    t4_ns: int
    stamped: bool


class Exchange:
    """The sender's side; memory is bounded by the schedule's count."""

    def __init__(self, schedule: Schedule, cookie: bytes) -> None:
        self._schedule = schedule
        self._cookie = cookie
        self._t1_ns: dict[int, int] = {}
        self._kernel_t1_ns: dict[int, int] = {}
        self._returned: dict[int, _Returned] = {}
        self._latest = -1
        self._duplicates = 0
        self._reordered = 0

    @property
    def complete(self) -> bool:
        """Whether every scheduled probe came back."""
        return len(self._returned) == self._schedule.count

    def probe(self, sequence: int, now_wall_ns: int) -> bytes:
        """Give the packet to send now."""
        self._t1_ns[sequence] = now_wall_ns
        return stamp.Probe(
            sequence=sequence,
            sent_wall_ns=now_wall_ns,
            error_estimate=_ERROR_ESTIMATE,
            cookie=self._cookie,
        ).encode()

    def unsent(self, sequence: int) -> None:
        """Take back a probe that the kernel refused."""
        del self._t1_ns[sequence]

    def stamped(self, sequence: int, sent_wall_ns: int) -> None:
        """Note the kernel's own time of a probe's departure; it replaces the one in the packet."""
        if sequence in self._t1_ns:
            self._kernel_t1_ns[sequence] = sent_wall_ns

    def reply(self, datagram: bytes, arrived_wall_ns: int, *, stamped: bool) -> Drop | None:
        """Take a packet from dst; `stamped` says that the time is the kernel's."""
        try:
            reply = stamp.Reply.decode(datagram)
        except ProtocolError:
            return "malformed"
        if reply.cookie != self._cookie or reply.probe_sequence not in self._t1_ns:
            return "wrong cookie"
        if reply.probe_sequence in self._returned:
            self._duplicates += 1
            return None
        self._reordered += reply.probe_sequence < self._latest
        self._latest = max(self._latest, reply.probe_sequence)
        self._returned[reply.probe_sequence] = _Returned(
            order=reply.sequence,
            t2_ns=reply.received_wall_ns,
            t3_ns=reply.sent_wall_ns,
            t4_ns=arrived_wall_ns,
            stamped=stamped,
        )
        return None

    def result(self, received: int | None, *, clock_shift_ns: int = 0) -> Result:
        """Sum up.

        `received` is dst's count, None when it could not be had. `clock_shift_ns` is how far
        src's wall clock moved against its monotonic clock: beyond `MAX_CLOCK_SHIFT_NS` it was
        set during the test and no time is given.
        """
        timed = abs(clock_shift_ns) <= MAX_CLOCK_SHIFT_NS
        delays = sorted(self._delays_ns()) if timed else []
        return Result(
            sent=len(self._t1_ns),
            received=received,
            returned=len(self._returned),
            delay_ms=statistics.median(delays) / 1e6 if delays else None,
            delay_p99_ms=delays[math.ceil(len(delays) * 0.99) - 1] / 1e6 if delays else None,
            jitter_ms=jitter_ms(self._transits_ns()) if timed else None,
            duplicates=self._duplicates,
            reordered=self._reordered,
            unstamped=sum(
                not (r.stamped and s in self._kernel_t1_ns) for s, r in self._returned.items()
            ),
            clock_set=not timed,
        )

    def _departed_ns(self, sequence: int) -> int:
        return self._kernel_t1_ns.get(sequence, self._t1_ns[sequence])

    def _delays_ns(self) -> list[int]:
        """List the delays, less those that show a clock was set between two stamps."""
        delays = []
        for sequence, r in self._returned.items():
            delay = (r.t4_ns - self._departed_ns(sequence)) - (r.t3_ns - r.t2_ns)
            if delay >= 0 and r.t3_ns >= r.t2_ns:
                delays.append(delay)
        return delays

    def _transits_ns(self) -> list[int]:
        """List T2-T1 in the order of arrival at dst, which its own sequence numbers tell."""
        arrived = sorted(self._returned.items(), key=lambda item: item[1].order)
        return [r.t2_ns - self._departed_ns(sequence) for sequence, r in arrived]


def jitter_ms(transits_ns: Sequence[int]) -> float | None:
    """Smooth the differences of one-way transit times as RFC 3550 §6.4.1; None below two.

    The filter starts at 0 and forgets with 15/16 a packet, so it reads low below about 50 packets.
    """
    if len(transits_ns) < 2:
        return None
    jitter_ns = 0.0
    for before, after in pairwise(transits_ns):
        jitter_ns += (abs(after - before) - jitter_ns) / 16
    return jitter_ns / 1e6


class Reflector:
    """The far side: a stateful Session-Reflector (RFC 8762 §4.3) for one cookie.

    Answers at most `max_packets` packets in all, and at any time no more than a small burst above
    `max_packets_per_s`; memory is bounded by `max_packets`.
    """

    def __init__(
        self,
        *,
        cookie: bytes,
        max_packets: int,
        max_packets_per_s: int,
        opened_mono_ns: int,
        clock_wall_ns: Callable[[], int],
    ) -> None:
        self._cookie = cookie
        self._max_packets = max_packets
        self._max_packets_per_s = max_packets_per_s
        self._opened_mono_ns = opened_mono_ns
        self._clock_wall_ns = clock_wall_ns
        self._seen: set[int] = set()
        self._replies = 0

    @property
    def received(self) -> int:
        """Distinct probes that came with the right cookie, answered or not."""
        return len(self._seen)

    @property
    def answered(self) -> int:
        """Replies that were given to be sent."""
        return self._replies

    def handle(
        self, datagram: bytes, *, received_wall_ns: int, ttl: int, now_mono_ns: int
    ) -> bytes | Drop:
        """Take a packet from src; give the reply to send at once, or why there is none."""
        try:
            probe = stamp.Probe.decode(datagram)
        except ProtocolError:
            return "malformed"
        if probe.cookie != self._cookie:
            return "wrong cookie"
        if probe.sequence >= self._max_packets:
            return "over budget"
        self._seen.add(probe.sequence)
        if self._replies >= min(self._max_packets, self._allowed(now_mono_ns)):
            return "over budget"
        self._replies += 1
        return stamp.reflect(
            probe,
            sequence=self._replies - 1,
            received_wall_ns=received_wall_ns,
            ttl=ttl,
            error_estimate=_ERROR_ESTIMATE,
            clock_wall_ns=self._clock_wall_ns,
        )

    def _allowed(self, now_mono_ns: int) -> int:
        elapsed_ns = now_mono_ns - self._opened_mono_ns
        return _BURST_PACKETS + elapsed_ns * self._max_packets_per_s // 1_000_000_000
