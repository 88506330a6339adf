"""What a table of equal memory still knows: heavy hitters of one tick that is far too large for it.

Packets of Zipf-distributed flows, counted by the flow table and by sketches given as many bytes.
Count-min keeps no keys, so it is asked about every true key: better than it could do by itself.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol, TypedDict

import madoka
import numpy as np
from datasketches import frequent_strings_sketch

from benchmarks.data_path import zipf
from benchmarks.data_path.scale import Scale
from netsonde.kernel import _abi as kernel_abi
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import Reader
from netsonde.sketch.window import Window

LG_BUCKETS = (9, 11, 13)
_SAMPLE_SHIFT = 6
_SECRET = bytes(range(64))
_FLOWS = 500_000
_HEAVY_SHARE = 0.0001
_MADOKA_CELL_BYTES = 8
"""Three counters of a column share one 64-bit word (madoka/sketch.h)."""
_FREQUENT_ENTRY_BYTES = 18
_LRU_ENTRY_BYTES = 104
"""BPF_MAP_TYPE_LRU_HASH: struct htab_elem 48, key 40, packets and bytes 16."""

Counts = dict[int, int]


class Scores(TypedDict):
    """How well a sketch knows the heavy hitters."""

    recall: float
    precision: float
    mean_relative_error: float
    bound_violations: int | None
    """Keys whose truth is outside the stated bounds; None: states no bounds for each key."""


class Sketch(Protocol):
    """Counts packets by flow in bounded memory."""

    def add(self, flow: int) -> None:
        """Count a packet."""

    def estimates(self, flows: Iterable[int]) -> Counts:
        """Estimate the flows it knows; `flows` are the true ones, for sketches without keys."""


class Certified:
    """The product: one slice of the flow table, and the window that reads it."""

    def __init__(self, lg_buckets: int) -> None:
        self._table = FlowTable(_SECRET, lg_buckets, _SAMPLE_SHIFT)
        self._lg_buckets = lg_buckets
        self.bounds: dict[int, tuple[int, int]] = {}
        self.absent_upper = 0

    def add(self, flow: int) -> None:
        """Count a packet whose source address is the flow."""
        head = b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0"
        self._table.count(head + struct.pack(">IIHHHH", flow, 0x0A800001, 1024, 53, 8, 0), _abi.IN)

    def estimates(self, flows: Iterable[int]) -> Counts:
        """Read the table as the monitor does."""
        del flows
        kind = KeyType.parse("src", "key")
        counter = Counter(key_type=kind.name)
        task = Task(series="sketch", id=0, filter=Filter(), counters=(counter,), since_tick=0)
        window = Window(task, 1 << 20)
        reader = Reader(
            *self._table.buffers(),
            lg_buckets=self._lg_buckets,
            cpus=1,
            hash_key=struct.unpack("<8Q", _SECRET),
        )
        window.absorb(reader.read(self._table.flip(), 1))
        question = Question(series="sketch", task_id=0, key_type=kind.name, limit=1 << 20)
        summary = window.summary(question, counter)
        flow_of = [int.from_bytes(row.key[12:16], "big") for row in summary.rows()]
        rows = dict(zip(flow_of, summary.rows(), strict=True))
        self.bounds = {flow: (row.count.lower, row.count.upper) for flow, row in rows.items()}
        self.absent_upper = summary.absent_upper
        return {flow: row.count.estimate for flow, row in rows.items()}


class CountMin:
    """madoka, as the prototype used it."""

    def __init__(self, size_bytes: int) -> None:
        self._sketch = madoka.Sketch(width=size_bytes // _MADOKA_CELL_BYTES)

    def add(self, flow: int) -> None:
        """Count a packet."""
        self._sketch.inc(str(flow))

    def estimates(self, flows: Iterable[int]) -> Counts:
        """Look every true flow up."""
        return {flow: self._sketch.get(str(flow)) for flow in flows}


class Frequent:
    """DataSketches' frequent items (Misra-Gries with a bound for the whole table)."""

    def __init__(self, size_bytes: int) -> None:
        lg_entries = (size_bytes // _FREQUENT_ENTRY_BYTES).bit_length() - 1
        self._sketch = frequent_strings_sketch(lg_entries)

    def add(self, flow: int) -> None:
        """Count a packet."""
        self._sketch.update(str(flow))

    def estimates(self, flows: Iterable[int]) -> Counts:
        """Look every true flow up."""
        return {flow: self._sketch.get_estimate(str(flow)) for flow in flows}


class Lru:
    """An exact least-recently-used map of as many entries as the kernel's gets for the memory."""

    def __init__(self, size_bytes: int) -> None:
        self._room = size_bytes // _LRU_ENTRY_BYTES
        self._held: OrderedDict[int, int] = OrderedDict()

    def add(self, flow: int) -> None:
        """Count a packet; the flow longest without one may go, and its count with it."""
        self._held[flow] = self._held.pop(flow, 0) + 1
        if len(self._held) > self._room:
            self._held.popitem(last=False)

    def estimates(self, flows: Iterable[int]) -> Counts:
        """Give what is held."""
        del flows
        return dict(self._held)


def measure(scale: Scale) -> dict[str, dict[str, Scores]]:
    """Give {memory: {sketch: scores}}."""
    stream = zipf.draw(scale.accuracy_packets, _FLOWS, seed=2)
    numbers, counts = np.unique(stream, return_counts=True)
    truth = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    packets: list[int] = stream.tolist()
    return {
        f"{_size_bytes(lg_buckets) / 1e6:.2f} MB": _compare(lg_buckets, packets, truth)
        for lg_buckets in LG_BUCKETS
    }


def _compare(lg_buckets: int, packets: list[int], truth: Counts) -> dict[str, Scores]:
    size_bytes = _size_bytes(lg_buckets)
    certified = Certified(lg_buckets)
    sketches: dict[str, Sketch] = {
        "flow table": certified,
        "count-min (madoka)": CountMin(size_bytes),
        "frequent items (DataSketches)": Frequent(size_bytes),
        "LRU map": Lru(size_bytes),
    }
    for sketch in sketches.values():
        for flow in packets:
            sketch.add(flow)
    scores = {name: _score(sketch.estimates(truth), truth) for name, sketch in sketches.items()}
    scores["flow table"]["bound_violations"] = _violations(certified, truth)
    return scores


def _score(estimates: Counts, truth: Counts) -> Scores:
    threshold = _HEAVY_SHARE * sum(truth.values())
    heavy = {flow for flow, count in truth.items() if count >= threshold}
    named = {flow for flow, count in estimates.items() if count >= threshold}
    errors = [abs(estimates.get(flow, 0) - truth[flow]) / truth[flow] for flow in heavy]
    return Scores(
        recall=round(len(heavy & named) / len(heavy), 4),
        precision=round(len(heavy & named) / max(1, len(named)), 4),
        mean_relative_error=round(sum(errors) / len(errors), 6),
        bound_violations=None,
    )


def _violations(certified: Certified, truth: Counts) -> int:
    absent = (0, certified.absent_upper)
    bounds = ((certified.bounds.get(flow, absent), count) for flow, count in truth.items())
    return sum(not lower <= count <= upper for (lower, upper), count in bounds)


def _size_bytes(lg_buckets: int) -> int:
    return (kernel_abi.HOT.itemsize + kernel_abi.COLD.itemsize) << lg_buckets
