"""Windows over a flow table: exact while nothing is hidden, bounded whatever happens."""

from __future__ import annotations

import secrets
import struct
from collections import Counter as Tally
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import Flow, packet, traffic

from netsonde.model.bound import Bound
from netsonde.model.errors import NotFound
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Interface, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import FRAME_BYTES, FRAME_PACKETS, UNREAD_CAUSES, Reader, Tick
from netsonde.sketch.window import Window


class Host:
    """A flow table that is fed by hand."""

    def __init__(self, lg_buckets: int) -> None:
        secret = secrets.token_bytes(64)
        self.table = FlowTable(secret, lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
        self.reader = Reader(
            *self.table.buffers(),
            lg_buckets=lg_buckets,
            cpus=1,
            hash_key=struct.unpack("<8Q", secret),
        )

    def tick(self, number: int):
        return self.reader.read(self.table.flip(), number)


def task(key_type: str, increment: Increment = Increment.PACKETS, **fields: object) -> Task:
    counter = Counter(key_type=key_type, increment=increment)
    return Task(series="sketch", id=0, filter=Filter(**fields), counters=(counter,), since_tick=0)


def summary(window: Window, of: Task, key: bytes | None = None):
    name = of.counters[0].key_type
    asked = Question(series="sketch", task_id=0, key_type=name, key=key, limit=1 << 20)
    return window.summary(asked, of.counters[0])


@given(
    seed=st.integers(0, 2**32),
    flows=st.sampled_from([5, 300, 3000]),
    increment=st.sampled_from(Increment),
    key_type=st.sampled_from(["src", "src_dst", "src_dst_sport_dport_proto", "proto"]),
    capacity=st.sampled_from([16, 4096]),
)
@settings(max_examples=40, deadline=None)
def test_bounds_hold_for_every_key(
    seed: int, flows: int, increment: Increment, key_type: str, capacity: int
) -> None:
    host, of, kind = Host(3), task(key_type, increment), KeyType.parse(key_type)
    window = Window(of, capacity)
    truth: Tally[str] = Tally()
    total = Tally[str]()
    for i, (flow, data) in enumerate(traffic(seed, 2000, flows)):
        host.table.count(data, _abi.IN)
        value = 1 if increment is Increment.PACKETS else len(data)
        truth[_key_text(kind, flow)] += value
        total["packets"] += 1
        total["bytes"] += len(data)
        if i % 500 == 499:
            window.absorb(host.tick(i))
    answer = summary(window, of)
    assert answer.total_packets.lower <= total["packets"] <= answer.total_packets.upper
    assert answer.total_bytes.lower <= total["bytes"] <= answer.total_bytes.upper
    for text, value in truth.items():
        bound = answer.count(kind.parse_key(text))
        assert bound.lower <= value <= bound.upper
        assert bound.lower <= bound.estimate <= bound.upper
    assert answer.distinct.lower <= len(truth) <= answer.distinct.upper
    for row in answer.rows():
        assert kind.format(row.key) in truth


def _key_text(kind: KeyType, flow: Flow) -> str:
    return ",".join(str(getattr(flow, field)) for field in kind.fields)


def test_exact_while_nothing_is_hidden() -> None:
    host, of = Host(8), task("dport")
    window = Window(of)
    web = Flow("10.0.0.1", "10.0.0.2", 40000, 80, 6)
    ping = Flow("10.0.0.1", "10.0.0.2", 0, 0, 1)
    for _ in range(3):
        host.table.count(packet(web), _abi.IN)
        host.table.count(packet(ping), _abi.IN)
    window.absorb(host.tick(1))
    answer = summary(window, of)
    kind = KeyType.parse("dport")
    # ICMP has no ports: it is in the totals and not in a table of ports.
    assert [(kind.format(row.key), row.count) for row in answer.rows()] == [
        ("80", Bound.exactly(3))
    ]
    assert answer.total_packets == Bound.exactly(6)
    assert answer.distinct == Bound.exactly(1)
    assert answer.count(kind.parse_key("81")) == Bound.exactly(0)


def _without_reading(tick: Tick, cause: str) -> Tick:
    """Give the tick as if one frame more had come and not been read."""
    received = replace(tick.sides[0], drops=tick.sides[0].drops | {cause: 1})
    return replace(tick, sides=(received, tick.sides[1]))


@pytest.mark.parametrize("cause", UNREAD_CAUSES)
@pytest.mark.parametrize("key_type", ["src", "src_dst_sport_dport_proto"])
@pytest.mark.parametrize("interface", Interface)
def test_a_frame_that_nobody_read_may_be_anybodys(
    cause: str, key_type: str, interface: Interface
) -> None:
    host, of = Host(6), task(key_type, interface=interface)
    flow = Flow("10.0.0.1", "10.0.0.2", 1, 2, 6)
    for direction in (_abi.IN, _abi.OUT):
        host.table.count(packet(flow), direction)
    window = Window(of)
    window.absorb(_without_reading(host.tick(1), cause))
    answer, kind = summary(window, of), KeyType.parse(key_type)
    sure = 2 if interface is Interface.BOTH else 1
    expected = Bound(lower=sure, estimate=sure, upper=sure + FRAME_PACKETS)
    assert answer.total_packets == expected
    assert answer.total_bytes.upper == answer.total_bytes.lower + FRAME_BYTES
    assert answer.count(kind.parse_key(_key_text(kind, flow))) == expected
    assert answer.absent_upper == FRAME_PACKETS
    assert answer.distinct.upper == 1 + FRAME_PACKETS


@pytest.mark.parametrize("cause", ["not_ip", "truncated"])
def test_a_frame_that_is_no_flows_leaves_answers_exact(cause: str) -> None:
    host, of = Host(6), task("src")
    window = Window(of)
    window.absorb(_without_reading(host.tick(1), cause))
    assert summary(window, of).total_packets == Bound.exactly(0)


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, 2),
        ({"interface": Interface.OUTPUT}, 1),
        ({"interface": Interface.BOTH}, 3),
        ({"proto": 17}, 1),
        ({"src": "10.0.0.0/24"}, 1),
        ({"src": "10.0.0.1/32", "dst": "10.9.0.0/16"}, 0),
        ({"dst": "fd00::/16"}, 1),
        ({"src": "::/0"}, 2),
    ],
)
def test_filters(fields: dict[str, object], counted: int) -> None:
    host, of = Host(6), task("src", **fields)
    host.table.count(packet(Flow("10.0.0.1", "10.0.0.2", 1, 2, 6)), _abi.IN)
    host.table.count(packet(Flow("fd00::1", "fd00::2", 1, 2, 17)), _abi.IN)
    host.table.count(packet(Flow("10.0.0.2", "10.0.0.1", 2, 1, 6)), _abi.OUT)
    window = Window(of)
    window.absorb(host.tick(1))
    assert summary(window, of).total_packets == Bound.exactly(counted)


def test_a_counter_that_is_not_there() -> None:
    of = task("src")
    with pytest.raises(NotFound, match="dst"):
        Window(of).summary(
            Question(series="sketch", task_id=0, key_type="dst"), Counter(key_type="dst")
        )
