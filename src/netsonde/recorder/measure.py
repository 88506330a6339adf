"""What a detector measures: numbers of its keys over a window that slides tick by tick.

Each wraps a native table and turns what it holds into bounds: what was seen is certain, what was
hidden in the window may be added to any key, and estimates lie between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netsonde.model.bound import Bound
from netsonde.model.detector import MAX_SPREAD, Detector
from netsonde.model.key import KeyType
from netsonde.model.task import Increment
from netsonde.recorder.hidden import Hidden
from netsonde.sketch import _abi, _core
from netsonde.sketch.match import DIRECTIONS, match_bytes

PAIRS = 2 * MAX_SPREAD
"""Pairs that a `spread` remembers; the oldest give way."""
COUNTS = 1 << 16
"""Counts of a key in a tick that a `count` or `change` remembers; the lightest are left out."""
_TICK_KEYS = 1 << 13
"""Keys of one tick that a `count` or `change` looks at; the lightest are left out."""
MOST_REACHED = 4096
"""Keys over the threshold that are looked at; the rest is counted."""


LEAST_SEEN = 8
"""Pairs of a `spread` that must have been seen to believe an estimate of more: whose flows a label
stands for was drawn once, which says little; with so many the standard error is a third."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The measure of one key."""

    count: Bound
    now: int
    """Estimate in the window."""
    before: int = 0
    """Estimate in the window before; of `change` only."""


class Measure(Protocol):
    """What `Watch` needs of one."""

    def absorb(self, tick: int, records: bytes) -> None:
        """Let the window end with a tick and add records of it; ticks never go back."""

    def reached(self) -> tuple[list[bytes], int]:
        """Give keys that reach the threshold, at most MOST_REACHED, and how many there are."""

    def reading(self, key: bytes) -> Reading:
        """Measure a key over the window."""

    def flows(self, key: bytes, records: bytes) -> NDArray[np.void]:
        """Give flows of a key (dtype RECORD); `records`: those of the tick the window ends with."""

    def first_tick(self) -> int:
        """Give the first tick of the window that is remembered."""

    def held(self) -> tuple[int, int]:
        """Give the keys and the items that are remembered."""


def measure(detector: Detector, hidden: Hidden, began_tick: int) -> Measure:
    """Make the measure of a detector whose first tick is `began_tick`."""
    kind = SpreadMeasure if detector.measure == "spread" else CountMeasure
    return kind(detector, hidden, began_tick)


class SpreadMeasure:
    """Number of distinct others of each key."""

    def __init__(self, detector: Detector, hidden: Hidden, began_tick: int) -> None:
        by, of = KeyType.parse(detector.by), KeyType.parse(detector.of or "")
        both = bytes(one | other for one, other in zip(by.masks(), of.masks(), strict=True))
        self._table = _core.SlidingSpread(
            by.masks(), both, by.needs_ports or of.needs_ports, detector.window_ticks, PAIRS
        )
        self._detector, self._hidden = detector, hidden
        self._match = match_bytes(detector.filter)
        self._sides = DIRECTIONS[detector.filter.interface]
        self._began_tick = self._tick = began_tick

    def absorb(self, tick: int, records: bytes) -> None:
        """See Measure."""
        self._tick = tick
        if records or any(self.held()):  # most ticks of a quiet host hold nothing
            self._table.add(tick, records, self._match)

    def reached(self) -> tuple[list[bytes], int]:
        """See Measure."""
        threshold = self._detector.threshold
        rows, number = self._table.reached(threshold, MOST_REACHED)
        believed = [row for row in rows if row[1] >= min(LEAST_SEEN, threshold)]
        believed.sort(key=lambda row: (-row[1] - row[2], row[0]))
        return [key for key, _, _ in believed], number - len(rows) + len(believed)

    def reading(self, key: bytes) -> Reading:
        """See Measure."""
        seen, others = self._table.find(key)
        _, _, _, let_go = self._table.state()
        doubt = self._hidden.between(self.first_tick(), self._tick, self._sides).flows + let_go
        count = _bound(seen, others, doubt)
        return Reading(count, count.estimate)

    def flows(self, key: bytes, records: bytes) -> NDArray[np.void]:
        """See Measure; one for each distinct other."""
        return np.frombuffer(self._table.flows(key), _abi.RECORD)

    def first_tick(self) -> int:
        """See Measure."""
        nominal = max(self._began_tick, self._tick - self._detector.window_ticks + 1)
        return min(max(nominal, self._table.state()[2]), self._tick)

    def held(self) -> tuple[int, int]:
        """See Measure."""
        keys, pairs, _, _ = self._table.state()
        return keys, pairs


