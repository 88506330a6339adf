"""Steps: ticks in a row as one, and levels of steps of one length in a share of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netsonde.model.evidence import MAX_NAMED
from netsonde.model.resource import Level as LevelState
from netsonde.recorder.batches import held_bytes
from netsonde.sketch.pack import pack, unpack
from netsonde.sketch.tick import Tick

_OBJECT_BYTES = 400
"""Of a step beside what it holds."""


@dataclass(slots=True, kw_only=True)
class Step:
    """Ticks in a row, of one era: the wall clock was not set between them."""

    begin: int
    """Position of the first tick, by arrival."""
    end: int
    """Position after the last."""
    era: int
    """How often the clock had been set."""
    first_tick: int
    last_tick: int
    began_mono_ns: int
    ended_mono_ns: int
    held: Tick | bytes
    """Packed once nobody is likely to ask for it soon."""
    placement: bytes = b""
    """Of a packed one: where its table places flows."""

    @property
    def tick(self) -> Tick:
        """What it holds; packed ones take some milliseconds."""
        return unpack(self.held, self.placement) if isinstance(self.held, bytes) else self.held

    @property
    def span(self) -> tuple[int, int]:
        """Its first and last wall tick."""
        return self.first_tick, self.last_tick

    @property
    def ticks(self) -> int:
        """How many of the wall clock it is long."""
        return self.last_tick - self.first_tick + 1

    @property
    def size_bytes(self) -> int:
        """About the memory it takes."""
        held = len(self.held) if isinstance(self.held, bytes) else held_bytes(self.held)
        return held + _OBJECT_BYTES

    def pack(self) -> None:
        """Take less memory."""
        if not isinstance(self.held, bytes):
            self.placement, self.held = self.held.placement, pack(self.held)


class Level:
    """Steps in order of arrival, each beginning where the former ended."""

    def __init__(self, step_ticks: int, most_steps: int, share_bytes: int) -> None:
        self.step_ticks = step_ticks
        self.steps: list[Step] = []
        self.bytes = 0
        self._unpacked_bytes = 0
        """Of steps that have yet to be packed: they have a share of their own."""
        self._most_steps = most_steps
        self._share_bytes = share_bytes
        self._at: dict[int, Step] = {}

    def add(self, step: Step) -> None:
        """Add the next step."""
        self.steps.append(step)
        self._at[step.begin] = step
        self._count(step, 1)

    def pack(self, step: Step) -> None:
        """Pack one of the steps; nothing when it is gone."""
        if self._at.get(step.begin) is step:
            self._count(step, -1)
            step.pack()
            self._count(step, 1)

    def evict(self, until: int) -> list[Step]:
        """Let the oldest go while there are too many, and give them; `until`: those that end by
        this position."""
        gone = 0
        while gone < len(self.steps) and self.steps[gone].end <= until:
            step = self.steps[gone]
            packed_bytes = self.bytes - self._unpacked_bytes
            if len(self.steps) - gone <= self._most_steps and packed_bytes <= self._share_bytes:
                break
            self._count(step, -1)
            del self._at[step.begin]
            gone += 1
        let_go = self.steps[:gone]
        del self.steps[:gone]
        return let_go

    def _count(self, step: Step, sign: int) -> None:
        size_bytes = sign * step.size_bytes
        self.bytes += size_bytes
        if not isinstance(step.held, bytes):
            self._unpacked_bytes += size_bytes

    def at(self, position: int, end: int) -> Step | None:
        """Give the step that begins at a position and ends by `end`."""
        step = self._at.get(position)
        return step if step is not None and step.end <= end else None

    def state(self) -> LevelState:
        """Say what it holds."""
        return LevelState(
            step_ms=self.step_ticks * 100,
            steps=len(self.steps),
            first_tick=self.steps[0].first_tick if self.steps else None,
            bytes=self.bytes,
        )


class Gone:
    """Which wall ticks were held, era by era, and are not any more.

    Where the clock was set back, later steps have the same ticks again: they are not all of them.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        """First and last wall tick of each era that anything has gone of; of too many eras the
        oldest are as one, and what lies between them is, too."""
        self._era: int | None = None

    def note(self, steps: Sequence[Step]) -> None:
        """Take what went next, oldest first."""
        for step in steps:
            if step.era == self._era:
                self._join(len(self.spans) - 1, step.span)
            else:
                self.spans.append(step.span)
                self._era = step.era
            if len(self.spans) > MAX_NAMED:
                self._join(0, self.spans.pop(0))

    def _join(self, place: int, span: tuple[int, int]) -> None:
        first, last = self.spans[place]
        self.spans[place] = min(first, span[0]), max(last, span[1])
