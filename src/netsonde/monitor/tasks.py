"""The monitor's tasks: desired state in, ticks in, answers out.

Pure: no clock, no socket. A task that stays the same keeps its counts; one that changes starts
anew; a counter that is added begins with the next tick. What a window does not hold, because no
monitor was there to count it, is known to the tick and told with every answer.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from netsonde.model.errors import NotFound, TooLarge
from netsonde.model.task import MAX_TASKS, Counter, Question, Task
from netsonde.model.window import REAL_TIME, REAL_TIME_TICKS
from netsonde.monitor.keep import MAX_KEPT_BYTES, Kept, KeptSpan, KeptTask
from netsonde.monitor.takeover import Gap
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Tick
from netsonde.sketch.window import Window

MAX_COUNTERS_TOTAL = 128
"""Counters of all tasks together; each may hold some 4 MB."""
_MAX_RECENT = 64
_log = structlog.get_logger()


@dataclass(slots=True)
class Span:
    """The ticks that a task, or one of its counters, really counted."""

    since_tick: int
    missed_ticks: int = 0
    """Ticks after it was configured that it does not hold, since no monitor counted them here."""


@dataclass(slots=True)
class _Running:
    task: Task
    window: Window
    spans: dict[str | None, Span]
    """Key type of a counter -> its span; None: the task's own."""


class Tasks:
    """Every task of this host and the last second of ticks."""

    def __init__(self, began_tick: int = 0) -> None:
        """`began_tick`: the first tick that can be here; what was configured before misses some."""
        self._began_tick = began_tick
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
        while self._recent[0].id <= tick.id - REAL_TIME_TICKS:
            self._recent.popleft()  # in a flood each holds megabytes
        self._add(tick)

    def kept(self, load_id: int, epoch: int, tick: int) -> Kept:
        """Give what the next monitor needs to go on after this epoch, which ended at `tick`."""
        kept, free_bytes = [], MAX_KEPT_BYTES
        for running in self._running.values():
            window = running.window.kept()
            free_bytes -= window.size_bytes
            if free_bytes < 0:
                break
            spans = tuple(
                KeptSpan(key_type=name, since_tick=span.since_tick, missed_ticks=span.missed_ticks)
                for name, span in running.spans.items()
            )
            kept.append(KeptTask(task=running.task, spans=spans, window=window))
        return Kept(load_id=load_id, epoch=epoch, tick=tick, tasks=tuple(kept))

    def restore(self, kept: Kept | None, gap: Gap | None, placement: bytes, now_tick: int) -> None:
        """Go on with what the former monitor kept and with what was counted since.

        `gap`: what the table in use counted before this monitor came. `placement`: `ns_config` of
        that table. What neither of them holds is missing from the tasks, and they know it.
        """
        if kept and gap and gap.load_id == kept.load_id:
            self._go_on(kept, gap.missed_after(kept.epoch, kept.tick), placement)
        elif kept:
            # Another table's gap may hold what these tasks have counted already.
            self._go_on(kept.for_another_table(), max(1, now_tick - kept.tick), placement)
            gap = None
        for tick in gap.ticks if gap else ():
            self._add(tick)

    def _go_on(self, kept: Kept, missed_ticks: int, placement: bytes) -> None:
        for one in kept.tasks:
            running = _Running(one.task, Window(one.task), {})
            try:
                running.window.restore(one.window, placement)
            except ValueError as error:
                _log.warning("a task begins anew", id=one.task.id, reason=str(error))
                continue
            running.spans = {
                span.key_type: Span(span.since_tick, span.missed_ticks + missed_ticks)
                for span in one.spans
            }
            self._running[one.task.ref] = running

    def answer(self, question: Question) -> tuple[Summary, Span]:
        """Answer a question; gives the summary and what of its window was really counted.

        Raises NotFound for an unknown task or counter.
        """
        series = question.series or "sketch"
        running = self._running.get((series, question.task_id))
        if running is None:
            raise NotFound(f"no {question.series} {question.task_id} on this host")
        counter = None
        if question.key_type is not None:
            counter = running.task.counter(question.key_type)
            if counter is None:
                raise NotFound(
                    f"{question.series} {question.task_id} has no counter {question.key_type}"
                )
        if question.window == REAL_TIME:
            return self._real_time(running.task, question, counter)
        return running.window.summary(question, counter), running.spans[question.key_type]

    def _add(self, tick: Tick) -> None:
        for side in tick.sides:
            self.packets += side.packets
            self.ip_bytes += side.ip_bytes
            self.drops.update(side.drops)
        for running in self._running.values():
            running.window.absorb(tick)

    def _started(self, task: Task, now_tick: int) -> _Running:
        running = self._running.get(task.ref)
        kept = running is not None and (
            running.task.filter == task.filter
            and running.task.since_tick == task.since_tick
            and set(running.task.counters) <= set(task.counters)
        )
        if running is None or not kept:
            running = _Running(task, Window(task), {None: self._span(task.since_tick, now_tick)})
        for counter in task.counters:
            if counter.key_type not in running.spans:
                configured_tick = max(task.since_tick, counter.since_tick)
                running.spans[counter.key_type] = self._span(configured_tick, now_tick)
                if counter.key_type not in running.window.key_types:
                    running.window.add_counter(counter)
        running.task = task
        return running

    def _span(self, configured_tick: int, now_tick: int) -> Span:
        # What was configured while this monitor counted begins as soon as the news travels. What
        # was configured before it came may have been counted by another, which took that along.
        if configured_tick >= self._began_tick:
            return Span(now_tick)
        return Span(now_tick, missed_ticks=now_tick - configured_tick)

    def _real_time(
        self, task: Task, question: Question, counter: Counter | None
    ) -> tuple[Summary, Span]:
        window, first_tick = Window(task), self.last_tick - REAL_TIME_TICKS + 1
        for tick in self._recent:
            if tick.id >= first_tick:
                window.absorb(tick)
        since_tick = max(first_tick, self._began_tick)
        missed_ticks = min(since_tick - first_tick, REAL_TIME_TICKS)
        return window.summary(question, counter), Span(since_tick, missed_ticks)
