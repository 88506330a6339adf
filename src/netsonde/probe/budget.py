"""What active tests may cost a host: so many bytes and so much time for each hour.

The one idea: a bucket that holds an hour's worth and fills at that rate. A test takes its most when
it begins and gives back what it did not use, so in any time t no more is spent than an hour's worth
and t's share of one. Whole numbers throughout, so nothing is lost to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a test may use, or has used."""

    sent_bytes: int = 0
    busy_ns: int = 0
    """Time during which it fills a path."""


class Bucket:
    """One quantity."""

    def __init__(self, per_hour: int, now_mono_ns: int) -> None:
        """Begin full."""
        self.per_hour = per_hour
        self._level = per_hour * HOUR_NS
        """In parts of a unit, HOUR_NS to one; below 0 where more was used than taken."""
        self._at_mono_ns = now_mono_ns

    def left(self, now_mono_ns: int) -> int:
        """Give what may be taken now; below 0 in debt."""
        return self._level_at(now_mono_ns) // HOUR_NS

    def wait_ns(self, amount: int, now_mono_ns: int) -> int:
        """Give the time until an amount may be taken, 0 when it may be now.

        Where it is more than the bucket holds, until the bucket is full.
        """
        missing = min(amount, self.per_hour) * HOUR_NS - self._level_at(now_mono_ns)
        return max(0, -(-missing // self.per_hour))

    def take(self, amount: int, now_mono_ns: int) -> None:
        """Take an amount; a negative one is given back, as far as there is room."""
        level = self._level_at(now_mono_ns) - amount * HOUR_NS
        self._level = min(level, self.per_hour * HOUR_NS)
        self._at_mono_ns = max(self._at_mono_ns, now_mono_ns)

    def _level_at(self, now_mono_ns: int) -> int:
        passed_ns = max(0, now_mono_ns - self._at_mono_ns)
        return min(self._level + passed_ns * self.per_hour, self.per_hour * HOUR_NS)


class Budget:
    """Both quantities of one host."""

    def __init__(self, per_hour: Cost, now_mono_ns: int) -> None:
        """Begin full; both of `per_hour` are 1 at least."""
        self._bytes = Bucket(per_hour.sent_bytes, now_mono_ns)
        self._time = Bucket(per_hour.busy_ns, now_mono_ns)

    def left(self, now_mono_ns: int) -> Cost:
        """Give what a test may cost now; 0 in debt."""
        return Cost(
            sent_bytes=max(0, self._bytes.left(now_mono_ns)),
            busy_ns=max(0, self._time.left(now_mono_ns)),
        )

    def wait_ns(self, most: Cost, now_mono_ns: int) -> int:
        """Give the time until a test of that cost may begin, 0 when it may now."""
        return max(
            self._bytes.wait_ns(most.sent_bytes, now_mono_ns),
            self._time.wait_ns(most.busy_ns, now_mono_ns),
        )

    def take(self, cost: Cost, now_mono_ns: int) -> None:
        """Take what a test may cost at most."""
        self._bytes.take(cost.sent_bytes, now_mono_ns)
        self._time.take(cost.busy_ns, now_mono_ns)

    def settle(self, taken: Cost, used: Cost, now_mono_ns: int) -> None:
        """Give back what was taken and not used; what was used beyond it is owed."""
        self._bytes.take(used.sent_bytes - taken.sent_bytes, now_mono_ns)
        self._time.take(used.busy_ns - taken.busy_ns, now_mono_ns)
