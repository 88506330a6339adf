"""Planning: from a question as people ask it to what every host is asked.

The one idea: hosts know only ticks, filters and keys. What is left open in words (a default, a
window that ends now, a task's filter) is settled once, here, so that all hosts count the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from netsonde.model.asked import (
    Asked,
    Change,
    Count,
    Distinct,
    Distribution,
    Keys,
    Series,
    Spreaders,
    Top,
)
from netsonde.model.asking import DEFAULT_WINDOW, checked_filter, chosen_window, key_types
from netsonde.model.errors import BadField, NotFound
from netsonde.model.key import KeyType
from netsonde.model.task import MAX_KEYS, Filter, Increment, Question, Task
from netsonde.model.window import (
    MAX_POINTS,
    REAL_TIME_TICKS,
    TICKS_PER_S,
    TOTAL,
    Window,
    wall_text,
)

LARGEST_KEYS = 4096
"""Keys that each host is asked for where only the largest matter."""
FEW_KEYS = 64
"""Keys that suffice where one host alone is asked for the largest: nothing is added to them."""
DEFAULT_K = 10
MAX_ROWS = 1000
"""Rows of one answer."""
MAX_QUANTILES = 32
SERIES_WINDOW = Window.last(60 * TICKS_PER_S)
"""Of a series that names none."""
STEP_TICKS = {"100ms": 1, "1s": 10, "10s": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A question, checked, and what every host is asked for it."""

    asked: Asked
    filter: Filter
    """The question's, or its task's."""
    by: KeyType | None
    of: KeyType | None
    increment: Increment
    key: bytes | None
    windows: tuple[str, ...]
    """As the question wrote them, or the defaults."""
    questions: tuple[Question, ...]
    """One for each window; a change has two, the one it is compared with last."""


def planned(
    asked: Asked,
    task: Task | None,
    now_tick: int,
    *,
    largest_keys: int = LARGEST_KEYS,
    all_keys: int = MAX_KEYS,
) -> Plan:
    """Check a question and plan it.

    `task`: that of `asked.task`, None where it has none. `now_tick`: the latest tick that every
    host has closed. `largest_keys`, `all_keys`: keys asked of each host, where the largest matter
    and where all do. Raises BadField naming what is wrong, and NotFound for a key type that the
    task does not count over its `total` window; over any other, the recorder answers for any.
    """
    if task is not None and asked.filter is not None:
        raise BadField("filter", asked.filter, "nothing beside task, whose own filter applies")
    _check_numbers(asked)
    by, of, key = _keys(asked)
    chosen = checked_filter(asked.filter) if asked.filter is not None else Filter()
    increment = Increment(getattr(asked, "increment", "packets"))
    whole = isinstance(asked, Keys | Distinct | Distribution | Change)
    limit = 1 if by is None or key is not None else all_keys if whole else largest_keys
    windows = _windows(asked, now_tick)
    if task is not None and windows[0][1] == TOTAL:
        questions: tuple[Question, ...] = (_of_task(task, by, increment, key, limit),)
    else:
        question = Question(
            filter=chosen if task is None else task.filter,
            increment=increment,
            key_type=None if by is None else by.name,
            of=None if of is None else of.name,
            step_ticks=STEP_TICKS[asked.step] if isinstance(asked, Series) else 0,
            key=key,
            limit=limit,
        )
        questions = tuple(replace(question, window=window) for _, window in windows)
    return Plan(
        asked=asked,
        filter=chosen if task is None else task.filter,
        by=by,
        of=of,
        increment=increment,
        key=key,
        windows=tuple(text for text, _ in windows),
        questions=questions,
    )


def keys_of_one(asked: Asked) -> int:
    """Give the `largest_keys` of a question that only one host answers."""
    if isinstance(asked, Spreaders) or (isinstance(asked, Top) and asked.share is None):
        return max(FEW_KEYS, 4 * (asked.k or DEFAULT_K))
    return LARGEST_KEYS


def _of_task(
    task: Task, by: KeyType | None, increment: Increment, key: bytes | None, limit: int
) -> Question:
    if by is not None:
        counter = task.counter(by.name)
        if counter is None:
            counted = ", ".join(sorted(one.key_type for one in task.counters)) or "totals alone"
            raise NotFound(
                f"field 'by' is {by.name!r}; task {task.id} counts {counted} over its "
                "total window; any key type can be asked over a window such as 'last 10m'"
            )
        if counter.increment is not increment:
            raise BadField(
                "increment",
                increment.value,
                f"{counter.increment.value}: so task {task.id} counts {by.name} over its total "
                "window; either can be asked over a window such as 'last 10m'",
            )
    return Question(
        series=task.series,
        task_id=task.id,
        increment=increment,
        key_type=None if by is None else by.name,
        window=TOTAL,
        key=key,
        limit=limit,
    )


