"""The tasks of one host: its own, those it has from its parent, and what its children must get.

The one idea: a book of tasks is a value. Every change gives a new book, so a change that fails
has happened nowhere. Tasks from above win: an id means the same task on every host of a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from netsonde.model import address
from netsonde.model.errors import BadField, NotFound
from netsonde.model.key import KEY_BYTES, KeyType
from netsonde.model.task import (
    MAX_COUNTERS,
    MAX_ID,
    MAX_KEYS,
    MAX_TASKS,
    Counter,
    Filter,
    Question,
    Scope,
    Task,
)

Series = Literal["sketch", "counter"]

FIRST_DRAWN_ID = 1_000_000
"""Ids below are issued in order by an agent without a parent, ids from here on are drawn."""
_SHOWN_IDS = 20


class OwnTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was configured at this very host."""

    task: Task
    scope: Scope


@dataclass(frozen=True, slots=True)
class Book:
    """All tasks of one host."""

    own: tuple[OwnTask, ...] = ()
    inherited: tuple[Task, ...] = ()
    """Tasks that the parent sent; they are for this host and everyone below."""

    def all(self) -> tuple[Task, ...]:
        """List what this host's monitor must run."""
        return self.inherited + tuple(own.task for own in self.own)

    def for_children(self) -> tuple[Task, ...]:
        """List what every child must have."""
        return self.inherited + tuple(own.task for own in self.own if own.scope == "subtree")

    def sketch(self, sketch_id: int) -> Task:
        """Find a sketch; raises NotFound naming the ids that exist."""
        return self._named("sketch", sketch_id)

    def scope_of(self, task: Task) -> Scope:
        """Tell whether a task runs on this host alone."""
        return next((own.scope for own in self.own if own.task.ref == task.ref), "subtree")

    def same_counter(self, wanted: Filter, scope: Scope) -> Task | None:
        """Find a totals task that already counts this filter for at least this scope."""
        for task in self.all():
            covers = scope == "host" or self.scope_of(task) == "subtree"
            if task.series == "counter" and task.filter == wanted and covers:
                return task
        return None

    def with_task(
        self, series: Series, wanted: Filter, scope: Scope, since_tick: int, drawn: int | None
    ) -> tuple[Book, Task]:
        """Add a task; `drawn` is a random number for its id where there is a parent, else None.

        Raises BadField when the host is full.
        """
        if len(self.all()) >= MAX_TASKS:
            raise BadField("type", f"config {series}", f"at most {MAX_TASKS} tasks on a host")
        task = Task(
            series=series, id=self._new_id(series, drawn), filter=wanted, since_tick=since_tick
        )
        return replace(self, own=(*self.own, OwnTask(task=task, scope=scope))), task

    def with_counter(self, sketch_id: int, counter: Counter, since_tick: int) -> tuple[Book, Task]:
        """Add a counter to an own sketch from a tick on; the same again changes nothing.

        Raises NotFound for an unknown sketch, BadField for a sketch from above, for a key type that
        is counted in another way already, and for one counter too many.
        """
        task = self.sketch(sketch_id)
        if not any(own.task.ref == task.ref for own in self.own):
            raise BadField("sketch_id", sketch_id, "a sketch configured here; this is the parent's")
        known = task.counter(counter.key_type)
        if known is not None:
            if msgspec.structs.replace(known, since_tick=counter.since_tick) == counter:
                return self, task
            raise BadField("counter_key_type", counter.key_type, _another_than(task, known))
        if len(task.counters) >= MAX_COUNTERS:
            limit = f"at most {MAX_COUNTERS} counters in a sketch"
            raise BadField("counter_key_type", counter.key_type, limit)
        counter = msgspec.structs.replace(counter, since_tick=since_tick)
        grown = msgspec.structs.replace(task, counters=(*task.counters, counter))
        return self.with_version(grown), grown

    def with_version(self, task: Task) -> Book:
        """Put another version of an own task in its place."""
        own = tuple(
            msgspec.structs.replace(o, task=task) if o.task.ref == task.ref else o for o in self.own
        )
        return replace(self, own=own)

    def without(self, task: Task) -> Book:
        """Withdraw an own task."""
        return replace(self, own=tuple(own for own in self.own if own.task.ref != task.ref))

    def inherit(self, tasks: Sequence[Task]) -> tuple[Book, tuple[Task, ...]]:
        """Take the parent's tasks in place of the former ones; gives the own tasks that had to go.

        They go when their id is the parent's, and, newest first, when the host is full.
        Raises BadField when a task is not one that this release could have configured.
        """
        check_tasks(tasks)
        taken = {task.ref for task in tasks}
        free = [own for own in self.own if own.task.ref not in taken]
        kept = free[: MAX_TASKS - len(tasks)]
        dropped = tuple(own.task for own in self.own if own not in kept)
        return Book(own=tuple(kept), inherited=tuple(tasks)), dropped

    def _named(self, series: Series, task_id: int) -> Task:
        known = [task for task in self.all() if task.series == series]
        for task in known:
            if task.id == task_id:
                return task
        ids = ", ".join(str(task.id) for task in known[:_SHOWN_IDS])
        allowed = ids + (", ..." if len(known) > _SHOWN_IDS else "")
        raise NotFound(
            f"field '{series}_id' is {task_id}; there is no such {series} here, "
            f"allowed: {allowed or f'none until config {series} is sent'}"
        )

    def _new_id(self, series: Series, drawn: int | None) -> int:
        taken = {task.id for task in self.all() if task.series == series}
        if drawn is None:
            first = max((i for i in taken if i < FIRST_DRAWN_ID), default=-1) + 1
        else:
            first = FIRST_DRAWN_ID + drawn % (MAX_ID - FIRST_DRAWN_ID - MAX_TASKS)
        return next(i for i in itertools.count(first) if i not in taken)


