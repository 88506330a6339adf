"""Distribution: how unequal keys are, with bounds that hold for every traffic the counts allow.

What is known of N = total of all keys: key i has l_i <= c_i <= u_i, and at most K keys that are not
listed have 1 to A each. Histogram, quantiles and entropy are functions of the c; each bound here is
their extreme over all such c, or of a set that holds all of them, so the truth is always inside.
With every key listed and exact (l = u, K = 0) nothing is left to choose and bounds meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from netsonde.model.answer import Bin, RealBound
from netsonde.model.bound import Bound
from netsonde.sketch.sets import ascending
from netsonde.sketch.summary import Counts, Summary

Reals = NDArray[np.float64]

_EDGES = np.array([1, 2, 3, *((4 + s) << e for e in range(60) for s in range(4))], np.int64)
"""First value of each bin: 1, 2, 3, 4, 5, 6, 7, 8-9, 10-11, 12-13, 14-15, 16-19, ..."""
_PIECES = 32
"""Of the range of an uncertain total."""
_ROUNDING = 1e-9
"""Relative; far over what 64-bit sums of 65,536 terms can be off."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """Counts of keys, and what is known of those that are not listed; made by `of`."""

    lower: Counts
    estimate: Counts
    upper: Counts
    distinct: Bound
    """Number of keys."""
    total: Bound
    """Sum of the counts of all keys."""
    unlisted: int
    """K: most keys that are not listed."""
    absent_upper: int
    """A: most that one of them has."""

    @classmethod
    def of(cls, summary: Summary, passed: Bound, *, all_have_keys: bool) -> Population:
        """Read the counts of a summary.

        `passed`: what passed the filter, in the summary's increment. `all_have_keys`: False where
        packets without ports have no key, so that `passed` bounds the keys' total from above alone.

        R = most that passed less what is surely somebody's is all there is to share out: no key has
        more than R over its own lower bound, and at most R keys have none of it listed.
        """
        counted = summary.upper > 0
        lower, guess = summary.lower[counted], summary.estimate[counted]
        sure, present = int(lower.sum()), int(np.count_nonzero(lower))
        rest = max(0, passed.upper - sure)
        upper = np.minimum(summary.upper[counted], lower + rest)
        absent = min(summary.absent_upper, rest)
        unlisted = min(max(0, summary.distinct.upper - present), rest) if absent else 0
        fewest = max(summary.distinct.lower, present)
        least = max(sure + max(0, fewest - len(upper)), passed.lower if all_have_keys else 0)
        return cls(
            lower=lower,
            estimate=np.clip(guess, lower, upper),
            upper=upper,
            distinct=_between(
                fewest,
                summary.distinct.estimate,
                min(summary.distinct.upper, len(upper) + unlisted),
            ),
            total=_between(
                least,
                passed.estimate if all_have_keys else int(guess.sum()),
                min(passed.upper, int(upper.sum()) + unlisted * absent),
            ),
            unlisted=unlisted,
            absent_upper=absent,
        )

    @property
    def exact(self) -> bool:
        """Whether every key is listed with its very count."""
        return self.unlisted == 0 and bool((self.lower == self.upper).all())

    @property
    def rest(self) -> int:
        """R: most that is in no lower bound."""
        return self.total.upper - int(self.lower.sum())

    @cached_property
    def guessed(self) -> Counts:
        """Estimates of all keys: unlisted ones are taken to be equal."""
        listed = np.maximum(self.estimate, 1)
        number = self.distinct.estimate - len(listed)
        if number <= 0 or not self.unlisted:
            return listed
        left = max(0, self.total.estimate - int(self.estimate.sum()))
        each = min(max(1, round(left / number)), self.absent_upper)
        return np.concatenate([listed, np.full(number, each, np.int64)])


def histogram(keys: Population) -> tuple[Bin, ...]:
    """Count keys by the size of their count: four bins to each power of two, smallest first.

    A listed key is surely in the bin that holds both its bounds, and may be in each between them. A
    key that is not listed may be in any bin up to A; no more than R / a of them have a or more.
    """
    first, last = _bin_of(np.maximum(keys.lower, 1)), _bin_of(keys.upper)
    size = len(_EDGES)
    sure = np.bincount(first[(first == last) & (keys.lower > 0)], minlength=size)
    may = np.zeros(size + 1, np.int64)
    np.add.at(may, first, 1)
    np.add.at(may, last + 1, -1)
    may = may.cumsum()
    if keys.unlisted:
        farthest = int(_bin_of(np.array([keys.absent_upper]))[0])
        for at in range(farthest + 1):
            may[at] += min(keys.unlisted, keys.rest // int(_EDGES[at]))
        if farthest == 0:
            sure[0] += max(0, keys.distinct.lower - len(keys.lower))
    guess = np.bincount(_bin_of(keys.guessed), minlength=size)
    bins = []
    for at in np.flatnonzero(may[:size]).tolist():
        bound = _between(int(sure[at]), int(guess[at]), min(int(may[at]), keys.distinct.upper))
        high = int(_EDGES[at + 1]) - 1 if at + 1 < size else int(np.iinfo(np.int64).max)
        bins.append(Bin(low=int(_EDGES[at]), high=high, keys=bound))
    return tuple(bins)


def quantile(keys: Population, q: float) -> Bound:
    """Bound the least value that a share q of the keys, and one at least, does not exceed.

    With F(v) keys of at most v and G(v) of more, that is the least v with F >= 1 and
    (1 - q) F >= q G. F and G are each known within bounds that grow and fall with v: where it holds
    for the fewest F and most G it holds, where not even for the most F and fewest G it does not.
    q is taken as the decimal that is written, so that 0.9 of 10 keys are 9. Needs a key.
    """
    share = Fraction(repr(q))
    lowers, uppers = np.sort(keys.lower), np.sort(keys.upper)
    present = np.sort(keys.upper[keys.lower > 0])
    unlisted_fewest = max(0, keys.distinct.lower - len(keys.lower))

    def surely(value: int) -> bool:
        below = _at_most(present, value)
        above = len(uppers) - _at_most(uppers, value)
        if value >= keys.absent_upper:
            below += unlisted_fewest
        else:
            above += min(keys.unlisted, keys.rest // (value + 1))
        return below >= 1 and (1 - share) * below >= share * above

    def possibly(value: int) -> bool:
        below = _at_most(lowers, value)
        above = len(lowers) - below
        below += keys.unlisted
        return below >= 1 and (1 - share) * below >= share * above

    most = max(int(uppers[-1]) if len(uppers) else 0, keys.absent_upper if keys.unlisted else 0)
    guesses = np.sort(keys.guessed)
    place = max(1, ceil(share * len(guesses))) - 1
    guess = int(guesses[place]) if len(guesses) else 1
    return _between(_least(possibly, most), guess, _least(surely, most))


def entropy(keys: Population) -> RealBound:
    """Bound Shannon's entropy, in bits, of the share that each key has of the total.

    H = log2 N - S / N with S = sum of f(c), f(c) = c log2 c, convex, 0 at 0 and 1.

    For a given N, S is smallest when what no lower bound claims is poured out as evenly as bounds
    allow, c_i = w between l_i and u_i for one level w (`_Pouring.least`); with no limit to K that
    is in single packets, and S the sum over lower bounds alone. S is at most that where every f is
    replaced by its chord from l_i to u_i, of which the steepest are filled first (`_Pouring.most`).
    Both grow with N, so for N from a to b
    log2 a - S_most(b) / a <= H <= log2 b - S_least(a) / b; an uncertain N is cut into pieces.
    """
    n = keys.total
    guess = _entropy_of(keys.guessed)
    if keys.exact or n.upper == 0:
        return RealBound(lower=guess, estimate=guess, upper=guess)
    pouring = _Pouring(keys)
    ends = ascending(np.geomspace(max(1, n.lower), n.upper, _PIECES + 1)).tolist()
    ends[0], ends[-1] = float(max(1, n.lower)), float(n.upper)
    pieces = list(pairwise(ends)) or [(ends[0], ends[0])]
    lower = min(log2(a) - pouring.most(b) / a for a, b in pieces)
    upper = max(log2(b) - pouring.least(a) / b for a, b in pieces)
    # With S of single packets alone, log2 N - S / N grows with N.
    upper = min(upper, log2(n.upper) - pouring.floor / n.upper)
    upper = min(upper, log2(max(1, min(keys.distinct.upper, n.upper))))
    upper = upper * (1 + _ROUNDING) + _ROUNDING
    lower = max(0.0, lower * (1 - _ROUNDING) - _ROUNDING) if n.lower else 0.0
    return RealBound(lower=lower, estimate=min(max(guess, lower), upper), upper=upper)


class _Pouring:
    """Extremes of S = sum of f(c) for a given total."""

    def __init__(self, keys: Population) -> None:
        self._lowers = np.sort(keys.lower).astype(np.float64)
        self._uppers = np.sort(keys.upper).astype(np.float64)
        self._unlisted, self._absent = float(keys.unlisted), float(keys.absent_upper)
        self._of_lowers, self._f_lowers = _sums(self._lowers), _sums(_f(self._lowers))
        self._of_uppers, self._f_uppers = _sums(self._uppers), _sums(_f(self._uppers))
        self.floor = float(self._f_lowers[-1])
        """Sum of f over lower bounds."""
        self._gains, self._widths = _chords(keys)

    def least(self, total: float) -> float:
        """Give no more than the least S; f is taken as 0 below 1, which no count is between."""
        low, high = 1.0, max(self._absent, *self._uppers[-1:].tolist(), 1.0)
        while high - low > low * _ROUNDING:
            level = (low + high) / 2
            if self._poured(level)[0] <= total:
                low = level
            else:
                high = level
        return self._poured(low)[1]

    def most(self, total: float) -> float:
        """Give no less than the most S."""
        rest = total - float(self._of_lowers[-1])
        return self.floor + float(np.interp(rest, self._widths, self._gains))

    def _poured(self, level: float) -> tuple[float, float]:
        """Give the total and S of c_i = level between l_i and u_i."""
        high = int(np.searchsorted(self._lowers, level, "left"))
        low = int(np.searchsorted(self._uppers, level, "left"))
        between = high - low
        unlisted = min(level, self._absent)
        count = self._of_lowers[-1] - self._of_lowers[high] + self._of_uppers[low]
        weight = self._f_lowers[-1] - self._f_lowers[high] + self._f_uppers[low]
        count += between * level + self._unlisted * unlisted
        weight += between * _f1(level) + self._unlisted * _f1(unlisted)
        return float(count), float(weight)


def _chords(keys: Population) -> tuple[Reals, Reals]:
    """Give what S gains, and of how much total, over the chords, steepest first, both summed up."""
    lower, upper = keys.lower.astype(np.float64), keys.upper.astype(np.float64)
    open_ = upper > lower
    widths, gains = (upper - lower)[open_], (_f(upper) - _f(lower))[open_]
    if keys.unlisted:
        widths = np.append(widths, float(keys.unlisted) * keys.absent_upper)
        gains = np.append(gains, keys.unlisted * _f1(float(keys.absent_upper)))
    order = np.argsort(-gains / widths)
    return _sums(gains[order]), _sums(widths[order])


def _entropy_of(counts: Counts) -> float:
    total = int(counts.sum())
    if total == 0:
        return 0.0
    return max(0.0, log2(total) - float(_f(counts.astype(np.float64)).sum()) / total)


def _between(lower: int, estimate: int, upper: int) -> Bound:
    upper = max(lower, upper)
    return Bound(lower=lower, estimate=min(max(estimate, lower), upper), upper=upper)


def _f(values: Reals) -> Reals:
    return values * np.log2(np.maximum(values, 1.0))


def _f1(value: float) -> float:
    return value * log2(value) if value > 1 else 0.0


def _sums(values: Reals) -> Reals:
    return np.concatenate([np.zeros(1), values.cumsum()])


def _bin_of(values: Counts) -> NDArray[np.intp]:
    return np.maximum(np.searchsorted(_EDGES, values, "right") - 1, 0)


def _at_most(ascending: Counts, value: int) -> int:
    return int(np.searchsorted(ascending, value, "right"))


def _least(holds: Callable[[int], bool], most: int) -> int:
    """Give the least value from 1 to `most` at which it holds, `most` where it never does."""
    low, high = 1, max(1, most)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
