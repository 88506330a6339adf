"""The monitor's tasks as a story: applied, counted, kept, replaced, asked."""

from __future__ import annotations

import numpy as np
import pytest

from netsonde.model.errors import BadField, NotFound, TooLarge
from netsonde.model.evidence import ClockStep, Evidence
from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.model.window import REAL_TIME, TICK_NS, TOTAL, Window
from netsonde.monitor.running import (
    LEAST_KEYS,
    MAX_KEYS_TOTAL,
    MOST_KEYS,
    Running,
    capacity_of,
)
from netsonde.monitor.tasks import MAX_COUNTERS_TOTAL, Closed, Tasks
from netsonde.recorder.questions import finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi
from netsonde.sketch.part import read
from netsonde.sketch.series import Series
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Side, Tick
from netsonde.sketch.window import Window as SketchWindow

NOW = 17_000_000_000


def tick(number: int, packets: int) -> Closed:
    """A tick of one flow with this many packets of 100 bytes, received."""
    record = np.zeros(1, _abi.RECORD)
    record["packets"], record["bytes"] = packets, 100 * packets
    record["key"]["proto"] = 6
    quiet = Side(packets=0, ip_bytes=0, drops={"not_ip": 0})
    busy = Side(packets=packets, ip_bytes=100 * packets, drops={"not_ip": 2})
    one = Tick(id=number, records=record.tobytes(), sides=(busy, quiet))
    return Closed(tick=one, mono_ns=(number + 1) * TICK_NS, epoch=number)


def monitored(began_tick: int = 0) -> Tasks:
    return Tasks(Recorder(1 << 20), began_tick=began_tick)


def task(number: int = 0, *counters: str, since: int = NOW, **fields: object) -> Task:
    counted = tuple(Counter(key_type=name) for name in counters)
    return Task(
        series="sketch", id=number, filter=Filter(**fields), counters=counted, since_tick=since
    )


def ask(tasks: Tasks, number: int = 0, **fields: object) -> tuple[Summary, Evidence]:
    question = Question(series="sketch", task_id=number, **fields)
    answered = finished(tasks.answering(question))
    return Summary.from_bytes(answered.part), answered.evidence


def packets(tasks: Tasks, number: int = 0, **fields: object) -> int:
    return ask(tasks, number, **fields)[0].total_packets.estimate


def test_a_task_counts_from_when_it_is_applied() -> None:
    tasks = monitored()
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task()], NOW + 1)
    tasks.absorb(tick(NOW + 1, 7))
    assert packets(tasks) == 7
    evidence = ask(tasks)[1]
    assert (evidence.first_tick, evidence.last_tick, evidence.missed_ticks) == (NOW + 1, NOW + 1, 0)
    assert (evidence.packets, evidence.ip_bytes, evidence.drops) == (7, 700, {"not_ip": 2})
    assert (tasks.packets, tasks.ip_bytes) == (12, 1200)
    assert tasks.drops["not_ip"] == 4


def test_a_task_that_stays_keeps_its_counts_and_a_counter_joins() -> None:
    tasks = monitored()
    tasks.apply([task(0, "src")], NOW)
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task(0, "src", "proto"), task(1)], NOW + 1)
    tasks.absorb(tick(NOW + 1, 7))
    assert packets(tasks) == 12
    assert packets(tasks, 1) == 7
    answer, evidence = ask(tasks, key_type="proto")
    assert (evidence.first_tick, evidence.packets) == (NOW + 1, 7)
    assert [row.count.estimate for row in answer.rows()] == [7]


def test_a_task_that_changes_starts_anew() -> None:
    tasks = monitored()
    tasks.apply([task()], NOW)
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task(proto=6)], NOW + 1)
    assert packets(tasks) == 0
    tasks.apply([], NOW + 2)
    with pytest.raises(NotFound, match="no sketch 0"):
        packets(tasks)


