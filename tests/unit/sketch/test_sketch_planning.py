"""Planning: what is left open is settled once; what cannot be asked is refused by name."""

from __future__ import annotations

import pytest

from netsonde.model.asked import (
    Asked,
    Change,
    Count,
    Distinct,
    Distribution,
    FilterText,
    Keys,
    Series,
    Spreaders,
    Top,
)
from netsonde.model.errors import BadField, NotFound
from netsonde.model.key import KeyType
from netsonde.model.task import MAX_KEYS, Counter, Filter, Increment, Question, Task
from netsonde.model.window import REAL_TIME, TOTAL, Window
from netsonde.sketch.planning import LARGEST_KEYS, SERIES_WINDOW, keys_of_one, planned

NOW = 17_639_858_617
"""2025-11-24T12:04:21.7Z; neither a second nor ten seconds end with it."""
TASK = Task(
    series="sketch",
    id=3,
    filter=Filter(proto=6),
    counters=(
        Counter(key_type="src", increment=Increment.BYTES),
        Counter(key_type="dport"),
    ),
    since_tick=5,
)


def questions(asked: Asked, task: Task | None = None) -> tuple[Question, ...]:
    return planned(asked, task, NOW).questions


def test_a_filter_is_asked_about_the_last_ten_seconds() -> None:
    assert questions(Top(by="src", filter=FilterText(proto="udp"))) == (
        Question(
            filter=Filter(proto=17), key_type="src", window=Window.last(100), limit=LARGEST_KEYS
        ),
    )


def test_a_task_is_asked_about_its_total_in_its_own_increment() -> None:
    plan = planned(Keys(by="src", task=3, increment="bytes"), TASK, NOW)
    assert plan.questions == (
        Question(
            series="sketch",
            task_id=3,
            key_type="src",
            increment=Increment.BYTES,
            window=TOTAL,
            limit=MAX_KEYS,
        ),
    )
    assert (plan.filter, plan.windows) == (Filter(proto=6), ("total",))


def test_totals_of_a_task_need_no_counter() -> None:
    [question] = questions(Count(task=3, increment="bytes"), TASK)
    assert (question.key_type, question.increment, question.limit) == (None, Increment.BYTES, 1)


def test_the_recent_past_of_a_task_can_be_asked_by_anything() -> None:
    [question] = questions(Top(by="src_dport", task=3, window="real_time"), TASK)
    assert question == Question(
        filter=TASK.filter, key_type="src_dport", window=REAL_TIME, limit=LARGEST_KEYS
    )


def test_one_key_is_one_key() -> None:
    [question] = questions(Count(by="src_dst", key="10.0.0.6, 10.0.0.5"))
    assert question.key == KeyType.parse("src_dst").parse_key("10.0.0.6,10.0.0.5")
    assert question.limit == 1


@pytest.mark.parametrize("asked", [Distinct(by="src"), Distribution(by="src"), Change(by="src")])
def test_where_every_key_matters_as_many_are_asked_as_may_be(asked: Asked) -> None:
    assert all(question.limit == MAX_KEYS for question in questions(asked))


def test_who_counts_alone_may_list_more() -> None:
    plan = planned(Top(by="src"), None, NOW, largest_keys=1 << 20)
    assert plan.questions[0].limit == 1 << 20


def test_spreads_count_something_once() -> None:
    [question] = questions(Spreaders())
    assert (question.key_type, question.of, question.window) == ("src", "dst", Window.last(100))


