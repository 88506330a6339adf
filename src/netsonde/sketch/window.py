"""Window: the counts of one task over the ticks it was given, in bounded memory.

The one idea: whatever a tick could not put into flow records (`hidden`) may belong to any key, so
it is added to every upper bound and to no lower bound. With nothing hidden and no table overrun,
every answer is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsonde.model.bound import Bound
from netsonde.model.errors import NotFound
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import Counter, Increment, Question, Task
from netsonde.sketch import _abi, _core
from netsonde.sketch.match import DIRECTIONS, match_bytes
from netsonde.sketch.summary import KEY_DTYPE, Summary
from netsonde.sketch.tick import Tick

CAPACITY = 1 << 15
"""Keys a counter holds before it drops the lighter half (88 bytes each)."""

_COLUMN = {Increment.PACKETS: "packets", Increment.BYTES: "bytes"}


class Window:
    """Accumulates ticks for one task and answers questions about them."""

    def __init__(self, task: Task, capacity: int = CAPACITY) -> None:
        self._task = task
        self._capacity = capacity
        self._match = match_bytes(task.filter)
        self._sides = DIRECTIONS[task.filter.interface]
        self._totals = _core.KeyTable(bytes(KEY_BYTES), 16, False)
        self._tables: dict[str, _core.KeyTable] = {}
        self._hidden = {"packets": 0, "bytes": 0}
        self.first_tick: int | None = None
        self.last_tick: int | None = None
        for counter in task.counters:
            self.add_counter(counter)

    def add_counter(self, counter: Counter) -> None:
        """Begin to count another key type, from the next tick on."""
        kind = KeyType.parse(counter.key_type)
        self._tables[counter.key_type] = _core.KeyTable(
            kind.mask(), self._capacity, kind.needs_ports
        )

    def absorb(self, tick: Tick) -> None:
        """Add a tick's records."""
        self.first_tick = tick.id if self.first_tick is None else self.first_tick
        self.last_tick = tick.id
        for side in self._sides:
            self._hidden["packets"] += tick.sides[side].hidden_packets
            self._hidden["bytes"] += tick.sides[side].hidden_bytes
        if not tick.records:
            return
        self._totals.add(tick.records, self._match)
        for table in self._tables.values():
            table.add(tick.records, self._match)

    def summary(self, question: Question, counter: Counter | None) -> Summary:
        """Answer a question about this window's task; `counter` is the one it asks, if any.

        Raises NotFound when the counter is not counted here.
        """
        packets, ip_bytes = self._total("packets"), self._total("bytes")
        entries = np.zeros(0, _abi.ENTRY)
        increment, threshold, absent, distinct = Increment.PACKETS, 1.0, 0, Bound.exactly(0)
        if counter is not None:
            table = self._tables.get(counter.key_type)
            if table is None:
                raise NotFound(f"no counter {counter.key_type} here")
            increment, threshold = counter.increment, counter.hitter_threshold
            entries = np.frombuffer(table.entries(), _abi.ENTRY)
            absent = table.absent()[list(_COLUMN).index(increment)] + self._doubt(increment)
            distinct = self._distinct(table, entries, packets)
        lower, estimate, upper = self._counts(entries, increment)
        heavy = estimate > threshold * estimate.sum()
        keys = np.ascontiguousarray(entries["key"]).view(KEY_DTYPE).reshape(-1)
        chosen = np.ones(len(keys), np.bool_)
        if question.key is not None:
            chosen = keys == np.void(question.key)
        return Summary(
            fingerprint=f"{self._task.filter}|{question.key_type}|{increment}|{question.window}",
            total_packets=packets,
            total_bytes=ip_bytes,
            keys=keys[chosen],
            lower=lower[chosen],
            estimate=estimate[chosen],
            upper=upper[chosen],
            heavy=heavy[chosen],
            absent_upper=absent,
            distinct=distinct,
            first_tick=self.first_tick or 0,
            last_tick=self.last_tick or 0,
        ).limited(question.limit)

    def _doubt(self, increment: Increment) -> int:
        return self._hidden[_COLUMN[increment]]

    def _total(self, column: str) -> Bound:
        entries = np.frombuffer(self._totals.entries(), _abi.ENTRY)
        lower = int(entries[column].sum())
        labels = int(entries["label_" + column].sum())
        upper = lower + self._hidden[column]
        return Bound(lower=lower, estimate=min(lower + labels, upper), upper=upper)

    def _counts(
        self, entries: NDArray[np.void], increment: Increment
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        column = _COLUMN[increment]
        lower = entries[column].astype(np.int64)
        over = entries["over_" + column].astype(np.int64)
        upper = lower + over + self._doubt(increment)
        estimate = np.minimum(lower + entries["label_" + column].astype(np.int64), upper)
        return lower, estimate, upper

    def _distinct(self, table: _core.KeyTable, entries: NDArray[np.void], packets: Bound) -> Bound:
        """Bound the number of keys: every hidden packet may be one that is not listed."""
        sure = int(np.count_nonzero(entries["packets"]))
        purged = table.absent()[2] > 0
        upper = packets.upper if purged else sure + self._hidden["packets"]
        return Bound(lower=sure, estimate=min(len(entries), upper), upper=upper)