class CountMeasure:
    """Packets or bytes of each key, or how far they differ from the window before."""

    def __init__(self, detector: Detector, hidden: Hidden, began_tick: int) -> None:
        by = KeyType.parse(detector.by)
        self._masks, self._ports_only = by.masks(), by.needs_ports
        self._bytes = detector.increment == Increment.BYTES
        self._change = detector.measure == "change"
        self._table = _core.SlidingCount(self._bytes, detector.window_ticks, self._change, COUNTS)
        self._detector, self._hidden = detector, hidden
        self._match = match_bytes(detector.filter)
        self._sides = DIRECTIONS[detector.filter.interface]
        self._began_tick = self._tick = began_tick

    def absorb(self, tick: int, records: bytes) -> None:
        """See Measure."""
        self._tick = tick
        if not records and not any(self._table.state()):
            return
        keys = _core.KeyTable(self._masks, _TICK_KEYS, self._ports_only)
        keys.add(records, self._match)
        self._table.add(tick, keys, keys.absent()[1 if self._bytes else 0])

    def reached(self) -> tuple[list[bytes], int]:
        """See Measure; nothing has changed before there are two windows to compare."""
        detector = self._detector
        if self._change and self._tick - self._began_tick + 1 < 2 * detector.window_ticks:
            return [], 0
        rows, number = self._table.reached(detector.threshold, detector.factor, MOST_REACHED)
        rows.sort(key=lambda row: (-abs(row[1] + row[2] - row[3] - row[4]), row[0]))
        return [row[0] for row in rows], number

    def reading(self, key: bytes) -> Reading:
        """See Measure."""
        seen, guess, seen_before, guess_before = self._table.find(key)
        _, _, absent, absent_before = self._table.state()
        length = self._detector.window_ticks
        last_before = self._tick - length
        now = _bound(seen, guess, absent + self._doubt(last_before + 1, self._tick))
        if not self._change:
            return Reading(now, now.estimate)
        doubt = absent_before + self._doubt(last_before - length + 1, last_before)
        before = _bound(seen_before, guess_before, doubt)
        return Reading(_difference(now, before), now.estimate, before.estimate)

    def flows(self, key: bytes, records: bytes) -> NDArray[np.void]:
        """See Measure; those of the tick the window ends with."""
        chosen = _core.select(records, self._match, self._masks, key)
        return np.frombuffer(chosen, _abi.RECORD)

    def first_tick(self) -> int:
        """See Measure."""
        nominal = self._tick - self._detector.window_ticks + 1
        return min(max(self._began_tick, nominal), self._tick)

    def held(self) -> tuple[int, int]:
        """See Measure."""
        keys, items, _, _ = self._table.state()
        return keys, items

    def _doubt(self, first_tick: int, last_tick: int) -> int:
        doubt = self._hidden.between(first_tick, last_tick, self._sides)
        return doubt.ip_bytes if self._bytes else doubt.packets


def _bound(seen: int, guess: int, doubt: int) -> Bound:
    return Bound(lower=seen, estimate=seen + min(guess, doubt), upper=seen + doubt)


def _difference(now: Bound, before: Bound) -> Bound:
    """Bound how far two counts lie apart."""
    return Bound(
        lower=max(0, now.lower - before.upper, before.lower - now.upper),
        estimate=abs(now.estimate - before.estimate),
        upper=max(now.upper - before.lower, before.upper - now.lower),
    )