def check_tasks(tasks: Sequence[Task]) -> None:
    """Check tasks that came from another agent; raises BadField naming the first bad field."""
    if len(tasks) > MAX_TASKS:
        raise BadField("tasks", len(tasks), f"at most {MAX_TASKS} tasks on a host")
    if len({task.ref for task in tasks}) != len(tasks):
        raise BadField("tasks", [task.id for task in tasks], "every id once in its series")
    for task in tasks:
        _check_task(task)


def check_question(question: Question) -> None:
    """Check a question that came from another agent; raises BadField naming the bad field."""
    if question.key_type is not None:
        KeyType.parse(question.key_type, "key_type")
    if question.key is not None and len(question.key) != KEY_BYTES:
        raise BadField("key", question.key, f"{KEY_BYTES} bytes")
    if not 1 <= question.limit <= MAX_KEYS:
        raise BadField("limit", question.limit, f"1 to {MAX_KEYS} keys")


def _check_task(task: Task) -> None:
    if not 0 <= task.id <= MAX_ID:
        raise BadField("id", task.id, f"0 to {MAX_ID}")
    for since_tick in (task.since_tick, *(counter.since_tick for counter in task.counters)):
        if not 0 <= since_tick <= 1 << 40:
            raise BadField("since_tick", since_tick, "unix time in units of 100 ms")
    if task.filter.proto is not None and not 0 <= task.filter.proto <= 255:
        raise BadField("proto", task.filter.proto, "0 to 255")
    for name, value in (("src", task.filter.src), ("dst", task.filter.dst)):
        if value is not None and address.prefix(name, value) != value:
            raise BadField(name, value, "a prefix in canonical form such as 10.0.0.5/32")
    names = [counter.key_type for counter in task.counters]
    if len(names) > MAX_COUNTERS or len(set(names)) != len(names):
        raise BadField("counters", names, f"at most {MAX_COUNTERS}, one of a key type")
    for counter in task.counters:
        KeyType.parse(counter.key_type, "key_type")
        if not 0 <= counter.hitter_threshold <= 1:
            raise BadField("hitter_threshold", counter.hitter_threshold, "a share from 0 to 1")


def _another_than(task: Task, known: Counter) -> str:
    return (
        f"another key type, or the same counter again: sketch {task.id} counts "
        f"{known.increment.value} of it with hitter_threshold {known.hitter_threshold}"
    )
