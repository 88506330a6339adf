"""The flow table's promises under any traffic: conservation, bounds, presence above E.

Packets go to several pretended CPUs, whose tables are folded together as the kernel's slices are.
"""

from __future__ import annotations

import random
import struct
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_table import ModelTable
from packets import Flow, packet

from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Interface, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.match import DIRECTIONS
from netsonde.sketch.tick import Reader, Tick
from netsonde.sketch.window import Window

LG_BUCKETS = 3
PACKETS = 1500
SECRET = random.Random(9).randbytes(64)
FIVE_TUPLE = KeyType.parse("src_dst_sport_dport_proto")
KEY_TYPES = (FIVE_TUPLE.name, "src", "dst_dport")

Shape = Callable[[random.Random], Iterator[Flow]]


def flow(number: int) -> Flow:
    """Number a flow; one in eight has no ports to be told by, one in eight is of another family."""
    prefix = "fd00::" if number % 8 == 1 else "10.0.0."
    proto = (6, 17, 17, 6, 6, 17, 1, 17)[number % 8]
    ports = (0, 0) if number % 8 in (6, 7) else (1024 + number % 60000, 443)
    return Flow(f"{prefix}{1 + number % 97}", f"{prefix}{1 + number // 97 % 250}", *ports, proto)


def zipf(dice: random.Random) -> Iterator[Flow]:
    while True:
        yield flow(int(dice.paretovariate(0.8)) % 4096)


def uniform(dice: random.Random) -> Iterator[Flow]:
    while True:
        yield flow(dice.randrange(300))