def _keys(asked: Asked) -> tuple[KeyType | None, KeyType | None, bytes | None]:
    """Read by, of and key."""
    if isinstance(asked, Spreaders):
        by, of = key_types(asked.by, asked.of)
        return by, of, None
    if not isinstance(asked, Count | Series):
        return key_types(asked.by)[0], None, None
    if asked.by is None:
        if asked.key is not None:
            raise BadField("by", None, f"the key type of key={asked.key}, such as src")
        return None, None, None
    by = key_types(asked.by)[0]
    if asked.key is None:
        raise BadField("key", None, f"a key of by={by.name}; without both, everything is counted")
    return by, None, by.parse_key(asked.key, "key")


def _windows(asked: Asked, now_tick: int) -> tuple[tuple[str, Window], ...]:
    """Settle the windows, each with what the question called it."""
    window = _window(asked)
    if window.kind == "range" and window.first_tick > now_tick:
        raise BadField("window", window.text, f"a window that has begun; it is {_now(now_tick)}")
    text = asked.window or window.text
    if isinstance(asked, Series):
        return ((text, _whole_steps(window, STEP_TICKS[asked.step], now_tick)),)
    if not isinstance(asked, Change):
        return ((text, window),)
    now = _as_range(window, now_tick)
    if asked.against == "before":
        return ((text, now), (asked.against, now.before()))
    other = Window.parse(asked.against, "against")
    if other == TOTAL or (other.kind == "range" and other.first_tick > now_tick):
        raise BadField("against", asked.against, "'before', or a window in the past")
    return ((text, now), (asked.against, _as_range(other, now_tick)))


def _window(asked: Asked) -> Window:
    recent_only = isinstance(asked, Spreaders | Change | Series)
    if recent_only and asked.window is None:
        return SERIES_WINDOW if isinstance(asked, Series) else DEFAULT_WINDOW
    window = chosen_window(asked)
    if recent_only and window == TOTAL:
        raise BadField("window", asked.window, "a window such as 'last 30s' or a range; not total")
    return window


def _as_range(window: Window, now_tick: int) -> Window:
    if window.kind == "range":
        return Window.range(window.first_tick, min(window.last_tick, now_tick))
    ticks = window.ticks if window.kind == "last" else REAL_TIME_TICKS
    return Window.range(max(0, now_tick - ticks + 1), now_tick)


def _whole_steps(window: Window, step_ticks: int, now_tick: int) -> Window:
    """Give the whole steps that hold a window, without one that has not ended."""
    chosen = _as_range(window, now_tick)
    ended = (now_tick + 1) // step_ticks * step_ticks
    end = min(-(-(chosen.last_tick + 1) // step_ticks) * step_ticks, ended)
    steps = -(-(end - chosen.first_tick) // step_ticks)
    if window.kind != "range":  # as many steps as were asked for, before the one that goes on
        steps = -(-(chosen.last_tick + 1 - chosen.first_tick) // step_ticks)
    if not 1 <= steps <= MAX_POINTS:
        longest = Window.last(MAX_POINTS * step_ticks).text
        raise BadField(
            "window", window.text, f"1 to {MAX_POINTS} whole steps that have ended, up to {longest}"
        )
    return Window.range(end - steps * step_ticks, end - 1)


def _check_numbers(asked: Asked) -> None:
    """Check what a decoder checks already, for questions that were never text."""
    if isinstance(asked, Top | Spreaders | Change) and asked.k is not None:
        _within("k", asked.k, 1, MAX_ROWS)
    if isinstance(asked, Top) and asked.share is not None:
        _within("share", asked.share, 0, 1)
    if isinstance(asked, Keys):
        _within("limit", asked.limit, 1, MAX_ROWS)
    if isinstance(asked, Distribution):
        if len(asked.quantiles) > MAX_QUANTILES:
            raise BadField("quantiles", len(asked.quantiles), f"at most {MAX_QUANTILES}")
        for q in asked.quantiles:
            _within("quantiles", q, 0, 1)


def _within(field: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadField(field, value, f"{least} to {most}")


def _now(now_tick: int) -> str:
    return wall_text(now_tick + 1)
