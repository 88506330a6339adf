"""Pace: how long a tick is, so that reading ticks never costs the host more than its budget.

Pure. When closing and folding a tick took more of its length than the budget allows, ticks double,
up to some seconds; when that is not enough, ticks are thinned: flows of fewer and fewer buckets are
told to tasks. When a tick took less than a quarter of the budget, the same is taken back step by
step. Longer ticks cost less because what is folded grows with the flows of a tick, slower than with
its length; they answer later and spill sooner. Thinned ticks make estimates of counts, within
bounds. Both are told.
"""

from __future__ import annotations

MAX_TICKS = 32
"""Longest tick in units of the shortest: 3.2 s."""
MAX_THIN_SHIFT = 10
"""Thinned most, flows of 1 in 1,024 buckets are told."""
_EASY_SHARE = 0.25


class Pace:
    """Chooses the length of the next tick, and how much of it is told."""

    def __init__(self, budget_ratio: float) -> None:
        """`budget_ratio`: share of one CPU that ticks may take, 0 to 1."""
        self._budget_ratio = budget_ratio
        self.ticks = 1
        """Length of a tick in units of the shortest, a power of two."""
        self.thin_shift = 0
        """Flows of 1 in 2^thin_shift buckets are told."""

    def spent(self, cost_ns: int, elapsed_ns: int) -> None:
        """Take the CPU time that a tick cost and the time it covered."""
        ratio = cost_ns / max(1, elapsed_ns)
        if ratio > self._budget_ratio:
            if self.ticks < MAX_TICKS:
                self.ticks *= 2
            else:
                self.thin_shift = min(self.thin_shift + 1, MAX_THIN_SHIFT)
        elif ratio < self._budget_ratio * _EASY_SHARE:
            if self.thin_shift:
                self.thin_shift -= 1
            elif self.ticks > 1:
                self.ticks //= 2
