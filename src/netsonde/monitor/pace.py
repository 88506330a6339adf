"""Pace: how long a tick is, so that reading ticks never costs the host more than its budget.

Pure. When closing and folding a tick took more of its length than the budget allows, ticks double,
up to some seconds; when it took less than a quarter, they halve again. Longer ticks cost less
because what is folded grows with the flows of a tick, slower than with its length; they answer
later and spill sooner, and say both.
"""

from __future__ import annotations

MAX_TICKS = 32
"""Longest tick in units of the shortest: 3.2 s."""
_EASY_SHARE = 0.25


class Pace:
    """Chooses the length of the next tick."""

    def __init__(self, budget_ratio: float) -> None:
        """`budget_ratio`: share of one CPU that ticks may take, 0 to 1."""
        self._budget_ratio = budget_ratio
        self.ticks = 1
        """Length of a tick in units of the shortest, a power of two."""

    def spent(self, cost_ns: int, elapsed_ns: int) -> None:
        """Take the CPU time that a tick cost and the time it covered."""
        ratio = cost_ns / max(1, elapsed_ns)
        if ratio > self._budget_ratio:
            self.ticks = min(2 * self.ticks, MAX_TICKS)
        elif ratio < self._budget_ratio * _EASY_SHARE and self.ticks > 1:
            self.ticks //= 2
