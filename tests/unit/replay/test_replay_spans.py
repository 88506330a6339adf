"""Ticks of a capture given together hold what the same ticks hold that are closed one by one."""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

import pytest
from captures import RAW, enhanced, interface, section
from packets import traffic

from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.model.window import TICK_NS
from netsonde.replay.capture import Capture
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import Reader, Tick
from netsonde.sketch.window import Window

SECRET = bytes(range(64))
SIZES = [20, 30, 400] * 10
"""Packets of each tick: the small table spills in one of three."""
KEY_TYPES = ("src", "src_dst_sport_dport_proto")
TASK = Task(
    series="sketch",
    id=0,
    filter=Filter(),
    counters=tuple(Counter(key_type=name, increment=Increment.BYTES) for name in KEY_TYPES),
    since_tick=0,
)


def singly(ticks_packets: list[list[bytes]], lg_buckets: int) -> list[Tick]:
    """Close every tick on its own, as the monitor does."""
    table = FlowTable(SECRET, lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
    hash_key = struct.unpack("<8Q", SECRET)
    reader = Reader(*table.buffers(), lg_buckets=lg_buckets, cpus=1, hash_key=hash_key)
    ticks = []
    for number, packets in enumerate(ticks_packets):
        for content in packets:
            table.count(content, _abi.IN)
        ticks.append(reader.read(table.flip(), number))
    return ticks


def answers(ticks: list[Tick]) -> list[bytes]:
    """Ask a window of these ticks everything; bounds, keys and distinct counts are in it."""
    window = Window(TASK)
    for tick in ticks:
        window.absorb(tick)
    asked = (Question(series="sketch", task_id=0, key_type=name, limit=4096) for name in KEY_TYPES)
    return [
        b"".join(sorted(repr(row).encode() for row in summary.rows()))
        + repr((summary.total_bytes, summary.distinct, summary.absent_upper)).encode()
        + repr((summary.first_tick, summary.last_tick)).encode()
        for summary in (
            window.summary(question, counter)
            for question, counter in zip(asked, TASK.counters, strict=True)
        )
    ]


@pytest.mark.parametrize("lg_buckets", [3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_spans_add_up_to_their_ticks(tmp_path: Path, seed: int, lg_buckets: int) -> None:
    mixed = (content for _, content in traffic(seed, sum(SIZES), 2000))
    packets = [list(islice(mixed, size)) for size in SIZES]
    frames = [
        enhanced(content, number * TICK_NS // 1000)
        for number, contents in enumerate(packets)
        for content in contents
    ]
    file = tmp_path / "capture"
    file.write_bytes(section() + interface(link=RAW) + b"".join(frames))
    spans = [tick for tick, _ in Capture(file, SECRET, lg_buckets).ticks()]
    ticks = singly(packets, lg_buckets)

    spilling = [tick.id for tick in ticks if tick.absent]
    assert len(ticks) > len(spilling) >= (1 if lg_buckets == 3 else 0)
    # What spilled ends a span, so that bounds on absent flows stay those of one tick.
    assert [span.id for span in spans if span.absent] == spilling
    assert sum(span.ticks for span in spans) == len(ticks) > len(spans)
    assert answers(spans) == answers(ticks)
    for direction in (_abi.IN, _abi.OUT):
        for field in ("packets", "ip_bytes", "spilled_packets", "inserts", "used_buckets"):
            together, alone = (
                sum(getattr(tick.sides[direction], field) for tick in some)
                for some in (spans, ticks)
            )
            assert together == alone, field
