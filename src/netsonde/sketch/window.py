"""Window: the counts of one task over the ticks it was given, in bounded memory.

The one idea: whatever a tick could not put into flow records (`hidden`) may belong to some key, so
it is added to upper bounds and to no lower bound. Five-tuples get what was hidden in their own
bucket; any coarser key may have flows in every bucket, so it gets all of it. A frame that nobody
could read (`unread`) may be anybody's and as large as frames can be. With nothing hidden or unread
and no table overrun, every answer is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsonde.model.bound import Bound
from netsonde.model.errors import NotFound
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.sketch import _abi, _core
from netsonde.sketch.absent import COLUMNS, Absent
from netsonde.sketch.distinct import STANDARD_ERROR, Ranks, estimate
from netsonde.sketch.kept import KeptTable, KeptWindow
from netsonde.sketch.match import DIRECTIONS, match_bytes
from netsonde.sketch.part import fingerprint
from netsonde.sketch.summary import KEY_DTYPE, Keys, Summary
from netsonde.sketch.tick import FRAME_BYTES, FRAME_PACKETS, Tick

CAPACITY = 1 << 15
"""Keys a counter holds before it drops the lighter half (104 bytes each)."""

_COLUMN = {Increment.PACKETS: "packets", Increment.BYTES: "bytes"}


class Window:
    """Accumulates ticks for one task and answers questions about them."""

    def __init__(self, task: Task, capacity: int = CAPACITY) -> None:
        self._task = task
        self._capacity = capacity
        self._match = match_bytes(task.filter)
        self._sides = DIRECTIONS[task.filter.interface]
        everything = Filter(interface=task.filter.interface, device=task.filter.device)
        self._takes_all = task.filter == everything
        self._totals = _core.KeyTable(bytes(2 * KEY_BYTES), 16, False)
        self._tables: dict[str, _core.KeyTable] = {}
        self._hidden = {"packets": 0, "bytes": 0}
        self._contended = {"packets": 0, "bytes": 0}
        self._unread = {"packets": 0, "bytes": 0}
        self._absent: Absent | None = None
        self._ranks: dict[str, Ranks] = {}
        self.first_tick: int | None = None
        self.last_tick: int | None = None
        for counter in task.counters:
            self.add_counter(counter)

    def kept(self) -> KeptWindow:
        """Give all that it holds, for `restore`."""
        return KeptWindow(
            totals=_kept_table(self._totals),
            tables={name: _kept_table(table) for name, table in self._tables.items()},
            hidden=dict(self._hidden),
            contended=dict(self._contended),
            unread=dict(self._unread),
            absent=None if self._absent is None else self._absent.table.tobytes(),
            ranks={name: ranks.tobytes() for name, ranks in self._ranks.items()},
            first_tick=self.first_tick,
            last_tick=self.last_tick,
        )

    def restore(self, kept: KeptWindow, placement: bytes) -> None:
        """Become what another window of this task was, before the first tick.

        `placement`: `ns_config` of the flow table that ticks come from; `kept.absent` must be of
        the same. Raises ValueError for what no window of this task can have held.
        """
        _restore_table(self._totals, kept.totals)
        for name, table in self._tables.items():
            if name not in kept.tables:
                raise ValueError(f"no counter {name} was kept")
            _restore_table(table, kept.tables[name])
        for column in self._hidden:
            self._hidden[column] = kept.hidden.get(column, 0)
            self._contended[column] = kept.contended.get(column, 0)
            self._unread[column] = kept.unread.get(column, 0)
        if kept.absent is not None:
            self._absent = Absent.from_bytes(kept.absent, placement)
        self._ranks = {
            name: np.frombuffer(ranks, np.uint8).reshape(_abi.HLL_REGISTERS).copy()
            for name, ranks in kept.ranks.items()
        }
        self.first_tick, self.last_tick = kept.first_tick, kept.last_tick

    @property
    def key_types(self) -> frozenset[str]:
        """Key types that are counted."""
        return frozenset(self._tables)

    @property
    def unlisted_packets(self) -> int:
        """Most packets of the window that are in no record, of whatever filter."""
        return self._unlisted("packets")

    def add_counter(self, counter: Counter) -> None:
        """Begin to count another key type, from the next tick on."""
        kind = KeyType.parse(counter.key_type)
        self._tables[counter.key_type] = _core.KeyTable(
            kind.masks(), self._capacity, kind.needs_ports
        )
        # Ranks tell neither which flows pass a filter nor which five-tuples went both ways.
        if kind.is_flow and self._takes_all and len(self._sides) == 1:
            self._ranks[counter.key_type] = np.zeros(_abi.HLL_REGISTERS, np.uint8)

    def absorb(self, tick: Tick) -> None:
        """Add a tick's records."""
        first = tick.id if tick.first_id is None else tick.first_id
        # A clock that is set gives names before the first or behind the last.
        self.first_tick = first if self.first_tick is None else min(self.first_tick, first)
        self.last_tick = tick.id if self.last_tick is None else max(self.last_tick, tick.id)
        for side in self._sides:
            self._hidden["packets"] += tick.sides[side].hidden_packets
            self._hidden["bytes"] += tick.sides[side].hidden_bytes
            self._contended["packets"] += tick.sides[side].contended_packets
            self._contended["bytes"] += tick.sides[side].contended_bytes
        self._unread["packets"] += tick.unread_frames * FRAME_PACKETS
        self._unread["bytes"] += tick.unread_frames * FRAME_BYTES
        if tick.absent:
            self._absent = self._absent + tick.absent if self._absent else tick.absent
        ranks = np.frombuffer(tick.ranks, np.uint8).reshape(_abi.DIRECTIONS, -1)
        for seen in self._ranks.values():
            np.maximum(seen, ranks[self._sides[0]], out=seen)
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
        distinct_error: float | None = 0.0
        doubt = np.zeros(0, np.int64)
        if counter is not None:
            table = self._tables.get(counter.key_type)
            if table is None:
                raise NotFound(f"no counter {counter.key_type} here")
            increment, threshold = counter.increment, counter.hitter_threshold
            entries = np.frombuffer(memoryview(table), _abi.ENTRY)
            kind = KeyType.parse(counter.key_type)
            doubt = self._doubt(kind, entries, increment)
            absent = table.absent()[list(_COLUMN).index(increment)]
            absent += self._absent_doubt(kind, question.key, increment)
            distinct = self._distinct(counter.key_type, entries, packets)
            distinct_error = self.distinct_error(counter.key_type)
        lower, estimate, upper = self._counts(entries, increment, doubt)
        heavy = estimate > threshold * estimate.sum()
        keys = _keys(entries)
        chosen: slice | NDArray[np.bool_] = slice(None)
        if question.key is not None:
            chosen = keys == np.void(question.key)
        return Summary(
            fingerprint=fingerprint(self._task.filter, increment, question),
            total_packets=packets,
            total_bytes=ip_bytes,
            keys=keys[chosen],
            lower=lower[chosen],
            estimate=estimate[chosen],
            upper=upper[chosen],
            heavy=heavy[chosen],
            absent_upper=absent,
            distinct=distinct,
            distinct_error=distinct_error,
            first_tick=self.first_tick or 0,
            last_tick=self.last_tick or 0,
        ).limited(question.limit)

    def _doubt(
        self, kind: KeyType, entries: NDArray[np.void], increment: Increment
    ) -> NDArray[np.int64]:
        """Give the most of what was hidden that each entry's key may have."""
        column = _COLUMN[increment]
        if not kind.is_flow or self._absent is None:
            return np.full(len(entries), self._unlisted(column), np.int64)
        hidden = self._absent.of(_keys(entries).view(_abi.KEY), self._sides)
        own = (
            hidden[:, COLUMNS.index(column)]
            - entries["credit_" + column].astype(np.int64)
            + self._placeless(column)
        )
        return np.minimum(own, self._unlisted(column))

    def _absent_doubt(self, kind: KeyType, key: bytes | None, increment: Increment) -> int:
        """Give the most of what was hidden that a key without an entry may have; None: any key."""
        column = _COLUMN[increment]
        if not kind.is_flow or self._absent is None:
            return self._unlisted(column)
        at = COLUMNS.index(column)
        if key is None:
            own = self._absent.of_any(self._sides)[at]
        else:
            own = int(self._absent.of(np.frombuffer(key, _abi.KEY), self._sides)[0, at])
        return min(own + self._placeless(column), self._unlisted(column))

    def _unlisted(self, column: str) -> int:
        """Give the most that no record holds."""
        return self._hidden[column] + self._unread[column]

    def _placeless(self, column: str) -> int:
        """Give the part of it that any bucket's flow may have."""
        return self._contended[column] + self._unread[column]

    def _total(self, column: str) -> Bound:
        entries = np.frombuffer(memoryview(self._totals), _abi.ENTRY)
        lower = int(entries[column].sum())
        labels = int(entries["label_" + column].sum())
        upper = lower + self._unlisted(column)
        if self._takes_all:  # what is hidden passes the filter as well
            lower += self._hidden[column]
            return Bound(lower=lower, estimate=lower, upper=upper)
        return Bound(lower=lower, estimate=min(lower + labels, upper), upper=upper)

    def _counts(
        self, entries: NDArray[np.void], increment: Increment, doubt: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        column = _COLUMN[increment]
        lower = entries[column].astype(np.int64)
        over = entries["over_" + column].astype(np.int64)
        upper = lower + over + doubt
        estimate = np.minimum(lower + entries["label_" + column].astype(np.int64), upper)
        return lower, estimate, upper

    def distinct_error(self, key_type: str) -> float | None:
        """Give the standard error of the number of distinct keys: 0 exact, None unknown."""
        if not self._unlisted("packets") and not self._tables[key_type].absent()[2]:
            return 0.0
        known = key_type in self._ranks and not self._unread["packets"]
        return STANDARD_ERROR if known else None

    def _distinct(self, key_type: str, entries: NDArray[np.void], packets: Bound) -> Bound:
        """Bound the number of keys: every packet in no record may be of one that is not listed."""
        sure = int(np.count_nonzero(entries["packets"]))
        purged = self._tables[key_type].absent()[2] > 0
        upper = packets.upper if purged else sure + self._unlisted("packets")
        guess = len(entries)
        if upper > sure and key_type in self._ranks:
            guess = estimate(self._ranks[key_type])
        return Bound(lower=sure, estimate=min(max(sure, guess), upper), upper=upper)


def _keys(entries: NDArray[np.void]) -> Keys:
    """Copy their keys, as bytes: field by field it would cost five times as much."""
    raw = entries.view(np.uint8).reshape(-1, _abi.ENTRY.itemsize)[:, :KEY_BYTES]
    return np.ascontiguousarray(raw).view(KEY_DTYPE).reshape(-1)


def _kept_table(table: _core.KeyTable) -> KeptTable:
    packets, ip_bytes, purges = table.absent()
    return KeptTable(
        entries=table.entries(), absent_packets=packets, absent_bytes=ip_bytes, purges=purges
    )


def _restore_table(table: _core.KeyTable, kept: KeptTable) -> None:
    table.restore(kept.entries, kept.absent_packets, kept.absent_bytes, kept.purges)
