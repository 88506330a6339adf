"""What this host allows of active tests, and what is left of it.

The one idea: whoever begins a test here, at either end, takes its most from one budget first, and
settles once it is over, however it ends.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from netsonde.model.errors import Busy
from netsonde.probe.budget import Budget, Cost

TESTS_PER_HOUR = 40


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
    tests_per_hour: int = TESTS_PER_HOUR
    """Tests of the largest size that an hour has room for."""

    @property
    def longest(self) -> Cost:
        """The most that one test costs."""
        return Cost(sent_bytes=self.max_bytes, busy_ns=self.max_ms * 1_000_000)

    @property
    def per_hour(self) -> Cost:
        """The budget."""
        one = self.longest
        return Cost(
            sent_bytes=self.tests_per_hour * one.sent_bytes,
            busy_ns=self.tests_per_hour * one.busy_ns,
        )


@dataclass(slots=True)
class Reservation:
    """The most that one test may cost, until it is settled."""

    taken: Cost
    sent_bytes: int = 0
    busy_ns: int = 0


@dataclass(slots=True)
class Allowance:
    """The budget of one host, and who was refused."""

    address: str
    limits: Limits
    refused: Counter[str] = field(default_factory=Counter)
    """By cause."""
    _budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self._budget = Budget(self.limits.per_hour, time.monotonic_ns())

    @property
    def left(self) -> Cost:
        """What may be spent now."""
        return self._budget.left(time.monotonic_ns())

    def busy(self, cause: str, why: str, retry_after_s: float) -> Busy:
        """Count a refusal and give the error for it."""
        self.refused[cause] += 1
        when = f"try again in {math.ceil(retry_after_s)} s"
        return Busy(f"{self.address} {why}; {when}", float(math.ceil(retry_after_s)))

    def reserve(self, most: Cost) -> Reservation:
        """Take the most that a test may cost; raises Busy, which says when to come again."""
        wait_ns = self._budget.wait_ns(most, time.monotonic_ns())
        if wait_ns:
            raise self.busy(
                "over budget",
                f"has spent what it allows for active tests, {self._an_hour()} an hour "
                "(setting 'probe_tests_per_hour')",
                wait_ns / 1e9,
            )
        self._budget.take(most, time.monotonic_ns())
        return Reservation(most)

    def settle(self, reservation: Reservation) -> None:
        """Give back what was not used; once."""
        used = Cost(sent_bytes=reservation.sent_bytes, busy_ns=reservation.busy_ns)
        self._budget.settle(reservation.taken, used, time.monotonic_ns())

    @contextmanager
    def reserved(self, most: Cost) -> Iterator[Reservation]:
        """Reserve for as long as a test runs, which writes down what it uses; raises Busy."""
        reservation = self.reserve(most)
        try:
            yield reservation
        finally:
            self.settle(reservation)

    def _an_hour(self) -> str:
        cost = self.limits.per_hour
        return f"{cost.sent_bytes / 1e9:g} GB and {cost.busy_ns / 1e9:g} s"
