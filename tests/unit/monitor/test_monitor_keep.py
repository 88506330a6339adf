"""What one monitor keeps and the next one goes on with; what is missing is known to the tick."""

from __future__ import annotations

import msgspec
import pytest
from counted import (
    FLOW,
    LOAD,
    NOW,
    closed,
    flood,
    gap,
    kept_of_five,
    monitored,
    restored,
    task,
    tick,
)

from netsonde.model.task import Counter, Filter, Interface, Question, Task
from netsonde.model.window import Window
from netsonde.monitor.keep import Kept
from netsonde.monitor.running import Span
from netsonde.monitor.takeover import Gap
from netsonde.monitor.tasks import Tasks
from netsonde.recorder.questions import finished
from netsonde.sketch import _abi
from netsonde.sketch.summary import Summary


@pytest.fixture
def kept() -> Kept:
    return kept_of_five()


def answer(tasks: Tasks, key_type: str | None = "src") -> tuple[int, dict[bytes, int], Span]:
    question = Question(series="sketch", task_id=0, key_type=key_type)
    answered = finished(tasks.answering(question))
    summary, evidence = Summary.from_bytes(answered.part), answered.evidence
    span = Span(evidence.first_tick, missed_ticks=evidence.missed_ticks)
    rows = {bytes(row.key)[15:16]: row.count.estimate for row in summary.rows()}
    return summary.total_packets.estimate, rows, span


def resumed(kept: Kept, passed: Gap | None, now_tick: int) -> Tasks:
    tasks = restored(kept, passed, now_tick)
    tasks.apply([task("src")], now_tick + 2)  # as the agent does when it is connected again
    tasks.absorb(closed(tick(now_tick + 2, 100), 400))
    return tasks


def test_a_clean_restart_over_pins_loses_nothing(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20, source=2)), NOW + 60)
    assert answer(tasks) == (125, {b"\1": 102, b"\2": 23}, Span(NOW))
    assert answer(tasks, None)[2] == Span(NOW)


def test_a_killed_monitor_loses_what_it_had_not_kept(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 44, tick(NOW + 60, 20), epoch=340), NOW + 60)
    assert answer(tasks) == (125, {b"\1": 122, b"\2": 3}, Span(NOW, missed_ticks=34))
    tasks.catch_up()
    tasks = resumed(tasks.kept(LOAD), gap(NOW + 63, tick(NOW + 80, 1), epoch=400), NOW + 80)
    assert answer(tasks)[2] == Span(NOW, missed_ticks=34)


def test_without_pins_the_time_between_is_missing(kept: Kept) -> None:
    tasks = resumed(kept, None, NOW + 60)
    assert answer(tasks) == (105, {b"\1": 102, b"\2": 3}, Span(NOW, missed_ticks=50))


def test_a_gap_of_another_table_is_not_added(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW, tick(NOW + 60, 20), load_id=LOAD - 1), NOW + 60)
    assert answer(tasks)[::2] == (105, Span(NOW, missed_ticks=50))


def test_a_gap_that_did_not_see_all_is_added_and_told(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20), whole=False), NOW + 60)
    assert answer(tasks)[::2] == (125, Span(NOW, missed_ticks=50))


def test_a_restart_within_one_tick_still_tells_that_something_is_missing(kept: Kept) -> None:
    assert answer(resumed(kept, None, NOW + 10))[2].missed_ticks == 1
    lost = gap(NOW + 10, tick(NOW + 10, 1), epoch=8)
    assert answer(resumed(kept, lost, NOW + 10))[2].missed_ticks == 1


def test_a_counter_that_was_not_kept_begins_anew(kept: Kept) -> None:
    tasks = restored(kept, gap(NOW + 10, tick(NOW + 60, 20)), NOW + 60)
    tasks.apply([task("src", "dst")], NOW + 62)
    tasks.absorb(closed(tick(NOW + 62, 1)))
    assert answer(tasks)[0] == 26
    assert answer(tasks, "dst")[2] == Span(NOW + 62, missed_ticks=62)


