"""The largest keys of a capture and its totals: `netsonde replay FILE --key src_dst`."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass
from importlib.metadata import version

import msgspec
from rich.progress import Progress
from rich.table import Table

from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Question, Task
from netsonde.replay.capture import Capture
from netsonde.replay.stream import Stream
from netsonde.sketch.summary import Row, Summary
from netsonde.sketch.tick import Side
from netsonde.sketch.window import Window

SCHEMA = 1
_CAPACITY = 1 << 20
MAX_TOP = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a capture."""

    task: Task
    key_type: KeyType
    top: int

    @property
    def counter(self) -> Counter:
        """The one counter of the task."""
        return self.task.counters[0]


@dataclass(slots=True)
class Hidden:
    """What ended up in no flow record, summed over ticks."""

    spilled_packets: int = 0
    contended_packets: int = 0
    spilled_buckets: int = 0
    used_buckets: int = 0
    inserts: int = 0
    flow_absent_upper: int = 0
    """E: a five-tuple with more packets in one tick than this is certainly in its records."""

    def absorb(self, side: Side) -> None:
        """Add a tick's."""
        self.spilled_packets += side.spilled_packets
        self.contended_packets += side.contended_packets
        self.spilled_buckets += side.spilled_buckets
        self.used_buckets += side.used_buckets
        self.inserts += side.inserts
        self.flow_absent_upper = max(self.flow_absent_upper, side.absent_packets)

    @property
    def packets(self) -> int:
        """Packets that are in no flow record."""
        return self.spilled_packets + self.contended_packets


@dataclass(frozen=True, slots=True)
class Counted:
    """What a capture held."""

    capture: Capture | Stream
    summary: Summary
    ip_packets: int
    ip_bytes: int
    hidden: Hidden
    drops: Tally[str]
    ticks: int
    distinct_standard_error: float | None


def count(capture: Capture | Stream, asked: Asked, progress: Progress) -> Counted:
    """Count a whole capture, tick by tick, as the monitor does; several ticks at a time."""
    window = Window(asked.task, _CAPACITY)
    drops: Tally[str] = Tally()
    ip_packets = ip_bytes = ticks = 0
    hidden = Hidden()
    bar = progress.add_task("counting", total=capture.size_bytes or None)
    for tick, offset in capture.ticks():
        window.absorb(tick)
        side = tick.sides[0]
        ip_packets += side.packets
        ip_bytes += side.ip_bytes
        hidden.absorb(side)
        drops.update(side.drops)
        ticks += tick.ticks
        progress.update(bar, completed=offset)
    question = Question(series="sketch", task_id=0, key_type=asked.key_type.name, limit=_CAPACITY)
    summary = window.summary(question, asked.counter)
    error = window.distinct_error(asked.key_type.name)
    return Counted(capture, summary, ip_packets, ip_bytes, hidden, drops, ticks, error)


def top_rows(summary: Summary, key_type: KeyType, top: int) -> list[tuple[str, Row]]:
    """Give the largest keys with their text; ties by text."""
    rows = [(key_type.format(row.key), row) for row in summary.rows()]
    rows.sort(key=lambda pair: (-pair[1].count.estimate, pair[0]))
    return rows[:top]


def as_json(asked: Asked, counted: Counted) -> dict[str, object]:
    """Give the answer as the documented JSON object (docs/reference/replay.md)."""
    distinct = counted.summary.distinct
    return {
        "packets": counted.capture.packets,
        "ip_packets": counted.ip_packets,
        "bytes": counted.ip_bytes,
        "distinct": distinct.estimate,
        "top": [
            {"key": key, **msgspec.structs.asdict(row.count)}
            for key, row in top_rows(counted.summary, asked.key_type, asked.top)
        ],
        "certificate": {
            "schema": SCHEMA,
            "software": f"netsonde {version('netsonde')}",
            "hook": "pcap",
            "task": msgspec.to_builtins(asked.task),
            "matched_packets": counted.summary.total_packets,
            "matched_bytes": counted.summary.total_bytes,
            "distinct": distinct,
            "distinct_standard_error": counted.distinct_standard_error,
            "absent_upper": counted.summary.absent_upper,
            "hidden_packets": counted.hidden.packets,
            "spilled_share": counted.hidden.spilled_packets / max(1, counted.ip_packets),
            "spilled_buckets": counted.hidden.spilled_buckets,
            "used_buckets": counted.hidden.used_buckets,
            "inserts": counted.hidden.inserts,
            "flow_absent_upper": counted.hidden.flow_absent_upper,
            "drops": dict(counted.drops),
            "broken": counted.capture.broken,
            "ticks": counted.ticks,
        },
    }


def as_table(asked: Asked, counted: Counted) -> Table:
    """Give the answer for people."""
    unit = asked.counter.increment.value
    total = getattr(counted.summary, f"total_{unit}").estimate
    table = Table(box=None, pad_edge=False)
    table.add_column(asked.key_type.name.replace("_", ","))
    table.add_column(unit, justify="right")
    table.add_column("share", justify="right")
    for key, row in top_rows(counted.summary, asked.key_type, asked.top):
        doubt = "" if row.count.exact else f" [{row.count.lower}..{row.count.upper}]"
        share = f"{row.count.estimate / total:.1%}" if total else "-"
        table.add_row(key, f"{row.count.estimate}{doubt}", share)
    return table


def certificate_line(counted: Counted) -> str:
    """Say in one line how far the answer can be trusted."""
    hidden = counted.hidden.packets
    parts = ["exact" if hidden == 0 else f"±{hidden} packets"]
    parts.append(f"{counted.ip_packets} IP packets of {counted.capture.packets}")
    parts += [f"{name} {number}" for name, number in counted.drops.items() if number]
    parts.append(f"{counted.summary.distinct.estimate} distinct keys")
    return " · ".join(parts)
