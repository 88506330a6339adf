"""TCP goodput from samples of one connection, and when it is known well enough to stop.

The one idea: the kernel's own count of acknowledged bytes, cut into batches longer than a few
round trips, gives nearly independent readings of the rate. The ramp (slow start) is dropped, and
the test ends as soon as the rest agrees with itself, so that a fast path costs megabytes and not
seconds. Throughput of one flow is what an application gets; it is not the available bandwidth.
"""

from __future__ import annotations

import math
import statistics
import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from netsonde.model.errors import UnsupportedByKernel

SAMPLE_INTERVAL_NS = 20_000_000
EARLY_SAMPLE_INTERVAL_NS = 5_000_000
"""Until `FLOOR_NS`: on a fast path the byte cap may end the test after a few tens of ms."""
FLOOR_NS = 350_000_000
"""No test ends earlier by its own decision: seven batches, of which five remain after a ramp."""
QUIET_NS = 300_000_000
"""A path that acknowledges nothing for so long (or for one batch, if that is longer) is dead."""

_BATCH_NS = 50_000_000
_ROUND_TRIPS_A_BATCH = 4
_MIN_BATCHES = 5
_BATCHES_IN_FLOOR = 7
_RAMP_SHARE = 0.8
_TARGET_HALF_WIDTH = 0.04
_STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)

TCP_INFO_BYTES = 216
"""Prefix of `struct tcp_info` that is read (Linux 4.19 and later give at least this)."""
_RTT_US = struct.Struct("=68xI")
_BYTES_ACKED = struct.Struct("=120xQ")
_MIN_RTT_US = struct.Struct("=148xI")
_BYTES_SENT_AND_RETRANSMITTED = struct.Struct("=200xQQ")
_MIN_RTT_UNKNOWN = 0xFFFFFFFF