def test_bounds_of_a_flood_go_on_over_the_same_table_and_not_over_another() -> None:
    table, reader = flood(500)
    whole, former = monitored(), monitored()
    inputs = Task(
        series="sketch",
        id=0,
        filter=Filter(interface=Interface.INPUT),
        counters=(Counter(key_type=FLOW),),
        since_tick=NOW,
    )
    for tasks in (whole, former):
        tasks.apply([inputs], NOW)
    first = reader.read(table.flip(), NOW)
    assert first.absent is not None
    for tasks in (whole, former):
        tasks.absorb(closed(first))
    former.catch_up()
    kept = former.kept(LOAD)
    later = restored(kept, gap(NOW + 1, first, epoch=1), NOW + 1)
    whole.absorb(closed(first))
    question = Question(series="sketch", task_id=0, key_type=FLOW)
    expected, got = (finished(tasks.answering(question)) for tasks in (whole, later))
    assert msgspec.msgpack.decode(got.part) == msgspec.msgpack.decode(expected.part)
    assert got.evidence.spilled_packets == expected.evidence.spilled_packets > 0
    assert got.evidence.flow_absent_upper == expected.evidence.flow_absent_upper > 0
    other = restored(kept, None, NOW + 1)
    assert len(other) == 0  # hidden flows of one table cannot be looked for in another


def test_what_cannot_be_a_window_begins_anew(kept: Kept) -> None:
    (one,) = kept.tasks
    for window in (
        msgspec.structs.replace(one.window, tables={}),
        msgspec.structs.replace(
            one.window, totals=msgspec.structs.replace(one.window.totals, entries=b"x")
        ),
    ):
        bad = msgspec.structs.replace(kept, tasks=(msgspec.structs.replace(one, window=window),))
        tasks = restored(bad, gap(NOW + 10, tick(NOW + 60, 20)), NOW + 60)
        assert len(tasks) == 0


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsonde.monitor.tasks.MAX_KEPT_BYTES", 2 * 4 * _abi.ENTRY.itemsize)
    former = monitored()
    former.apply([task("src", number=number) for number in range(3)], NOW)
    former.absorb(closed(tick(NOW, 2)))
    former.absorb(closed(tick(NOW + 1, 3, source=2), 7))
    former.catch_up()
    kept = former.kept(LOAD)
    assert [one.task.id for one in kept.tasks] == [0, 1]
    tasks = restored(kept, gap(NOW + 2, tick(NOW + 60, 20)), NOW + 60)
    tasks.apply([task("src", number=number) for number in range(3)], NOW + 62)
    found = [Question(series="sketch", task_id=number) for number in range(3)]
    evidence = [finished(tasks.answering(question)).evidence for question in found]
    assert [(one.first_tick, one.missed_ticks) for one in evidence] == [
        (NOW, 0),
        (NOW, 0),
        (NOW + 62, 62),
    ]


def test_each_task_goes_on_from_where_it_had_folded() -> None:
    """A killed monitor had kept tasks that were not equally far; each knows what it misses."""
    former = monitored()
    former.apply([task("src", number=number) for number in range(2)], NOW)
    former.absorb(closed(tick(NOW, 2), 6))
    finished(former.answering(Question(series="sketch", task_id=0)))
    former.absorb(closed(tick(NOW + 1, 3), 7))
    finished(former.answering(Question(series="sketch", task_id=1)))
    tasks = restored(former.kept(LOAD), gap(NOW + 2, tick(NOW + 9, 20)), NOW + 9)
    tasks.apply([task("src", number=number) for number in range(2)], NOW + 10)
    answers = [
        finished(tasks.answering(Question(series="sketch", task_id=number))) for number in range(2)
    ]
    found = [Summary.from_bytes(one.part).total_packets.estimate for one in answers]
    assert found == [22, 25]
    assert [one.evidence.missed_ticks for one in answers] == [1, 0]
    assert [one.evidence.packets for one in answers] == found


def test_the_recorder_holds_the_gap_and_knows_what_was_before(kept: Kept) -> None:
    tasks = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20)), NOW + 60)
    question = Question(window=Window.range(NOW + 40, NOW + 62))
    assert Summary.from_bytes(finished(tasks.answering(question)).part).total_packets.lower == 120
    begun = resumed(kept, gap(NOW + 10, tick(NOW + 60, 20), whole=False), NOW + 60)
    answered = finished(begun.answering(question))
    assert Summary.from_bytes(answered.part).total_packets.lower == 100
    assert answered.evidence.missed_ticks == 22
