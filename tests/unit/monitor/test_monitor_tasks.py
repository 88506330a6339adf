"""The monitor's tasks as a story: applied, counted, kept, replaced, asked."""

from __future__ import annotations

import pytest

from netsonde.model.errors import NotFound, TooLarge
from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.model.window import REAL_TIME
from netsonde.monitor.tasks import MAX_COUNTERS_TOTAL, Span, Tasks
from netsonde.sketch import _abi
from netsonde.sketch.tick import Side, Tick

NOW = 17_000_000_000


def tick(number: int, packets: int) -> Tick:
    """A tick of one flow with this many packets of 100 bytes, received."""
    import numpy as np

    record = np.zeros(1, _abi.RECORD)
    record["packets"], record["bytes"] = packets, 100 * packets
    record["key"]["proto"] = 6
    quiet = Side(packets=0, ip_bytes=0, drops={"not_ip": 0})
    busy = Side(packets=packets, ip_bytes=100 * packets, drops={"not_ip": 2})
    return Tick(id=number, records=record.tobytes(), sides=(busy, quiet))


def task(number: int = 0, *counters: str, since: int = NOW, **fields: object) -> Task:
    counted = tuple(Counter(key_type=name) for name in counters)
    return Task(
        series="sketch", id=number, filter=Filter(**fields), counters=counted, since_tick=since
    )


def packets(tasks: Tasks, number: int = 0, **fields: object) -> int:
    question = Question(series="sketch", task_id=number, **fields)
    return tasks.answer(question)[0].total_packets.estimate


def test_a_task_counts_from_when_it_is_applied() -> None:
    tasks = Tasks()
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task()], NOW + 1)
    tasks.absorb(tick(NOW + 1, 7))
    assert packets(tasks) == 7
    assert tasks.answer(Question(series="sketch", task_id=0))[1] == Span(NOW + 1)
    assert (tasks.packets, tasks.ip_bytes) == (12, 1200)
    assert tasks.drops["not_ip"] == 4


def test_a_task_that_stays_keeps_its_counts_and_a_counter_joins() -> None:
    tasks = Tasks()
    tasks.apply([task(0, "src")], NOW)
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task(0, "src", "proto"), task(1)], NOW + 1)
    tasks.absorb(tick(NOW + 1, 7))
    assert packets(tasks) == 12
    assert packets(tasks, 1) == 7
    answer, span = tasks.answer(Question(series="sketch", task_id=0, key_type="proto"))
    assert span == Span(NOW + 1)
    assert [row.count.estimate for row in answer.rows()] == [7]


def test_a_task_that_changes_starts_anew() -> None:
    tasks = Tasks()
    tasks.apply([task()], NOW)
    tasks.absorb(tick(NOW, 5))
    tasks.apply([task(proto=6)], NOW + 1)
    assert packets(tasks) == 0
    tasks.apply([], NOW + 2)
    with pytest.raises(NotFound, match="no sketch 0"):
        packets(tasks)


def test_real_time_is_the_last_second() -> None:
    tasks = Tasks()
    tasks.apply([task()], NOW)
    for number in range(30):
        tasks.absorb(tick(NOW + number, 1))
    assert packets(tasks) == 30
    assert packets(tasks, window=REAL_TIME) == 10


def test_limits_change_nothing() -> None:
    tasks = Tasks()
    tasks.apply([task(7)], NOW)
    many = [task(n, *["src", "dst", "proto"]) for n in range(MAX_COUNTERS_TOTAL // 3 + 1)]
    with pytest.raises(TooLarge, match=f"at most {MAX_COUNTERS_TOTAL}"):
        tasks.apply(many, NOW)
    assert len(tasks) == 1
    assert packets(tasks, 7) == 0


def test_unknown_counters_are_named() -> None:
    tasks = Tasks()
    tasks.apply([task(0, "src")], NOW)
    with pytest.raises(NotFound, match="sketch 0 has no counter dst"):
        packets(tasks, key_type="dst")


def test_what_was_configured_before_the_monitor_came_is_known_to_miss_something() -> None:
    tasks = Tasks(began_tick=NOW)
    tasks.apply([task(0, "src", since=NOW - 7), task(1, since=NOW)], NOW + 2)
    tasks.absorb(tick(NOW + 2, 5))
    span = tasks.answer(Question(series="sketch", task_id=0, key_type="src"))[1]
    assert span == Span(NOW + 2, missed_ticks=9)
    assert tasks.answer(Question(series="sketch", task_id=1))[1] == Span(NOW + 2)


def test_real_time_is_not_whole_in_the_first_second() -> None:
    tasks = Tasks(began_tick=NOW)
    tasks.apply([task()], NOW)
    question = Question(series="sketch", task_id=0, window=REAL_TIME)
    assert tasks.answer(question)[1].missed_ticks == 10
    missed = []
    for number in range(12):
        tasks.absorb(tick(NOW + number, 1))
        missed.append(tasks.answer(question)[1].missed_ticks)
    assert missed == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