Reason = Literal["converged", "time", "bytes", "quiet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the sender's kernel knew about the connection at one moment."""

    mono_ns: int
    bytes_acked: int
    """Payload bytes the far end acknowledged since the connection began."""
    rtt_us: int = 0
    """Smoothed round trip, queues included."""
    min_rtt_us: int | None = None
    bytes_sent: int = 0
    """Payload bytes put on the wire, retransmissions included."""
    bytes_retransmitted: int = 0

    @classmethod
    def from_tcp_info(cls, raw: bytes, mono_ns: int) -> Sample:
        """Read `getsockopt(TCP_INFO)` (linux/tcp.h); raises UnsupportedByKernel when too short."""
        if len(raw) < TCP_INFO_BYTES:
            raise UnsupportedByKernel(
                f"TCP_INFO has {len(raw)} bytes, Linux 4.19 or later gives {TCP_INFO_BYTES}"
            )
        (min_rtt_us,) = _MIN_RTT_US.unpack_from(raw)
        sent, retransmitted = _BYTES_SENT_AND_RETRANSMITTED.unpack_from(raw)
        return cls(
            mono_ns=mono_ns,
            bytes_acked=_BYTES_ACKED.unpack_from(raw)[0],
            rtt_us=_RTT_US.unpack_from(raw)[0],
            min_rtt_us=None if min_rtt_us == _MIN_RTT_UNKNOWN else min_rtt_us,
            bytes_sent=sent,
            bytes_retransmitted=retransmitted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Caps of one test."""

    max_ns: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The end of a test; a figure that was not measured is None, never 0."""

    goodput_bytes_per_s: float | None
    ci_bytes_per_s: float | None
    """Half-width of the 95 % confidence interval (Student's t over the batches)."""
    batches: int
    """Batches after the ramp."""
    reason: Reason
    """What ended the test."""

    @property
    def converged(self) -> bool:
        """Whether the interval was narrow enough before any cap was reached."""
        return self.reason == "converged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A test that ended, and what its connection went through."""

    estimate: Estimate
    first: Sample
    last: Sample
    congestion_control: str

    @property
    def bytes_acked(self) -> int:
        """Payload the far end acknowledged during the test."""
        return self.last.bytes_acked - self.first.bytes_acked

    @property
    def elapsed_ms(self) -> float:
        """Time from the first sample to the last."""
        return (self.last.mono_ns - self.first.mono_ns) / 1e6


class Estimator:
    """Fed with the samples of one test, in order; holds at most as many as `Plan.max_ns` allows."""

    def __init__(self, plan: Plan, first: Sample) -> None:
        self._plan = plan
        self._samples = [first]
        self._progress_mono_ns = first.mono_ns

    @property
    def interval_ns(self) -> int:
        """Time after which the next sample is wanted."""
        early = self._samples[-1].mono_ns - self._samples[0].mono_ns < FLOOR_NS
        return EARLY_SAMPLE_INTERVAL_NS if early else SAMPLE_INTERVAL_NS

    def add(self, sample: Sample) -> Estimate | None:
        """Take the next sample; None means go on, an estimate means stop sending now."""
        first, last = self._samples[0], self._samples[-1]
        if sample.bytes_acked > last.bytes_acked:
            self._progress_mono_ns = sample.mono_ns
        self._samples.append(sample)
        elapsed_ns = sample.mono_ns - first.mono_ns
        if sample.mono_ns - self._progress_mono_ns >= max(QUIET_NS, self._batch_ns(sample)):
            return Estimate(
                goodput_bytes_per_s=None, ci_bytes_per_s=None, batches=0, reason="quiet"
            )
        if sample.bytes_acked - first.bytes_acked >= self._plan.max_bytes:
            return self._at_byte_cap()
        if elapsed_ns >= self._plan.max_ns:
            return self._estimate("time")
        if elapsed_ns < FLOOR_NS:
            return None
        estimate = self._estimate("converged")
        return estimate if _narrow_enough(estimate) else None

    def _at_byte_cap(self) -> Estimate:
        """Leave out the last sample: the bytes ran out at an unknown moment before it."""
        if len(self._samples) > 2:
            self._samples.pop()
        return self._estimate("bytes")

    def _batch_ns(self, sample: Sample) -> int:
        return max(_BATCH_NS, _round_trips_ns(sample))

    def _estimate(self, reason: Reason) -> Estimate:
        last = self._samples[-1]
        elapsed_ns = last.mono_ns - self._samples[0].mono_ns
        batch_ns = self._batch_ns(last)
        if elapsed_ns < FLOOR_NS:
            shortest_ns = max(_round_trips_ns(last), EARLY_SAMPLE_INTERVAL_NS)
            batch_ns = max(elapsed_ns // _BATCHES_IN_FLOOR, shortest_ns)
        steady = _without_ramp(_rates(self._samples, batch_ns))
        empty = Estimate(goodput_bytes_per_s=None, ci_bytes_per_s=None, batches=0, reason=reason)
        mean = statistics.fmean(steady) if steady else 0.0
        if mean <= 0:
            return empty
        known = replace(empty, goodput_bytes_per_s=mean, batches=len(steady))
        if len(steady) < 2:
            return known
        error = statistics.stdev(steady) / math.sqrt(len(steady))
        return replace(known, ci_bytes_per_s=_student_95(len(steady) - 1) * error)


def _round_trips_ns(sample: Sample) -> int:
    return _ROUND_TRIPS_A_BATCH * 1000 * (sample.min_rtt_us or 0)


def _rates(samples: Sequence[Sample], batch_ns: int) -> list[float]:
    """Bytes per second of consecutive batches, counted back from the last sample."""
    last = samples[-1].mono_ns
    count = (last - samples[0].mono_ns) // batch_ns
    times = [sample.mono_ns for sample in samples]
    edges = [_acked_at(samples, times, last - batch_ns * i) for i in range(count, -1, -1)]
    return [(b - a) * 1e9 / batch_ns for a, b in pairwise(edges)]


def _acked_at(samples: Sequence[Sample], times: Sequence[int], mono_ns: int) -> float:
    """Interpolate the acknowledged bytes between the two samples around a moment."""
    after = max(1, bisect_left(times, mono_ns))
    a, b = samples[after - 1], samples[after]
    share = (mono_ns - a.mono_ns) / max(1, b.mono_ns - a.mono_ns)
    return a.bytes_acked + share * (b.bytes_acked - a.bytes_acked)


def _without_ramp(rates: Sequence[float]) -> Sequence[float]:
    """Drop what comes before the first batch near the later half's median, and that batch too.

    That batch may still hold the end of the ramp; it stays when nothing else would.
    """
    if not rates:
        return rates
    typical = statistics.median(rates[len(rates) // 2 :])
    reached = next((i for i, rate in enumerate(rates) if rate >= _RAMP_SHARE * typical), 0)
    return rates[reached + 1 :] or rates[reached:]


def _narrow_enough(estimate: Estimate) -> bool:
    """Stop rule: two standard errors below 4 % of the mean, from at least five batches."""
    if estimate.goodput_bytes_per_s is None or estimate.ci_bytes_per_s is None:
        return False
    if estimate.batches < _MIN_BATCHES:
        return False
    two_errors = 2 * estimate.ci_bytes_per_s / _student_95(estimate.batches - 1)
    return two_errors < _TARGET_HALF_WIDTH * estimate.goodput_bytes_per_s


def _student_95(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t, within 0.5 % beyond the table."""
    table = len(_STUDENT_95)
    return _STUDENT_95[freedom - 1] if freedom <= table else 1.96 + 2.6 / freedom
