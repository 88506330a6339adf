"""Filters as the native core applies them: what passes in a window."""

from __future__ import annotations

import pytest
from packets import Flow, packet

from netsonde.model.bound import Bound
from netsonde.model.flow import FlowClass
from netsonde.model.port import MAX_RANGES, ports
from netsonde.model.task import Filter, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import Reader
from netsonde.sketch.window import Window

SYN, ACK = 0x02, 0x10
SENT = (
    (Flow("10.0.0.1", "10.0.0.2", 40000, 80, 6), SYN),
    (Flow("10.0.0.1", "10.0.0.2", 40001, 443, 6), SYN),
    (Flow("10.0.0.1", "10.0.0.2", 40001, 443, 6), ACK),
    (Flow("10.0.0.3", "10.0.0.2", 443, 50000, 6), SYN | ACK),
    (Flow("fd00::1", "fd00::2", 53, 50000, 17), 0),
    (Flow("fd00::1", "fd00::2", 50000, 53, 17), 0),
    (Flow("10.0.0.1", "10.0.0.2", 0, 0, 1), 0),
)


def passing(chosen: Filter) -> Bound:
    """Count all of SENT and give how many packets pass."""
    table = FlowTable(bytes(64), 6, _abi.SAMPLE_SHIFT_LEAST)
    reader = Reader(*table.buffers(), lg_buckets=6, cpus=1, hash_key=[0] * 8)
    for flow, flags in SENT:
        table.count(packet(flow, flags=flags), _abi.IN)
    window = Window(Task(series="counter", id=0, filter=chosen, since_tick=0))
    window.absorb(reader.read(table.flip(), 1))
    return window.summary(Question(series="counter", task_id=0), None).total_packets


@pytest.mark.parametrize(
    ("chosen", "packets"),
    [
        (Filter(), 7),
        (Filter(family=4), 5),
        (Filter(family=6), 2),
        (Filter(dport="80"), 1),
        (Filter(dport="80,443"), 3),
        (Filter(dport="79-442"), 1),
        (Filter(dport="0-65535"), 6),
        (Filter(sport="443", dport="50000"), 1),
        (Filter(sport="443", dport="50001"), 0),
        (Filter(sport="53", family=4), 0),
        (Filter(flow=FlowClass.ATTEMPT), 4),
        (Filter(flow=FlowClass.ATTEMPT, proto=6), 3),
        (Filter(flow=FlowClass.HALF_OPEN), 1),
        (Filter(flow=FlowClass.UNASKED), 2),
        (Filter(flow=FlowClass.UNASKED, proto=17), 1),
    ],
)
def test_what_passes(chosen: Filter, packets: int) -> None:
    assert passing(chosen) == Bound.exactly(packets)


def test_as_many_ranges_as_a_filter_may_have() -> None:
    text = ports("dport", ",".join(str(port) for port in range(80, 80 + 2 * MAX_RANGES, 2)))
    assert text.count(",") == MAX_RANGES - 1 == _abi.PORT_RANGES - 1
    assert passing(Filter(dport=text)) == Bound.exactly(1)
