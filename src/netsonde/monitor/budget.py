"""The CPU that answers may take: so much of one core, whoever asks and however often.

The one idea: a bucket of CPU time that fills with the clock. What an answer took is taken out when
it is known, so the bucket may be in debt; then nobody is answered until it is filled again, and who
asks is told when that is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from netsonde.model.errors import Busy

BURST_S = 1.0
"""Seconds of the share that may be saved up for a burst."""
LEAST_NS = 200_000
"""What a request takes beside its answer: to be read, decoded and written."""
_FOR_WHO_ASKS = 0.5
"""Of a full bucket, that is left to those who ask by what is made before anybody does."""


class Budget:
    """A token bucket of CPU time."""

    def __init__(self, share: float, mono_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """`share`: of one core."""
        self._share = share
        self._mono_ns = mono_ns
        self._most_ns = self._left_ns = share * BURST_S * 1e9
        self._filled_mono_ns = mono_ns()
        self.refused = 0
        """Answers that there was no CPU for."""

    def spend(self, cpu_ns: int) -> None:
        """Take what was used."""
        self._fill()
        self._left_ns -= cpu_ns

    def check(self) -> None:
        """Raise Busy, with the time to try again, while nothing is left."""
        if not self.is_spent:
            return
        self.refused += 1
        retry_s = math.ceil((LEAST_NS - self._left_ns) / (self._share * 1e8)) / 10
        raise Busy(
            f"answers have used up their {100 * self._share:g} % of a CPU "
            f"(answer_cpu_percent); try again in {retry_s:g} s",
            retry_s,
        )

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left now."""
        self._fill()
        return self._left_ns <= 0

    @property
    def has_plenty(self) -> bool:
        """Whether something may be answered that nobody has asked yet."""
        self._fill()
        return self._left_ns >= _FOR_WHO_ASKS * self._most_ns

    def _fill(self) -> None:
        now_mono_ns = self._mono_ns()
        gained_ns = self._share * (now_mono_ns - self._filled_mono_ns)
        self._left_ns = min(self._most_ns, self._left_ns + gained_ns)
        self._filled_mono_ns = now_mono_ns