@pytest.mark.parametrize(
    ("asked", "now", "before"),
    [
        (Change(by="src"), (NOW - 99, NOW), (NOW - 199, NOW - 100)),
        (Change(by="src", window="last 3s"), (NOW - 29, NOW), (NOW - 59, NOW - 30)),
        (Change(by="src", window="real_time"), (NOW - 9, NOW), (NOW - 19, NOW - 10)),
        (Change(by="src", against="last 60s"), (NOW - 99, NOW), (NOW - 599, NOW)),
        (
            Change(
                by="src",
                window="2025-11-24T12:04:00Z/2025-11-24T12:04:10Z",
                against="2025-11-24T11:04:00Z/2025-11-24T11:04:10Z",
            ),
            (17_639_858_400, 17_639_858_499),
            (17_639_822_400, 17_639_822_499),
        ),
    ],
)
def test_windows_of_a_change_are_settled_by_who_asks(
    asked: Change, now: tuple[int, int], before: tuple[int, int]
) -> None:
    assert [question.window for question in questions(asked)] == [
        Window.range(*now),
        Window.range(*before),
    ]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        (Series(), 17_639_858_010, 17_639_858_609),
        (Series(step="100ms", window="last 1s"), NOW - 9, NOW),
        (Series(step="10s", window="last 15s"), 17_639_858_400, 17_639_858_599),
        (
            Series(window="2025-11-24T12:04:00.5Z/2025-11-24T12:04:01.5Z"),
            17_639_858_400,
            17_639_858_419,
        ),
        (
            Series(window="2025-11-24T12:04:00.5Z/2025-11-24T13:00:00Z"),
            17_639_858_400,
            17_639_858_609,
        ),
    ],
)
def test_a_series_is_of_whole_steps_that_have_ended(asked: Series, first: int, last: int) -> None:
    [question] = questions(asked)
    assert question.window == Window.range(first, last)


def test_a_series_of_a_task_is_of_the_last_minute() -> None:
    plan = planned(Series(task=3), TASK, NOW)
    assert plan.questions[0].filter == TASK.filter
    assert plan.windows == (SERIES_WINDOW.text,)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Top(by="scr"), "by"),
        (Count(by="src"), "key"),
        (Count(key="10.0.0.1"), "by"),
        (Count(by="src", key="10.0.0"), "key"),
        (Series(by="dport", key="http"), "key"),
        (Spreaders(by="src", of="src_dst"), "of"),
        (Spreaders(task=3, window="total"), "window"),
        (Change(by="src", task=3, window="total"), "window"),
        (Change(by="src", against="total"), "against"),
        (Change(by="src", against="2035-01-01T00:00:00Z/2035-01-01T00:01:00Z"), "against"),
        (Change(by="src", against="yesterday"), "against"),
        (Top(by="src", window="2035-01-01T00:00:00Z/2035-01-01T00:01:00Z"), "window"),
        (Top(by="src", window="total"), "window"),
        (Series(window="last 24h"), "window"),
        (Series(step="10s", window="2025-11-24T12:04:20Z/2025-11-24T12:05:00Z"), "window"),
        (Top(by="src", k=0), "k"),
        (Top(by="src", k=1001), "k"),
        (Top(by="src", share=1.5), "share"),
        (Keys(by="src", limit=0), "limit"),
        (Distribution(by="src", quantiles=(0.5, 1.01)), "quantiles"),
        (Distribution(by="src", quantiles=(0.5,) * 33), "quantiles"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(asked: Asked, field: str) -> None:
    task = TASK if asked.task is not None else None
    with pytest.raises(BadField, match=f"field '{field}'") as refused:
        questions(asked, task)
    assert refused.value.field == field
    assert refused.value.allowed


def test_a_task_brings_its_own_filter() -> None:
    with pytest.raises(BadField, match="field 'filter'"):
        questions(Top(by="src", task=3, filter=FilterText()), TASK)


def test_what_a_task_does_not_count_names_what_it_does() -> None:
    with pytest.raises(NotFound, match="task 3 counts dport, src over its total window"):
        questions(Top(by="dst", task=3), TASK)
    with pytest.raises(BadField, match="field 'increment'"):
        questions(Top(by="src", task=3), TASK)


def test_one_host_is_asked_for_no_more_keys_than_can_matter() -> None:
    assert keys_of_one(Top(by="src")) < LARGEST_KEYS
    assert keys_of_one(Top(by="src", k=1000)) >= 1000
    assert keys_of_one(Top(by="src", share=0.1)) == LARGEST_KEYS
    assert keys_of_one(Change(by="src")) == LARGEST_KEYS
