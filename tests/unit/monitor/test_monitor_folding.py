"""Lazy folding: whatever is asked, applied or removed when, counts are those of eager folding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netsonde.model.flow import FlowClass
from netsonde.model.task import Counter, Filter, Interface, Question, Task
from netsonde.model.window import TICK_NS
from netsonde.monitor import tasks as room
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.recorder.questions import finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi
from netsonde.sketch import window as sketch
from netsonde.sketch.absent import placement
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Side, Tick

NOW = 17_000_000_000
PLACES = placement(list(range(1, 9)), 3)
FILTERS = (
    Filter(),
    Filter(interface=Interface.BOTH, proto=6),
    Filter(src="10.0.0.0/30"),
    Filter(proto=6, flow=FlowClass.HALF_OPEN),
)
KEY_TYPES = ("src", "src_dst_sport_dport_proto", "dport", "src/24")


def random_tick(number: int, seed: int, flows: int) -> Tick:
    """A tick of flows both ways, some of TCP with flags."""
    random = np.random.default_rng(seed)
    records = np.zeros(flows, _abi.RECORD)
    keys = records["key"]
    keys["src"][:, 10:12] = 0xFF
    keys["src"][:, 12], keys["src"][:, 15] = 10, random.integers(0, 8, flows)
    keys["dport"] = random.permutation(flows) + 1000  # no flow twice in a tick
    keys["flags"] = _abi.KEY_HAS_PORTS
    keys["proto"] = random.choice([6, 17], flows)
    keys["direction"] = random.integers(0, 2, flows)
    records["packets"] = random.integers(1, 50, flows)
    records["bytes"] = records["packets"] * 90
    records["tcp"] = random.choice([2, 18, 16, 0], flows)
    sides = []
    for direction in (0, 1):
        own = records[keys["direction"] == direction]
        packets, size = int(own["packets"].sum()), int(own["bytes"].sum())
        sides.append(Side(packets=packets, ip_bytes=size, drops={"not_ip": direction}))
    return Tick(id=number, records=records.tobytes(), sides=(sides[0], sides[1]), placement=PLACES)


def task(number: int, counters: int, since: int) -> Task:
    return Task(
        series="sketch",
        id=number,
        filter=FILTERS[number],
        counters=tuple(Counter(key_type=name) for name in KEY_TYPES[:counters]),
        since_tick=since,
    )


class Eager:
    """What a task must have counted: every tick, as it comes."""

    def __init__(self, given: Task) -> None:
        self.task, self.window = given, sketch.Window(given)

    def become(self, given: Task) -> None:
        for counter in given.counters:
            if counter.key_type not in self.window.key_types:
                self.window.add_counter(counter)
        self.task = given


def same(tasks: Tasks, eager: Eager, key_type: str | None) -> None:
    question = Question(series="sketch", task_id=eager.task.id, key_type=key_type, limit=65536)
    got = Summary.from_bytes(finished(tasks.answering(question)).part)
    counter = eager.task.counter(key_type) if key_type else None
    expected = eager.window.summary(question, counter)
    assert got.rows() == expected.rows()
    assert (got.total_packets, got.total_bytes) == (expected.total_packets, expected.total_bytes)
    assert (got.distinct, got.absent_upper) == (expected.distinct, expected.absent_upper)


STEP = st.one_of(
    st.tuples(st.just("tick"), st.integers(0, 30), st.integers(0, 2**31)),
    st.tuples(st.just("work"), st.integers(1, 20), st.just(0)),
    st.tuples(st.just("ask"), st.integers(0, 3), st.integers(0, 4)),
    st.tuples(st.just("apply"), st.integers(0, 3), st.integers(0, 4)),
    st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(STEP, max_size=100), st.sampled_from([0, 3000, 1 << 20]))
def test_lazy_folding_is_eager_folding(story: list[tuple[str, int, int]], most_bytes: int) -> None:
    before, room.MAX_WAITING_BYTES = room.MAX_WAITING_BYTES, most_bytes
    try:
        _play(story)
    finally:
        room.MAX_WAITING_BYTES = before


def _play(story: list[tuple[str, int, int]]) -> None:
    host = Host()
    for what, number, detail in story:
        getattr(host, what)(number, detail)
    for running in host.eager.values():
        for key_type in (None, *KEY_TYPES):
            if key_type is None or running.task.counter(key_type):
                same(host.tasks, running, key_type)


class Host:
    """A monitor's tasks, and beside them what they must have counted."""

    def __init__(self) -> None:
        self.tasks = Tasks(Recorder(1 << 20), began_tick=NOW)
        self.eager: dict[int, Eager] = {}
        self.now = NOW

    def tick(self, flows: int, seed: int) -> None:
        one = random_tick(self.now, seed, flows)
        self.now += 1
        self.tasks.absorb(Closed(tick=one, mono_ns=self.now * TICK_NS))
        for running in self.eager.values():
            running.window.absorb(one)

    def work(self, pieces: int, _: int) -> None:
        for _ in range(pieces):
            self.tasks.work()

    def ask(self, number: int, which: int) -> None:
        key_type, known = [None, *KEY_TYPES][which], self.eager.get(number)
        if known and (key_type is None or known.task.counter(key_type)):
            same(self.tasks, known, key_type)

    def apply(self, number: int, counters: int) -> None:
        """A task comes, or gets more counters."""
        if known := self.eager.get(number):
            more = max(counters, len(known.task.counters))
            known.become(task(number, more, known.task.since_tick))
        else:
            self.eager[number] = Eager(task(number, counters, self.now))
        self._apply()

    def remove(self, number: int, _: int) -> None:
        self.eager.pop(number, None)
        self._apply()

    def _apply(self) -> None:
        self.tasks.apply([running.task for running in self.eager.values()], self.now)


def test_what_tasks_have_folded_is_let_go() -> None:
    tasks = Tasks(Recorder(1 << 20), began_tick=NOW)
    tasks.apply([task(number, 1, NOW) for number in range(4)], NOW)
    for number in range(300):
        tasks.absorb(Closed(tick=random_tick(NOW + number, number, 20), mono_ns=number * TICK_NS))
        while tasks.work():
            pass
    assert tasks.recorder.batches.waiting_bytes == 0
    assert len(tasks._taken._marks) <= 11
    tasks.apply([], NOW + 300)
    assert len(tasks._taken._marks) == 1


def test_tasks_that_fall_behind_are_waited_for() -> None:
    tasks = Tasks(Recorder(1 << 20), began_tick=NOW, shared_by=room.MAX_WAITING_BYTES >> 20)
    tasks.apply([task(0, 1, NOW)], NOW)
    for number in range(300):
        one = random_tick(NOW + number, number, 500)
        tasks.absorb(Closed(tick=one, mono_ns=number * TICK_NS))
        assert tasks.recorder.batches.waiting_bytes <= 1 << 20
