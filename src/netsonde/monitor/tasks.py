"""The monitor's tasks: desired state in, ticks in, answers out.

Pure: no clock, no socket. A task that stays the same keeps its counts; one that changes starts
anew; a counter that is added begins with the next tick.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from netsonde.model.errors import NotFound, TooLarge
from netsonde.model.task import MAX_TASKS, Counter, Question, Task
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Tick
from netsonde.sketch.window import Window

REAL_TIME_TICKS = 10
"""Length of the `real_time` window: one second of closed ticks."""
MAX_COUNTERS_TOTAL = 128
"""Counters of all tasks together; each may hold some 4 MB."""
_MAX_RECENT = 64


@dataclass(slots=True)
class _Running:
    task: Task
    window: Window
    since_tick: int
    counters_since: dict[str, int] = field(default_factory=dict)


class Tasks:
    """Every task of this host and the last second of ticks."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], _Running] = {}
        self._recent: deque[Tick] = deque(maxlen=_MAX_RECENT)
        self.packets = 0
        self.ip_bytes = 0
        self.drops: Tally[str] = Tally()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def last_tick(self) -> int:
        """Id of the last closed tick, 0 before the first."""
        return self._recent[-1].id if self._recent else 0

    def apply(self, tasks: Sequence[Task], now_tick: int) -> None:
        """Run exactly these tasks from now on; raises TooLarge and changes nothing."""
        counters = sum(len(task.counters) for task in tasks)
        if len(tasks) > MAX_TASKS:
            raise TooLarge("tasks", len(tasks), f"at most {MAX_TASKS} on a host")
        if counters > MAX_COUNTERS_TOTAL:
            raise TooLarge("counters", counters, f"at most {MAX_COUNTERS_TOTAL} on a host")
        self._running = {task.ref: self._started(task, now_tick) for task in tasks}

    def absorb(self, tick: Tick) -> None:
        """Add a closed tick to every task."""
        self._recent.append(tick)
        for side in tick.sides:
            self.packets += side.packets
            self.ip_bytes += side.ip_bytes
            self.drops.update(side.drops)
        for running in self._running.values():
            running.window.absorb(tick)

    def answer(self, question: Question) -> tuple[Summary, int]:
        """Answer a question; gives the summary and the first tick really counted.

        Raises NotFound for an unknown task or counter.
        """
        running = self._running.get((question.series, question.task_id))
        if running is None:
            raise NotFound(f"no {question.series} {question.task_id} on this host")
        counter, since = None, running.since_tick
        if question.key_type is not None:
            counter = running.task.counter(question.key_type)
            if counter is None:
                raise NotFound(
                    f"{question.series} {question.task_id} has no counter {question.key_type}"
                )
            since = running.counters_since[question.key_type]
        if question.window == "real_time":
            return self._real_time(running.task, question, counter), since
        return running.window.summary(question, counter), since

    def _started(self, task: Task, now_tick: int) -> _Running:
        running = self._running.get(task.ref)
        kept = running is not None and (
            running.task.filter == task.filter
            and running.task.since_tick == task.since_tick
            and set(running.task.counters) <= set(task.counters)
        )
        if running is None or not kept:
            since = {counter.key_type: now_tick for counter in task.counters}
            return _Running(task, Window(task), now_tick, since)
        for counter in task.counters:
            if counter.key_type not in running.counters_since:
                running.window.add_counter(counter)
                running.counters_since[counter.key_type] = now_tick
        running.task = task
        return running

    def _real_time(self, task: Task, question: Question, counter: Counter | None) -> Summary:
        window = Window(task)
        for tick in self._recent:
            if tick.id > self.last_tick - REAL_TIME_TICKS:
                window.absorb(tick)
        return window.summary(question, counter)
