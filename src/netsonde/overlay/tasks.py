"""The tasks of one host: its own, those it has from its parent, and what its children must get.

The one idea: a book of tasks is a value. Every change gives a new book, so a change that fails
has happened nowhere. What was configured here is never lost to what comes from above: where both
have a task of the same id, the own one runs and the parent's is unmet here, by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from netsonde.model.checks import check_choices, check_tasks
from netsonde.model.detector import MAX_DETECTORS, Choice, Detector
from netsonde.model.errors import BadField, NotFound
from netsonde.model.task import MAX_COUNTERS, MAX_ID, MAX_TASKS, Counter, Filter, Scope, Task

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
    """Tasks that the parent sent, for this host and everyone below."""
    own_detectors: tuple[Choice, ...] = ()
    """Set at this very host, for it and everyone below."""
    inherited_detectors: tuple[Choice, ...] = ()
    """That the parent sent; they stand while it is the parent."""

    def all(self) -> tuple[Task, ...]:
        """List what this host's monitor must run."""
        unmet = {task.ref for task, _ in self.unmet()}
        met = tuple(task for task in self.inherited if task.ref not in unmet)
        return met + tuple(own.task for own in self.own)

    def unmet(self) -> tuple[tuple[Task, str], ...]:
        """Tell which of the parent's tasks cannot run here, and why."""
        own = {one.task.ref for one in self.own}
        room = MAX_TASKS - len(self.own)
        unmet = []
        for task in self.inherited:
            if task.ref in own:
                why = f"{task.series} {task.id} is another task there; remove one of the two"
                unmet.append((task, why))
            elif room == 0:
                why = f"no room for {task.series} {task.id} there; remove a task"
                unmet.append((task, why))
            else:
                room -= 1
        return tuple(unmet)

    def why_unmet(self, series: str | None, task_id: int) -> str | None:
        """Tell why a task of the parent's cannot run here; None where it can."""
        return next((why for task, why in self.unmet() if task.ref == (series, task_id)), None)

    def for_children(self) -> tuple[Task, ...]:
        """List what every child must have: the parent's tasks, and own ones of other ids."""
        taken = {task.ref for task in self.inherited}
        own = (one.task for one in self.own if one.scope == "subtree")
        return (*self.inherited, *(task for task in own if task.ref not in taken))[:MAX_TASKS]

    def sketch(self, sketch_id: int) -> Task:
        """Find a sketch; raises NotFound naming the ids that exist."""
        return self._named("sketch", sketch_id)

    def scope_of(self, task: Task) -> Scope:
        """Tell whether a task runs on this host alone, as one does whose id is the parent's too."""
        if any(task.ref == inherited.ref for inherited in self.inherited):
            return "host" if self.is_own(task) else "subtree"
        return next((own.scope for own in self.own if own.task.ref == task.ref), "subtree")

    def same_counter(self, wanted: Filter, scope: Scope) -> Task | None:
        """Find a totals task that already counts this filter for at least this scope."""
        for task in self.all():
            covers = scope == "host" or self.scope_of(task) == "subtree"
            if task.series == "counter" and task.filter == wanted and covers:
                return task
        return None

    def with_task(
        self,
        series: Series,
        wanted: Filter,
        scope: Scope,
        since_tick: int,
        drawn: int | None,
        *,
        counters: tuple[Counter, ...] = (),
    ) -> tuple[Book, Task]:
        """Add a task; `drawn` is a random number for its id where there is a parent, else None.

        Raises BadField when the host is full, or when a key type is counted twice.
        """
        if len(self.all()) >= MAX_TASKS:
            raise BadField("type", f"config {series}", f"at most {MAX_TASKS} tasks on a host")
        task = Task(
            series=series,
            id=self._new_id(series, drawn),
            filter=wanted,
            counters=_once_each(counters),
            since_tick=since_tick,
        )
        return replace(self, own=(*self.own, OwnTask(task=task, scope=scope))), task

    def with_counter(self, sketch_id: int, counter: Counter, since_tick: int) -> tuple[Book, Task]:
        """Add a counter to an own sketch from a tick on; the same again changes nothing.

        Raises NotFound for an unknown sketch, BadField for a sketch from above, for a key type that
        is counted in another way already, and for one counter too many.
        """
        task = self._own(self.sketch(sketch_id), "sketch_id", "sketch")
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

    def replaced(
        self,
        task_id: int,
        wanted: Filter,
        counters: tuple[Counter, ...],
        *,
        scope: Scope,
        since_tick: int,
    ) -> tuple[Book, Task]:
        """Put another filter, other counters or another scope in a sketch, from a tick on.

        Counters that stay the same keep their counts where the filter does; the rest begins anew.
        Raises NotFound for an unknown sketch, BadField for one from above and as `with_task`.
        """
        former = self.own_task(task_id)
        same = former.filter == wanted
        kept = {msgspec.structs.replace(c, since_tick=0): c for c in former.counters if same}
        began = msgspec.structs.replace(
            former,
            filter=wanted,
            counters=tuple(
                kept.get(c, msgspec.structs.replace(c, since_tick=since_tick if same else 0))
                for c in _once_each(counters)
            ),
            since_tick=former.since_tick if same else since_tick,
        )
        return self.with_version(began, scope), began

    def task(self, task_id: int) -> Task:
        """Find a sketch that is asked for as a task; raises NotFound naming the ids that exist."""
        return self._named("sketch", task_id, "task")

    def own_task(self, task_id: int) -> Task:
        """Find a task that may be changed here; raises NotFound, BadField for one from above."""
        return self._own(self.task(task_id), "task", "task")

    def with_version(self, task: Task, scope: Scope | None = None) -> Book:
        """Put another version of an own task in its place, of the same scope if none is given."""
        own = tuple(
            OwnTask(task=task, scope=scope or o.scope) if o.task.ref == task.ref else o
            for o in self.own
        )
        return replace(self, own=own)

    def without(self, task: Task) -> Book:
        """Withdraw an own task."""
        return replace(self, own=tuple(own for own in self.own if own.task.ref != task.ref))

    def inherit(self, tasks: Sequence[Task], detectors: Sequence[Choice] = ()) -> Book:
        """Take the parent's tasks and detectors in place of the former ones; own ones stay.

        Raises BadField when a task or detector is not one that this release could have configured.
        """
        check_tasks(tasks)
        check_choices(detectors)
        return replace(self, inherited=tuple(tasks), inherited_detectors=tuple(detectors))

    def detectors(self, built_in: Sequence[Detector]) -> tuple[Choice, ...]:
        """List the detectors of this host, enabled or not: the built-in ones first.

        The parent's stand while there is one; own ones for which that leaves no room wait.
        """
        chosen = {detector.name: Choice(detector=detector) for detector in built_in}
        above = {choice.detector.name: choice for choice in self.inherited_detectors}
        room = MAX_DETECTORS - len(chosen.keys() | above.keys())
        for choice in self.own_detectors:
            name = choice.detector.name
            room -= name not in chosen and name not in above
            if room >= 0:
                chosen[name] = choice
        return tuple((chosen | above).values())

    def detectors_for_children(self) -> tuple[Choice, ...]:
        """List what every child must have beside the built-in ones."""
        return self.detectors(())

    def with_detector(self, choice: Choice, built_in: Sequence[Detector]) -> Book:
        """Set a detector; raises BadField for one of the parent's, and for one too many."""
        name = choice.detector.name
        self._check_own_detector(name)
        known = {known.detector.name for known in self.detectors(built_in)}
        if len(known | {name}) > MAX_DETECTORS:
            raise BadField("name", name, f"at most {MAX_DETECTORS} detectors; delete one first")
        others = tuple(one for one in self.own_detectors if one.detector.name != name)
        return self.with_own_detectors((*others, choice))

    def with_own_detectors(self, choices: tuple[Choice, ...]) -> Book:
        """Put other detectors in the place of all that were set here."""
        return replace(self, own_detectors=choices)

    def without_detector(self, name: str, built_in: Sequence[Detector]) -> Book:
        """Delete a detector that was set here; a built-in one is again what it was.

        Raises NotFound for an unknown one, BadField for the parent's and for a built-in one.
        """
        self._check_own_detector(name)
        left = tuple(one for one in self.own_detectors if one.detector.name != name)
        if len(left) == len(self.own_detectors):
            if any(detector.name == name for detector in built_in):
                allowed = "a detector that was set here; a built-in one is switched off by a PUT"
                raise BadField("name", name, allowed)
            known = ", ".join(one.detector.name for one in self.detectors(built_in))
            raise NotFound(f"there is no detector {name:.40}; there are {known or 'none'}")
        return self.with_own_detectors(left)

    def _check_own_detector(self, name: str) -> None:
        if any(choice.detector.name == name for choice in self.inherited_detectors):
            raise BadField("name", name, "a detector that the parent has not set; ask the root")

    def _own(self, task: Task, field: str, noun: str) -> Task:
        if not self.is_own(task):
            raise BadField(field, task.id, f"a {noun} configured here; this is the parent's")
        return task

    def is_own(self, task: Task) -> bool:
        """Tell whether a task of this id was configured at this very host."""
        return any(own.task.ref == task.ref for own in self.own)

    def _named(self, series: Series, task_id: int, noun: str | None = None) -> Task:
        """Find a task; `noun` is what /v1 calls it, without it the words are the messages'."""
        known = [task for task in self.all() if task.series == series]
        for task in known:
            if task.id == task_id:
                return task
        ids = ", ".join(str(task.id) for task in known[:_SHOWN_IDS])
        allowed = ids + (", ..." if len(known) > _SHOWN_IDS else "")
        if noun:
            raise NotFound(
                f"field '{noun}' is {task_id}; there is no such {noun} here, "
                f"allowed: {allowed or 'none until one is added'}"
            )
        raise NotFound(
            f"field '{series}_id' is {task_id}; there is no such {series} here, "
            f"allowed: {allowed or f'none until config {series} is sent'}"
        )

    def _new_id(self, series: Series, drawn: int | None) -> int:
        known = (*self.inherited, *self.all())
        taken = {task.id for task in known if task.series == series}
        if drawn is None:
            first = max((i for i in taken if i < FIRST_DRAWN_ID), default=-1) + 1
        else:
            first = FIRST_DRAWN_ID + drawn % (MAX_ID - FIRST_DRAWN_ID - MAX_TASKS)
        return next(i for i in itertools.count(first) if i not in taken)


def _once_each(counters: tuple[Counter, ...]) -> tuple[Counter, ...]:
    names = [counter.key_type for counter in counters]
    if len(names) > MAX_COUNTERS:
        raise BadField("counters", len(names), f"at most {MAX_COUNTERS} counters in a sketch")
    for name in names:
        if names.count(name) > 1:
            raise BadField("by", name, "each key type in one counter of a task")
    return counters


def _another_than(task: Task, known: Counter) -> str:
    return (
        f"another key type, or the same counter again: sketch {task.id} counts "
        f"{known.increment.value} of it with hitter_threshold {known.hitter_threshold}"
    )
