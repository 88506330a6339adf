"""What is kept of answers."""

from __future__ import annotations

from dataclasses import replace

from scripted import LAST_TICK, event, series_answer

from netsonde.cli.top.choice import Choice
from netsonde.cli.top.told import MOST_ALARMS, MOST_PAST, MOST_POINTS, Told
from netsonde.model.answer import Point
from netsonde.model.resource import EventPage


def counts(told: Told) -> list[int | None]:
    return [None if p.count is None else p.count.estimate for p in told.points.values()]


def test_seconds_join_those_before_and_stay_bounded() -> None:
    told, choice = Told(), Choice()
    told.take_series(choice, series_answer([1, 2, None, 4]))
    told.take_series(choice, series_answer([3, 4, 5], LAST_TICK + 10))
    assert counts(told) == [1, 2, 3, 4, 5]
    told.take_series(choice, series_answer([9] * (MOST_POINTS + 50), LAST_TICK + 20))
    assert len(told.points) == MOST_POINTS


def test_a_second_that_the_window_cuts_is_left_out() -> None:
    answer = series_answer([1, 2, 3])
    late = replace_points(answer.points[-1])
    told = Told()
    told.take_series(Choice(), type(answer)(
        increment="packets", step_ms=1000, points=(*answer.points, late),
        certificate=answer.certificate,
    ))  # fmt: skip
    assert counts(told) == [1, 2, 3]


def replace_points(point: Point) -> Point:
    return Point(tick=point.tick + 10, begins=point.begins, count=point.count)


def test_another_rate_begins_anew_but_another_key_type_does_not() -> None:
    told, choice = Told(), Choice()
    told.take_series(choice, series_answer([1, 2]))
    told.take_series(replace(choice, by="dst", window="real_time"), series_answer([2, 3]))
    assert counts(told) == [2, 3]
    told.take_series(choice.filtered("tcp"), series_answer([7]))
    assert counts(told) == [7]


def page(*events: object, dropped: int = 0) -> EventPage:
    return EventPage(events=events, next=None, dropped=dropped)  # type: ignore[arg-type]


def test_alarms_are_active_until_they_are_cleared() -> None:
    told = Told()
    told.take_events(page(event(1), event(2, key="10.0.0.7")))
    assert [each.key for each in told.active.values()] == ["10.0.0.6", "10.0.0.7"]
    told.take_events(page(event(3, state="cleared")))
    assert [each.key for each in told.active.values()] == ["10.0.0.7"]
    assert [each.key for each in told.past] == ["10.0.0.6"]
    assert told.events_after == "h5-b-3"
    told.take_events(EventPage(events=(), next=None, dropped=4))
    assert (told.events_after, told.events_dropped) == ("h5-b-3", 4)


def test_events_told_again_are_told_once() -> None:
    told = Told()
    events = (event(1), event(2, state="cleared"), event(3, key="10.0.0.7"))
    told.take_events(page(*events))
    told.take_events(page(*events))
    assert [each.id for each in told.past] == ["h5-b-2"]
    assert [each.id for each in told.active.values()] == ["h5-b-3"]


def test_alarms_are_bounded_and_what_gives_way_is_counted() -> None:
    told = Told()
    told.take_events(page(*(event(n, key=f"k{n}") for n in range(MOST_ALARMS + 5))))
    assert (len(told.active), told.events_dropped) == (MOST_ALARMS, 5)
    told.take_events(page(*(event(n, state="cleared", key=f"k{n}") for n in range(200))))
    assert len(told.past) == MOST_PAST


def test_trouble_keeps_its_beginning() -> None:
    told = Told()
    told.fail("top", "away", 100)
    told.fail("top", "still away", 200)
    found = told.troubles["top"]
    assert (found.why, found.since_mono_ns, found.times) == ("still away", 100, 2)
    told.succeed("top")
    assert not told.troubles