def test_real_time_is_the_last_second() -> None:
    tasks = monitored()
    tasks.apply([task()], NOW)
    for number in range(30):
        tasks.absorb(tick(NOW + number, 1))
    assert packets(tasks) == 30
    assert packets(tasks, window=REAL_TIME) == 10


def test_limits_change_nothing() -> None:
    tasks = monitored()
    tasks.apply([task(7)], NOW)
    many = [task(n, *["src", "dst", "proto"]) for n in range(MAX_COUNTERS_TOTAL // 3 + 1)]
    with pytest.raises(TooLarge, match=f"at most {MAX_COUNTERS_TOTAL}"):
        tasks.apply(many, NOW)
    assert len(tasks) == 1
    assert packets(tasks, 7) == 0


def test_unknown_counters_are_named() -> None:
    tasks = monitored()
    tasks.apply([task(0, "src")], NOW)
    with pytest.raises(NotFound, match="sketch 0 has no counter dst"):
        packets(tasks, key_type="dst")


def test_what_was_configured_before_the_monitor_came_is_known_to_miss_something() -> None:
    tasks = monitored(NOW)
    tasks.apply([task(0, "src", since=NOW - 7), task(1, since=NOW)], NOW + 2)
    tasks.absorb(tick(NOW + 2, 5))
    evidence = ask(tasks, key_type="src")[1]
    assert (evidence.first_tick, evidence.missed_ticks) == (NOW + 2, 9)
    assert ask(tasks, 1)[1].missed_ticks == 0


def test_real_time_is_not_whole_in_the_first_second() -> None:
    tasks = monitored(NOW)
    tasks.apply([task()], NOW)
    missed = []
    for number in range(12):
        tasks.absorb(tick(NOW + number, 1))
        if ahead := tasks.answering_ahead():
            finished(ahead)
        missed.append(ask(tasks, window=REAL_TIME)[1].missed_ticks)
    assert missed == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]


def test_a_task_is_asked_about_what_was_before_it() -> None:
    tasks = monitored()
    for number in range(100):
        tasks.absorb(tick(NOW + number, 1))
    tasks.apply([task(0, "src", since=NOW + 100)], NOW + 100)
    tasks.absorb(tick(NOW + 100, 1))
    assert packets(tasks) == 1
    assert packets(tasks, window=Window.last(60)) == 60
    range_ = Window.range(NOW + 20, NOW + 29)
    answer, evidence = ask(tasks, window=range_, key_type="src_dst")
    assert [row.count.estimate for row in answer.rows()] == [10]
    assert (evidence.first_tick, evidence.last_tick) == (NOW + 20, NOW + 29)
    assert (evidence.packets, evidence.drops) == (10, {"not_ip": 20})


def test_a_filter_is_asked_about_without_a_task() -> None:
    tasks = monitored()
    for number in range(100):
        tasks.absorb(tick(NOW + number, 1))
    udp, tcp = (Question(filter=Filter(proto=p), window=Window.last(30)) for p in (17, 6))
    found = [Summary.from_bytes(finished(tasks.answering(q)).part) for q in (udp, tcp)]
    assert [one.total_packets.estimate for one in found] == [0, 30]
    for wrong, field in ((Question(window=TOTAL), "window"), (Question(), "window")):
        with pytest.raises(BadField) as refused:
            finished(tasks.answering(wrong))
        assert refused.value.field == field
    tasks.apply([task()], NOW)
    spread = Question(series="sketch", task_id=0, key_type="src", of="dst")
    with pytest.raises(BadField, match="for the spread of keys"):
        finished(tasks.answering(spread))


def test_a_total_is_asked_as_a_series() -> None:
    tasks = monitored(NOW)
    tasks.apply([task(since=NOW)], NOW)
    for number in range(25):
        tasks.absorb(tick(NOW + number, number))
    question = Question(series="sketch", task_id=0, step_ticks=10)
    series = read(finished(tasks.answering(question)).part)
    assert isinstance(series, Series)
    assert series.estimate.tolist() == [45, 145, 110]
    assert series.hosts.tolist() == [1, 1, 0]


def test_a_clock_that_is_set_is_told_in_every_window_that_holds_it() -> None:
    tasks = monitored(NOW)
    tasks.apply([task(0)], NOW)
    tasks.absorb(tick(NOW, 1))
    step = ClockStep(tick=NOW - 300, step_ms=-30_100)
    closed = tick(NOW - 300, 1)
    tasks.absorb(Closed(tick=closed.tick, mono_ns=(NOW + 2) * TICK_NS, clock_step=step))
    tasks.apply([task(0), task(1)], NOW - 299)
    for _ in range(20):
        closed = tick(tasks.last_tick + 1, 1)
        tasks.absorb(Closed(tick=closed.tick, mono_ns=closed.mono_ns + 302 * TICK_NS))
    assert ask(tasks, 0)[1].clock_steps == (step,)
    assert ask(tasks, 1)[1].clock_steps == ()
    assert ask(tasks, 1, window=Window.last(50))[1].clock_steps == (step,)
    assert ask(tasks, 0, window=REAL_TIME)[1].clock_steps == ()


def test_what_was_asked_about_closed_ticks_is_answered_ahead() -> None:
    tasks, question = monitored(), Question(key_type="proto", window=Window.last(1))

    def last_tick() -> int:
        return finished(tasks.answering(question)).evidence.last_tick

    tasks.absorb(tick(NOW, 5))
    assert tasks.answering_ahead() is None
    assert last_tick() == NOW
    tasks.absorb(tick(NOW + 1, 7))
    assert last_tick() == NOW, "until the next answer is made"
    ahead = tasks.answering_ahead()
    assert ahead
    assert Summary.from_bytes(finished(ahead).part).total_packets.estimate == 7
    assert tasks.answering_ahead() is None
    assert last_tick() == NOW + 1
    tasks.absorb(tick(NOW + 2, 7))
    tasks.absorb(tick(NOW + 3, 7))
    assert last_tick() == NOW + 3, "no answer stands for two ticks"


def test_what_belongs_to_one_moment_is_not_answered_ahead() -> None:
    tasks = monitored()
    tasks.apply([task(0, "proto")], NOW)
    tasks.absorb(tick(NOW, 5))
    for window in (TOTAL, Window.range(NOW, NOW)):
        ask(tasks, key_type="proto", window=window)
        ask(tasks, key_type="proto", window=window)
    tasks.absorb(tick(NOW + 1, 7))
    assert tasks.answering_ahead() is None
    assert packets(tasks, window=TOTAL) == 12


def test_a_task_removed_while_its_total_is_folded_is_not_found() -> None:
    tasks = monitored()
    tasks.apply([task(0), task(1)], NOW)
    for number in range(5):
        tasks.absorb(tick(NOW + number, 1))
    slices = tasks.answering(Question(series="sketch", task_id=0, window=TOTAL))
    next(slices)
    tasks.apply([task(1)], NOW + 5)
    for number in range(5, 25):
        tasks.absorb(tick(NOW + number, 1))
    while tasks.recorder.work():
        pass  # joined, and none of the rest needs single ticks
    with pytest.raises(NotFound, match="any more"):
        next(slices)
    assert packets(tasks, 1) == 25


def test_counters_share_the_keys_of_a_host() -> None:
    """As many as there may be: the first ones hold most, the last ones the least, all a few."""
    running: list[Running] = []
    for number in range(MAX_COUNTERS_TOTAL // 2):
        made = task(number, "src", "dst")
        keys = capacity_of(made, running)
        running.append(Running(made, SketchWindow(made, keys), 0, capacity=keys))
    held = [one.capacity for one in running]
    assert (max(held), min(held)) == (MOST_KEYS, LEAST_KEYS)
    assert held == sorted(held, reverse=True)
    shared = [keys for keys in held if keys > LEAST_KEYS]
    assert 2 * sum(shared) <= MAX_KEYS_TOTAL
