"""Merging ticks: several of one flow table as one, as certain as they were, and not larger.

The one idea: records of a flow add up, and so do the bounds on what is in no record; where there
are more flows than there is room for, the lightest are hidden as thinning hides them, and drawn
labels stand for them (`core/thin.h`). What a window makes of the merged tick has the same bounds,
wider only by what was hidden.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import Absent
from netsonde.sketch.tick import Side, Tick

LEAST_RECORDS = 64
"""Fewest that a merged tick may be told to keep within."""

_SUMS = (
    "packets",
    "ip_bytes",
    "spilled_packets",
    "spilled_bytes",
    "contended_packets",
    "contended_bytes",
    "thinned_packets",
    "thinned_bytes",
    "inserts",
    "used_buckets",
    "spilled_buckets",
)
_WORD = (1 << 64) - 1


def merged(ticks: Sequence[Tick], most_records: int, seed: int = 0) -> Tick:
    """Add ticks of one flow table up, oldest first; `Merging` says what is guaranteed and raised,
    whoever has no time to do it at once takes that."""
    merging = Merging(max(len(tick.records) for tick in ticks))
    for tick in ticks:
        merging.add(tick)
    return merging.tick(most_records, seed)


class Merging:
    """A merged tick in the making: ticks of one flow table are added, oldest first.

    Guarantees: while no more records than may be left are there, windows over the result have the
    entries they would have over the ticks. Otherwise bounds hold for every key, totals are the
    same, and estimates of packets, bytes and flows are unbiased over draws, which differ with the
    table's secret, the last tick and the seed.
    """

    def __init__(self, largest_bytes: int) -> None:
        """`largest_bytes`: records of the largest tick; flows of others are mostly the same."""
        self._ticks: list[Tick] = []
        self._core = _core.Merge(largest_bytes // _abi.RECORD.itemsize * 9 // 8)

    def add(self, tick: Tick) -> None:
        """Add the next tick; its records are not held."""
        self._core.add(tick.records)
        self._ticks.append(replace(tick, records=b""))

    def tick(self, most_records: int, seed: int = 0) -> Tick:
        """End it: give one tick with at most `most_records`, 64 or more.

        Raises ValueError for ticks of different tables, and when flows must be hidden in ticks
        whose `placement` nobody told.
        """
        ticks = self._ticks
        first, last = ticks[0], ticks[-1]
        placement = _placement(ticks)
        secret = int.from_bytes(placement[:8], "little")
        records, raw, hidden = self._core.end(
            most_records, placement, (secret + last.id * 0x9E3779B97F4A7C15 + seed) & _WORD
        )
        absent = _absent(ticks, raw, placement)
        totals = np.frombuffer(hidden, _abi.ABSENT)
        return Tick(
            id=last.id,
            first_id=first.id if first.first_id is None else first.first_id,
            ticks=sum(tick.ticks for tick in ticks),
            records=records,
            sides=(
                _side(ticks, _abi.IN, absent, totals[_abi.IN]),
                _side(ticks, _abi.OUT, absent, totals[_abi.OUT]),
            ),
            absent=absent,
            ranks=np.max([np.frombuffer(tick.ranks, np.uint8) for tick in ticks], axis=0).tobytes(),
            placement=placement,
        )


def _placement(ticks: Sequence[Tick]) -> bytes:
    found = {tick.placement for tick in ticks if tick.placement}
    found |= {tick.absent.placement for tick in ticks if tick.absent}
    if len(found) > 1:
        raise ValueError("ticks of different flow tables cannot be merged")
    return found.pop() if found else b""


def _absent(ticks: Sequence[Tick], raw: bytes | None, placement: bytes) -> Absent | None:
    """Add up what flows without a record may have; `raw` is what merging hid."""
    parts = [tick.absent.table for tick in ticks if tick.absent]
    if raw is not None:
        parts.append(Absent.from_bytes(raw, placement).table)
    if not parts:
        return None
    return Absent(parts[0] if len(parts) == 1 else np.sum(parts, axis=0), placement)


def _side(
    ticks: Sequence[Tick], direction: int, absent: Absent | None, hidden: NDArray[np.void]
) -> Side:
    sides = [tick.sides[direction] for tick in ticks]
    sums = {name: sum(getattr(side, name) for side in sides) for name in _SUMS}
    sums["thinned_packets"] += int(hidden["packets"])
    sums["thinned_bytes"] += int(hidden["bytes"])
    drops: Tally[str] = Tally()
    for side in sides:
        drops.update(side.drops)
    packets, ip_bytes = absent.most(direction) if absent else (0, 0)
    return Side(
        **sums,
        absent_packets=packets + sums["contended_packets"],
        absent_bytes=ip_bytes + sums["contended_bytes"],
        drops=dict(drops),
    )
