"""A task as it runs: its counts, and the position up to which it has folded ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from netsonde.model.evidence import MAX_NAMED, ClockStep, Evidence
from netsonde.model.flow import FlowClass
from netsonde.model.task import Task
from netsonde.monitor.keep import KeptSpan, KeptTask
from netsonde.recorder.batches import Batches
from netsonde.recorder.seen import Seen
from netsonde.sketch.window import Window

MAX_KEYS_TOTAL = 1 << 18
"""Keys that all counters together are made for; each holds some 120 bytes."""
LEAST_KEYS = 1 << 11
MOST_KEYS = 1 << 15
_PART_OF_FREE = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """What this monitor had taken in at a position."""

    epoch: int
    """The last epoch, 0 before the first."""
    tick: int
    """Id of the last tick."""
    seen: Seen
    """Since this monitor began."""


@dataclass(slots=True)
class Span:
    """The ticks that a task, or one of its counters, really counted."""

    since_tick: int
    missed_ticks: int = 0
    """Ticks after it was configured that it does not hold, since no monitor counted them here."""
    position: int = field(default=0, compare=False)
    """Of its first tick here."""
    before: Seen = field(default=Seen(), compare=False)
    """What this monitor had seen at that position, less what the former had seen in the span."""
    clock_steps: tuple[ClockStep, ...] = field(default=(), compare=False)
    """How the clock was set in it while the former monitor counted."""

    def evidence(self, mark: Mark, clock_steps: Iterable[tuple[int, ClockStep]]) -> Evidence:
        """Tell how it was counted up to a mark; `clock_steps` have positions."""
        last_tick = max(mark.tick, self.since_tick)
        steps = self._clock_steps(clock_steps)
        return (mark.seen - self.before).evidence(
            self.since_tick, last_tick, self.missed_ticks, steps
        )

    def was_set_back(self, clock_steps: Iterable[tuple[int, ClockStep]]) -> bool:
        """Tell whether the clock was set back in it; `clock_steps` as above."""
        return any(step.step_ms < 0 for step in self._clock_steps(clock_steps))

    def kept(
        self, key_type: str | None, mark: Mark, clock_steps: Iterable[tuple[int, ClockStep]]
    ) -> KeptSpan:
        """Give what the next monitor needs."""
        return KeptSpan(
            key_type=key_type,
            since_tick=self.since_tick,
            missed_ticks=self.missed_ticks,
            seen=mark.seen - self.before,
            clock_steps=self._clock_steps(clock_steps),
        )

    def _clock_steps(self, noted: Iterable[tuple[int, ClockStep]]) -> tuple[ClockStep, ...]:
        own = tuple(step for position, step in noted if position >= self.position)
        return (self.clock_steps + own)[-MAX_NAMED:]


@dataclass(slots=True)
class Running:
    """One task and its counts up to a position."""

    task: Task
    window: Window
    position: int
    spans: dict[str | None, Span] = field(default_factory=dict)
    """Key type of a counter -> its span; None: the task's own."""
    capacity: int = 0
    """Keys that each of its counters may hold."""
    _stale: bool = False
    """Whether its counts are to be dropped."""

    def fold(self, batches: Batches, until: int) -> bool:
        """Fold what comes next, when it ends by `until`; tells whether there was any.

        After an exception it may hold half of a tick: then it must `begin_anew`.
        """
        self._renew()
        following = next(batches.after(self.position, single=self.single), None)
        if following is None or following[0] > until:
            return False
        self.position, tick = following
        self.window.absorb(tick)
        return True

    def begin_anew(self, tick: int, position: int, seen: Seen) -> None:
        """Count from a tick on, and know what is missed of what came before.

        `position`: of that tick; `seen`: what the monitor has seen until then.
        """
        self._stale, self.position = True, position
        for name, span in self.spans.items():
            missed_ticks = span.missed_ticks + max(1, tick - span.since_tick)
            self.spans[name] = Span(tick, missed_ticks, position, seen)

    def kept(self, mark: Mark, clock_steps: Iterable[tuple[int, ClockStep]]) -> KeptTask:
        """Give what the next monitor needs."""
        self._renew()
        noted = list(clock_steps)
        return KeptTask(
            task=self.task,
            epoch=mark.epoch,
            tick=mark.tick + 1,
            spans=tuple(span.kept(name, mark, noted) for name, span in self.spans.items()),
            window=self.window.kept(),
        )

    def _renew(self) -> None:
        """Drop the counts of a task that is to begin anew: there may be memory for it only now."""
        if self._stale:
            self.window, self._stale = Window(self.task, self.capacity), False

    @property
    def single(self) -> bool:
        """Whether ticks must not be joined: a flow's class is told from its flags in a tick."""
        return self.task.filter.flow is not FlowClass.ANY


def capacity_of(task: Task, running: Iterable[Running], most_keys: int = MAX_KEYS_TOTAL) -> int:
    """Give the keys that each counter of a new task may hold: a share of what others left."""
    taken = sum(one.capacity * len(one.window.key_types) for one in running)
    counters = max(1, len(task.counters))
    share = (most_keys - taken) // (_PART_OF_FREE * counters)
    return max(LEAST_KEYS, min(share, MOST_KEYS))
