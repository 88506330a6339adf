"""`netsonde replay FILE.pcap`: ask a capture what one would ask a host.

Exit status: 0 counted to the end; 1 the file is broken (what came before is printed, and said to
be all); 2 wrong arguments or not a capture.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its idle threads cost memory

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from netsonde.model import address, proto
from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.replay.capture import Capture
from netsonde.sketch.summary import Row, Summary
from netsonde.sketch.tick import Side
from netsonde.sketch.window import Window

SCHEMA = 1
_CAPACITY = 1 << 20
_MAX_TOP = 100_000
_SECRET_BYTES = 64

app = App(
    name="netsonde replay",
    help="Count a capture file as the monitor counts a host: no root, no daemon.",
    version=lambda: version("netsonde"),
    help_format="plaintext",
)


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

    capture: Capture
    summary: Summary
    ip_packets: int
    ip_bytes: int
    hidden: Hidden
    drops: Tally[str]
    ticks: int
    distinct_standard_error: float | None


def count(capture: Capture, asked: Asked, progress: Progress) -> Counted:
    """Count a whole capture, tick by tick, as the monitor does."""
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


@app.default
def replay(
    file: Path,
    *,
    key: str = "src_dst",
    increment: Literal["packets", "bytes"] = "packets",
    top: int = 20,
    proto_: Annotated[str | None, Parameter(name="--proto")] = None,
    src: str | None = None,
    dst: str | None = None,
    json: bool = False,
) -> int:
    """Count a capture file.

    Parameters
    ----------
    file: pcap or pcapng file, plain or gzip, or a pipe.
    key: fields that make the key: src, dst, sport, dport and proto joined by '_'.
    increment: what to add for each packet.
    top: number of largest keys to print.
    proto_: count this protocol only: a name (tcp, udp, icmp, ...) or number.
    src: count packets from this address or prefix only.
    dst: count packets to this address or prefix only.
    json: print one JSON object.
    """
    if not 0 < top <= _MAX_TOP:
        raise BadField("top", top, f"1 to {_MAX_TOP}")
    key_type = KeyType.parse(key, "key")
    chosen = Filter(
        proto=None if proto_ is None else proto.number("proto", proto_),
        src=None if src is None else address.prefix("src", src),
        dst=None if dst is None else address.prefix("dst", dst),
    )
    counter = Counter(key_type=key_type.name, increment=Increment(increment))
    task = Task(series="sketch", id=0, filter=chosen, counters=(counter,), since_tick=0)
    asked = Asked(task, key_type, top)
    capture = Capture(file, secrets.token_bytes(_SECRET_BYTES))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        counted = count(capture, asked, progress)
    if json:
        sys.stdout.write(msgspec.json.encode(as_json(asked, counted)).decode() + "\n")
    else:
        console = Console()
        console.print(as_table(asked, counted))
        console.print(certificate_line(counted), style="dim", highlight=False)
    if capture.broken:
        sys.stderr.write(f"netsonde replay: {file} is {capture.broken}; counted up to there\n")
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script."""
    try:
        sys.exit(app(sys.argv[1:] if argv is None else argv, result_action="return_value"))
    except BadField as error:
        sys.stderr.write(f"netsonde replay: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
