"""Spread: how many different others each key has, over some ticks, in bounded memory.

The one idea: pairs of a key and an other are kept as they come, and counted when they are too many.
What is counted then is a set of its own: the largest of several such sets is a lower bound, their
sum an upper one, and a sample of all pairs, drawn by their hash, tells an estimate in between. With
one set, and nothing hidden, numbers are exact. Labels, which stand for flows that no record holds,
count as that many others (docs/decisions/007): unbiased for flows that are new, as a scan's are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsonde.model.bound import Bound
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import Filter, Interface, Question, Task
from netsonde.sketch import _abi, _core
from netsonde.sketch.match import match_bytes
from netsonde.sketch.part import fingerprint
from netsonde.sketch.sets import Rows, Sets, distinct, sampled, tallied, united
from netsonde.sketch.summary import KEY_DTYPE, Counts, Keys, Summary
from netsonde.sketch.tick import Tick
from netsonde.sketch.window import Window

_WHOLE = (32, 128)
_RECORD_BYTES = _abi.RECORD.itemsize
_MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)
_OWN = {Interface.INPUT: "dst", Interface.OUTPUT: "src"}
"""Which address of a packet is the host's own."""


class Spread:
    """Counts the distinct `of` of each `by` among the flows that pass a filter."""

    def __init__(self, task_filter: Filter, by: str, of: str, capacity: int) -> None:
        """`by`, `of`: names of key types. `capacity`: pairs held at once, 16 or more."""
        self._filter, self._capacity = task_filter, capacity
        self._by, self._of = KeyType.parse(by, "by"), KeyType.parse(of, "of")
        self._match = match_bytes(task_filter)
        masks = zip(self._by.masks(), self._of.masks(), strict=True)
        self._masks = bytes(one | other for one, other in masks)
        self._with_ports = self._by.needs_ports or self._of.needs_ports
        task = Task(series="counter", id=0, filter=task_filter, since_tick=0)
        self._window = Window(task)
        self._pairs = self._table(self._masks)
        self._labels = self._table(self._by.masks())
        self._sample = np.zeros((0, KEY_BYTES), np.uint8)
        self._sample_shift = 0
        self._seed: int | None = None
        self._sets = Sets.empty(capacity)
        self._overlaps = not self._is_own()

    def absorb(self, tick: Tick) -> None:
        """Add a tick's flows."""
        if self._seed is None:  # known to nobody outside, so nobody can stay out of the sample
            self._seed = int.from_bytes(tick.placement[:8], "little")
        self._window.absorb(tick)
        self._add_labels(tick)
        rest = memoryview(tick.records)
        while rest:
            room = self._capacity - len(self._pairs)
            if room * _RECORD_BYTES < len(rest) and room < self._capacity // 2:
                self._settle()
                continue
            self._pairs.add(rest[: room * _RECORD_BYTES], self._match)
            rest = rest[room * _RECORD_BYTES :]

    def summary(self, question: Question) -> Summary:
        """Answer a question: counts are numbers of distinct `of`, largest first by `limit`."""
        pairs = self._sure()
        sets = self._sets.joined(*tallied(self._keys_of(pairs)))
        keys, lower, estimate, upper = self._counts(sets, pairs)
        hidden = self._window.unlisted_packets
        upper = upper + hidden + sets.let_go
        totals = self._window.summary(Question(series="counter", window=question.window), None)
        sure = int(np.count_nonzero(lower))
        most = totals.total_packets.upper if sets.let_go else sure + hidden
        distinct = Bound(lower=sure, estimate=min(max(sure, len(keys)), most), upper=most)
        chosen = np.ones(len(keys), np.bool_)
        if question.key is not None:
            chosen = keys == np.void(question.key)
        return Summary(
            fingerprint=fingerprint(self._filter, question.increment, question),
            total_packets=totals.total_packets,
            total_bytes=totals.total_bytes,
            keys=keys[chosen],
            lower=lower[chosen],
            estimate=np.clip(estimate, lower, upper)[chosen],
            upper=upper[chosen],
            heavy=np.zeros(np.count_nonzero(chosen), np.bool_),
            absent_upper=hidden + sets.let_go,
            distinct=distinct,
            distinct_error=0.0 if distinct.exact else None,
            first_tick=totals.first_tick,
            last_tick=totals.last_tick,
            union=self._overlaps or self._is_everyones(pairs),
        ).limited(question.limit)

    def _table(self, masks: bytes) -> _core.KeyTable:
        return _core.KeyTable(masks, self._capacity, self._with_ports)

    def _add_labels(self, tick: Tick) -> None:
        """Count the flows that labels, and flows of thinned ticks, stand for: as their bytes."""
        records = tick.array()
        labels = records["kind"] == _abi.RECORD_LABEL
        standing = records[labels | (records["others"] > 0)]
        if len(standing):
            is_label = standing["kind"] == _abi.RECORD_LABEL
            standing["bytes"] = np.where(is_label, standing["others"].astype(np.uint64) + 1, 1)
            self._labels.add(standing.tobytes(), self._match)

    def _sure(self) -> Rows:
        """Give the pairs held that flow records told of."""
        entries = np.frombuffer(self._pairs.entries(), _abi.ENTRY)
        return _rows(entries["key"][entries["packets"] > 0])

    def _keys_of(self, pairs: Rows) -> Rows:
        # Where neither address is in a pair both masks are the same.
        is_v4 = (pairs[:, :12] == _MAPPED).all(axis=1) | (pairs[:, 16:28] == _MAPPED).all(axis=1)
        v4, v6 = np.frombuffer(self._by.masks(), np.uint8).reshape(2, KEY_BYTES)
        return pairs & np.where(is_v4[:, None], v4, v6)

    def _settle(self) -> None:
        """Count the pairs held as a set, add them to the sample, and begin another one."""
        pairs = self._sure()
        self._overlaps = self._overlaps or self._is_everyones(pairs)
        self._sets = self._sets.joined(*tallied(self._keys_of(pairs)))
        self._sample = self._sampled(pairs)
        while len(self._sample) > self._capacity // 2:
            self._sample_shift += 1
            self._sample = self._sampled(pairs[:0])
        self._pairs = self._table(self._masks)

    def _sampled(self, pairs: Rows) -> Rows:
        """Give the sample with those of some pairs that are of it."""
        joined = np.concatenate([self._sample, pairs])
        drawn = joined[sampled(joined, self._seed or 0, self._sample_shift)]
        return distinct(drawn)[0] if len(self._sample) else drawn

    def _counts(self, sets: Sets, pairs: Rows) -> tuple[Keys, Counts, Counts, Counts]:
        """Give all keys, and lower, estimated and upper numbers of what was not hidden.

        Estimates alone hold what was hidden: the flows that labels stand for.
        """
        lower, estimate, upper = sets.largest, sets.total, sets.total
        keys = sets.keys
        if self._sets.keys.size:
            drawn, sizes = tallied(self._keys_of(self._sampled(pairs)))
            keys, (of_sets, of_drawn) = united([keys, drawn])
            lower, estimate, upper = np.zeros((3, len(keys)), np.int64)
            lower[of_sets], upper[of_sets] = sets.largest, sets.total
            # A key may be in the sample whose sets were let go: its members are all different.
            lower[of_drawn] = np.maximum(lower[of_drawn], sizes)
            estimate[of_drawn] = sizes << self._sample_shift
            estimate = np.clip(estimate, lower, np.maximum(lower, upper + sets.let_go))
        if len(self._labels):
            others = np.frombuffer(self._labels.entries(), _abi.ENTRY)
            keys, (of_known, of_labels) = united([keys, _rows(others["key"])])
            counts = np.zeros((3, len(keys)), np.int64)
            counts[:, of_known] = lower, estimate, upper
            counts[1, of_labels] += others["label_bytes"].astype(np.int64)
            lower, estimate, upper = counts
        return keys.view(KEY_DTYPE).reshape(-1), lower, estimate, upper

    def _is_own(self) -> bool:
        """Whether a pair holds the whole address of the host that counts it: no other has it."""
        own = _OWN.get(self._filter.interface)
        return any(
            field == own and prefix == _WHOLE
            for kind in (self._by, self._of)
            for field, prefix in zip(kind.fields, kind.prefixes, strict=True)
        )

    def _is_everyones(self, pairs: Rows) -> bool:
        """Whether a pair's own address may be other hosts' too: of a group, or of a link."""
        own = _OWN.get(self._filter.interface)
        if own is None:
            return True
        at = pairs[:, 16:32] if own == "dst" else pairs[:, :16]
        is_v4 = (at[:, :12] == _MAPPED).all(axis=1)
        first, second = at[:, 12], at[:, 13]
        v4 = (first >= 224) | (first == 127) | (first == 0) | ((first == 169) & (second == 254))
        v6 = (at[:, 0] == 0xFF) | ((at[:, 0] == 0xFE) & (at[:, 1] >> 6 == 2))
        v6 |= ~at[:, :15].any(axis=1)  # :: and ::1
        return bool(np.where(is_v4, v4, v6).any())


def _rows(keys: NDArray[np.void]) -> Rows:
    """View keys as rows of bytes."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, KEY_BYTES)