def flood_first(dice: random.Random) -> Iterator[Flow]:
    for number in range(PACKETS // 2):
        yield flow(10000 + number)
    yield from zipf(dice)


def flood_mixed(dice: random.Random) -> Iterator[Flow]:
    heavy = zipf(dice)
    for number in range(10000, 60000):
        yield flow(number)
        yield next(heavy)


def equal_tags(dice: random.Random) -> Iterator[Flow]:
    while True:
        yield dice.choice(flows_of_one_tag())


@cache
def flows_of_one_tag() -> list[Flow]:
    """Fill one bucket three times over with flows of which each shares its tag with another."""
    model = ModelTable(SECRET, LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST)
    found: dict[int, list[Flow]] = {}
    for number in range(20000):
        one = Flow("10.0.0.1", "10.0.0.2", number, 80, 17)
        fingerprint = model.fingerprint_of(packet(one), _abi.IN)
        if model.bucket_of(fingerprint) == 0:
            found.setdefault(fingerprint % (1 << 16) | 1, []).append(one)
    twins = [one for same in found.values() if len(same) > 1 for one in same]
    return twins[: 3 * _abi.WAYS]


class Machine:
    """Several CPUs' tables, read as one."""

    def __init__(self, cpus: int, epoch: int) -> None:
        self.tables = [
            FlowTable(SECRET, LG_BUCKETS, _abi.SAMPLE_SHIFT_LEAST, epoch) for _ in range(cpus)
        ]
        one = self.tables[0].buffers()
        self.buffers = [bytearray(cpus * len(view)) for view in one]
        self.reader = Reader(
            *(memoryview(buffer) for buffer in self.buffers),
            lg_buckets=LG_BUCKETS,
            cpus=cpus,
            hash_key=struct.unpack("<8Q", SECRET),
        )
        self.number = 0

    def tick(self, sample_shift: int) -> Tick:
        closed = [table.flip(sample_shift) for table in self.tables]
        for buffer, *views in zip(
            self.buffers, *(table.buffers() for table in self.tables), strict=True
        ):
            buffer[:] = b"".join(views)
        self.number += 1
        return self.reader.read(closed[0], self.number)


class Truth:
    """What was sent: per flow and direction, packets and bytes."""

    def __init__(self) -> None:
        self.packets: Tally[tuple[Flow, int]] = Tally()
        self.bytes: Tally[tuple[Flow, int]] = Tally()

    def by_key(self, kind: KeyType, increment: Increment, sides: tuple[int, ...]) -> Tally[str]:
        total: Tally[str] = Tally()
        for (one, side), value in getattr(self, increment.value).items():
            without_ports = one.proto == 1 and kind.needs_ports
            if side in sides and not without_ports:
                total[",".join(str(getattr(one, field)) for field in kind.fields)] += value
        return total


def assert_tick(tick: Tick, truth: Truth) -> None:
    """Nothing is lost or doubled, and every flow above E has a record."""
    records = tick.array()
    flows = records[records["kind"] == _abi.RECORD_FLOW]
    present = {(key.tobytes()[:37], int(key["direction"])) for key in flows["key"]}
    for side in (_abi.IN, _abi.OUT):
        certified = tick.sides[side]
        assert certified.packets == sum(n for (_, d), n in truth.packets.items() if d == side)
        assert certified.ip_bytes == sum(n for (_, d), n in truth.bytes.items() if d == side)
        mine = flows[flows["key"]["direction"] == side]
        assert certified.packets == mine["packets"].sum() + certified.hidden_packets
        for (one, direction), packets in truth.packets.items():
            ip_bytes = truth.bytes[one, direction]
            above = packets > certified.absent_packets or ip_bytes > certified.absent_bytes
            if direction == side and above:
                assert (FIVE_TUPLE.parse_key(one.text)[:37], side) in present


def assert_window(window: Window, task: Task, truth: Truth, sides: tuple[int, ...]) -> None:
    """Every key's truth is in its bounds, listed or not, asked alone or with all."""
    for counter in task.counters:
        kind = KeyType.parse(counter.key_type)
        ask = Question(series="sketch", task_id=0, key_type=kind.name, limit=1 << 20)
        every = window.summary(ask, counter)
        true = truth.by_key(kind, counter.increment, sides)
        for number, (text, value) in enumerate(true.items()):
            key = kind.parse_key(text)
            bounds = [every.count(key)]
            if number < 40:
                ask = Question(series="sketch", task_id=0, key_type=kind.name, key=key)
                bounds.append(window.summary(ask, counter).count(key))
                assert bounds[1].upper <= bounds[0].upper
            for bound in bounds:
                assert bound.lower <= value <= bound.upper
                assert bound.lower <= bound.estimate <= bound.upper
        assert every.distinct.lower <= len(true) <= every.distinct.upper


@dataclass(frozen=True)
class Setting:
    """One machine and one question to it."""

    seed: int
    cpus: int
    ticks: int
    epoch: int
    increment: Increment
    interface: Interface
    capacity: int


@pytest.mark.parametrize("shape", [zipf, uniform, flood_first, flood_mixed, equal_tags])
@given(
    st.builds(
        Setting,
        seed=st.integers(0, 2**32),
        cpus=st.sampled_from([1, 2, 5]),
        ticks=st.integers(1, 3),
        epoch=st.sampled_from([1, 0xFFFFFFFE]),
        increment=st.sampled_from(Increment),
        interface=st.sampled_from(Interface),
        capacity=st.sampled_from([16, 4096]),
    )
)
@settings(max_examples=10, deadline=None)
def test_every_promise_holds(shape: Shape, setting: Setting) -> None:
    counters = tuple(Counter(key_type=k, increment=setting.increment) for k in KEY_TYPES)
    given_filter = Filter(interface=setting.interface)
    task = Task(series="sketch", id=0, filter=given_filter, counters=counters, since_tick=0)
    dice, truth = random.Random(setting.seed), Truth()
    machine, window = Machine(setting.cpus, setting.epoch), Window(task, setting.capacity)
    flows = shape(dice)
    for _ in range(setting.ticks):
        of_tick = Truth()
        for _ in range(PACKETS // setting.ticks):
            one, side = next(flows), dice.choice([_abi.IN, _abi.IN, _abi.OUT])
            data = packet(one, dice.choice([0, 0, 230, 1200]))
            dice.choice(machine.tables).count(data, side)
            of_tick.packets[one, side] += 1
            of_tick.bytes[one, side] += len(data)
        tick = machine.tick(dice.randrange(_abi.SAMPLE_SHIFT_LEAST, _abi.SAMPLE_SHIFT_MOST + 1))
        assert_tick(tick, of_tick)
        window.absorb(tick)
        truth.packets += of_tick.packets
        truth.bytes += of_tick.bytes
    assert_window(window, task, truth, DIRECTIONS[setting.interface])


def test_bounds_are_those_of_a_bucket_not_of_the_whole_table() -> None:
    """A flood of new flows leaves an elephant's bounds within its own bucket's spill."""
    dice, machine, truth = random.Random(3), Machine(1, 1), Truth()
    elephant = flow(2)
    for one in (one for mouse in range(3000) for one in (elephant, flow(20000 + mouse))):
        machine.tables[0].count(packet(one, dice.choice([0, 1200])), _abi.IN)
        truth.packets[one, _abi.IN] += 1
    tick = machine.tick(_abi.SAMPLE_SHIFT_LEAST)
    side = tick.sides[_abi.IN]
    counter = Counter(key_type=FIVE_TUPLE.name)
    task = Task(series="sketch", id=0, filter=Filter(), counters=(counter,), since_tick=0)
    window = Window(task)
    window.absorb(tick)
    ask = Question(series="sketch", task_id=0, key_type=FIVE_TUPLE.name, limit=1 << 20)
    bound = window.summary(ask, counter).count(FIVE_TUPLE.parse_key(elephant.text))
    assert bound.lower == 3000
    assert bound.upper - bound.lower < side.spilled_packets / 5
    assert 0 < side.absent_packets < side.spilled_packets / 5
    assert side.spilled_buckets == side.used_buckets
