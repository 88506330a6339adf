"""The ring: the last ticks, then seconds, then ten-second steps, in bounded memory.

The one idea: steps are built from ticks in the order in which they came, so that a wall clock that
is set forward or back ends a step and begins an *era*, and never sorts ticks into the wrong place.
`last 30s` goes by the time that passed, a range by the wall clock of the time.

Joining and packing steps takes milliseconds, so `add` only notes what is due, and `work` does one
piece of it at a time: whoever drives the recorder does other things in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from netsonde.model.errors import BadField, Unavailable
from netsonde.model.evidence import MAX_NAMED, ClockStep
from netsonde.model.resource import Reach
from netsonde.model.window import (
    REAL_TIME,
    REAL_TIME_TICKS,
    TICK_NS,
    TICKS_PER_S,
    Window,
    wall_text,
)
from netsonde.recorder.batches import ALL, JOIN_PIECES, MAX_TICKS, Batch, Batches, held_bytes
from netsonde.recorder.cover import Cover, in_any, runs
from netsonde.recorder.steps import Gone, Level, Step
from netsonde.recorder.tail import Tail
from netsonde.sketch import _abi
from netsonde.sketch.merge import LEAST_RECORDS, Merging, merged
from netsonde.sketch.tick import Tick

LONGEST_STEP = 100
"""Ticks."""
MOST_RECORDS = 1 << 16
"""Flows of a step of more than a tick, in a budget that has room for them."""
_BYTES_PER_RECORD = 768
"""Of the budget, for each of those: three such steps are built at once, and joining takes as much
again."""
_SHARES = 8
"""Of the budget: one for ticks, one for seconds, and these:"""
_SHARES_OF_TENS = 3
"""They reach back farthest."""
_SHARES_UNPACKED = 1
"""Of the last second, which is asked about most. The others are for steps that are being built."""
_TENS_SEED = 1
"""Other flows are drawn for ten seconds than for the second that ends with them."""
_UNPACKED_STEPS = TICKS_PER_S
_MOST_DUE = 64
_HALF_TICK_NS = TICK_NS // 2


@dataclass(slots=True)
class _Span:
    """Where a step that is being built lies."""

    begin: int
    era: int
    first_tick: int
    began_mono_ns: int
    end: int
    last_tick: int
    ended_mono_ns: int

    def extend(self, other: _Span) -> None:
        self.end, self.last_tick = other.end, other.last_tick
        self.ended_mono_ns = other.ended_mono_ns

    def step(self, held: Tick) -> Step:
        return Step(
            begin=self.begin,
            end=self.end,
            era=self.era,
            first_tick=self.first_tick,
            last_tick=self.last_tick,
            began_mono_ns=self.began_mono_ns,
            ended_mono_ns=self.ended_mono_ns,
            held=held,
        )


class Recorder:
    """A flight recorder; single-threaded, without a clock of its own."""

    def __init__(self, budget_bytes: int) -> None:
        """`budget_bytes`: memory to keep to; the steps of the last second and of the last ten may
        take a fourth more in a flood, since what no longer step holds yet is not let go. While
        the last second is asked about it is held in full: up to 20 MiB more (`tail.py`)."""
        share_bytes = budget_bytes // _SHARES
        self.batches = Batches()
        self._tail = Tail()
        self.budget_bytes = budget_bytes
        self._most_unpacked_bytes = _SHARES_UNPACKED * share_bytes
        self._most_records = max(
            LEAST_RECORDS, min(MOST_RECORDS, budget_bytes // _BYTES_PER_RECORD)
        )
        self._ticks = Level(1, 600, share_bytes)
        self._seconds = Level(TICKS_PER_S, 600, share_bytes)
        self._tens = Level(LONGEST_STEP, 360, _SHARES_OF_TENS * share_bytes)
        self._due: deque[Callable[[], object]] = deque()
        self._unpacked: deque[Step] = deque()
        self._unpacked_bytes = 0
        self._pieces: list[tuple[_Span, Tick]] = []
        """Of the tick that is being filled: a question may close it before its time."""
        self._second: _Span | None = None
        self._second_tick: Tick | None = None
        self._ten: _Span | None = None
        self._ten_tick: Tick | None = None
        self._era = 0
        self._ended_mono_ns: int | None = None
        self._clock_steps: deque[tuple[int, ClockStep]] = deque(maxlen=MAX_NAMED)
        self._gone = Gone()

    @property
    def last_tick(self) -> int:
        """Wall id of the last tick, 0 before the first."""
        if self._pieces:
            return self._pieces[-1][0].last_tick
        return self._ticks.steps[-1].last_tick if self._ticks.steps else 0

    @property
    def size_bytes(self) -> int:
        """About the memory it takes now."""
        levels = sum(level.bytes for level in (self._ticks, self._seconds, self._tens))
        building = [tick for _, tick in self._pieces] + [self._second_tick, self._ten_tick]
        return levels + sum(held_bytes(tick) for tick in building if tick)

    def add(self, tick: Tick, mono_ns: int, clock_step: ClockStep | None = None) -> None:
        """Take the next tick, or a piece of one, which ended at `mono_ns`.

        `clock_step`: how the wall clock was set since the tick before; this one has its new time.
        A tick that is named before the one before it begins an era, whether or not that is told.
        """
        first_tick = tick.id if tick.first_id is None else min(tick.first_id, tick.id)
        began_mono_ns = self._ended_mono_ns
        if began_mono_ns is None:
            began_mono_ns = mono_ns - (tick.id - first_tick + 1) * TICK_NS
        self._ended_mono_ns, position = mono_ns, self.batches.end
        if clock_step is not None or first_tick < self.last_tick:
            self._end_second()
            self._era += 1
        if clock_step is not None:
            self._clock_steps.append((position, clock_step))
        at = _Span(position, self._era, first_tick, began_mono_ns, position + 1, tick.id, mono_ns)
        if self._second and first_tick // TICKS_PER_S != self._second.first_tick // TICKS_PER_S:
            self._end_second()
        elif self._pieces and (
            first_tick > self._pieces[-1][0].last_tick or len(self._pieces) >= MAX_TICKS
        ):
            self._end_tick()
        self._pieces.append((at, tick))
        if full := self.batches.add(tick):
            self._due_to_join(full, None)
        if self._second is None:
            self._second = replace(at)
        else:
            self._second.extend(at)
        if self._tail.wanted:
            self._due.appendleft(self._keep_up)
        else:
            self._tail.let_go()
        while len(self._due) > _MOST_DUE:
            self.work()

    def work(self) -> bool:
        """Do one piece of what is due; False when nothing is left. Some milliseconds at most."""
        if self._due:
            self._due.popleft()()
        return bool(self._due)

    def cover(self, window: Window, most_ticks: int = LONGEST_STEP) -> Cover:
        """Find the fewest steps that cover a window, `total` excepted.

        Steps are as fine as those that are left: a window of the past is widened to them, and what
        is really covered is said. `most_ticks`: takes no longer steps where shorter ones are left.
        Raises BadField for a range that is all before the recorder's reach or in the future, and
        Unavailable before the first tick.
        """
        tiles = self._tiles()
        if not tiles:
            raise Unavailable("the flight recorder holds no tick yet; ask again in a second")
        if window.kind == "range":
            first_tick, last_tick = window.first_tick, window.last_tick
            chosen = [t for t in tiles if t.last_tick >= first_tick and t.first_tick <= last_tick]
            if not chosen:
                raise self._out_of_reach(window, tiles)
            spans, gone = [tile.span for tile in chosen], self._gone.spans
            # What is held of a tick may be a piece, or of one era alone.
            held_ticks = in_any(spans + gone, first_tick, last_tick)
            held_ticks -= in_any(gone, first_tick, last_tick)
            missed_ticks = last_tick - first_tick + 1 - held_ticks
            others = [t for t in tiles if t.last_tick < first_tick or t.first_tick > last_tick]
            left_out = gone + [tile.span for tile in others]
        else:
            last_tick = tiles[-1].last_tick
            ticks = REAL_TIME_TICKS if window == REAL_TIME else window.ticks
            chosen, missed_ticks = self._latest(tiles, ticks)
            first_tick = max(0, last_tick - ticks + 1)  # a host may believe it is 1970
            before = [tile for tile in tiles if tile.end <= chosen[0].begin]
            left_out = [tile.span for tile in before if tile.era == chosen[0].era]
        steps = [step for run in runs(chosen) for step in self._fewest(run, most_ticks)]
        covered = min(step.first_tick for step in steps), max(step.last_tick for step in steps)
        return Cover(
            steps=tuple(steps),
            first_tick=covered[0],
            last_tick=covered[1],
            asked_first_tick=first_tick,
            asked_last_tick=last_tick,
            missed_ticks=missed_ticks,
            clock_steps=tuple(
                clock_step
                for position, clock_step in self._clock_steps
                if any(run[0].begin <= position <= run[-1].end for run in runs(chosen))
            ),
            left_out=tuple(span for span in left_out if in_any([span], *covered)),
            tail=self._tail,
        )

    def _latest(self, tiles: list[Step], ticks: int) -> tuple[list[Step], int]:
        """Choose the tiles of the last ticks, and count the ticks that none of them holds."""
        end_mono_ns = max(tiles[-1].ended_mono_ns, self._open_began_mono_ns() + TICK_NS)
        asked_mono_ns = end_mono_ns - ticks * TICK_NS
        # A tick that a question has just closed may hold too little to answer from.
        short = tiles[-1].ended_mono_ns <= asked_mono_ns + _HALF_TICK_NS
        least_mono_ns = asked_mono_ns - short * TICK_NS
        chosen = [
            tile
            for tile in tiles
            if tile.ended_mono_ns > least_mono_ns + _HALF_TICK_NS
            or tile.began_mono_ns > least_mono_ns - _HALF_TICK_NS  # a piece
        ]
        missed_ns = max(0, chosen[0].began_mono_ns - asked_mono_ns) + sum(
            max(0, later.began_mono_ns - earlier.ended_mono_ns)
            for earlier, later in pairwise(chosen)
        )
        return chosen, (missed_ns + _HALF_TICK_NS) // TICK_NS

    def reach(self) -> Reach:
        """Say how far back it can be asked."""
        tiles = self._tiles()
        first_tick = tiles[0].first_tick if tiles else None
        return Reach(
            first_tick=first_tick,
            begins=None if first_tick is None else wall_text(first_tick),
            levels=tuple(level.state() for level in (self._ticks, self._seconds, self._tens)),
            budget_bytes=self.budget_bytes,
        )

    def _keep_up(self, pieces: Iterator[None] | None = None) -> None:
        """Do the next piece of it, before anything else that is due."""
        pieces = pieces or self._tail.keep_up(self._tiles())
        if next(pieces, self) is None:
            self._due.appendleft(partial(self._keep_up, pieces))

    def _end_tick(self) -> None:
        """Make a step of the pieces of a tick."""
        if not self._pieces:
            return
        span, ticks = self._pieces[0][0], [tick for _, tick in self._pieces]
        span.extend(self._pieces[-1][0])
        self._pieces = []
        step = span.step(ticks[0] if len(ticks) == 1 else merged(ticks, ALL))
        self._ticks.add(step)
        self._unpacked.append(step)
        self._unpacked_bytes += step.size_bytes
        while (
            len(self._unpacked) > _UNPACKED_STEPS
            or self._unpacked_bytes > self._most_unpacked_bytes
        ):
            oldest = self._unpacked.popleft()
            self._unpacked_bytes -= oldest.size_bytes
            self._due.append(partial(self._ticks.pack, oldest))
        self._evict()

    def _end_second(self) -> None:
        self._end_tick()
        batch, span, self._second = self.batches.close(ends_second=True), self._second, None
        if batch is not None and span is not None:
            self._due_to_join(batch, span)

    def _due_to_join(self, batch: Batch, ended: _Span | None) -> None:
        pieces = [batch.join_some] * (JOIN_PIECES - 1)
        joining = partial(self.batches.join, batch)
        self._due += (*pieces, joining, partial(self._join, batch, ended))

    def _join(self, batch: Batch, ended: _Span | None) -> None:
        """Add a batch to its second; `ended`: that second, when the batch is its last."""
        ticks = [tick for tick in (self._second_tick, batch.join()) if tick is not None]
        self._second_tick = None
        self._second_tick = self._limited(ticks)
        if ended is None:
            return
        step, self._second_tick = ended.step(self._second_tick), None
        self._seconds.add(step)
        self._evict()
        self._due.append(partial(self._grow, ended, step))

    def _grow(self, second: _Span, step: Step) -> None:
        """Add a second to its ten seconds, and pack it."""
        length = self._tens.step_ticks
        if self._ten is not None and self._ten_tick is not None:
            same = self._ten.first_tick // length == second.first_tick // length
            if not same or self._ten.era != second.era:
                ten, self._ten = self._ten.step(self._ten_tick), None
                self._ten_tick = None
                self._tens.add(ten)
                self._due.append(partial(self._tens.pack, ten))
        if self._ten is None or self._ten_tick is None:
            self._ten, self._ten_tick = replace(second), step.tick
        else:
            self._ten.extend(second)
            ticks, self._ten_tick = [self._ten_tick, step.tick], None
            self._ten_tick = self._limited(ticks, _TENS_SEED)
        self._due.append(partial(self._seconds.pack, step))

    def _limited(self, ticks: list[Tick], seed: int = 0) -> Tick:
        """Join ticks within what a step may hold; takes them from the list, to let each go."""
        records = sum(len(tick.records) for tick in ticks) // _abi.RECORD.itemsize
        if len(ticks) == 1 and records <= self._most_records:
            return ticks[0]
        merging = Merging(max(len(tick.records) for tick in ticks))
        while ticks:
            merging.add(ticks.pop(0))
        return merging.tick(self._most_records, seed)

    def _evict(self) -> None:
        """Let go of what is too much, but of nothing that no longer step holds yet."""
        levels = (self._ticks, self._seconds, self._tens)
        for level, longer in zip(levels, (*levels[1:], None), strict=True):
            held_until = longer.steps[-1].end if longer and longer.steps else 0
            gone = level.evict(held_until if longer else self.batches.end)
            if longer is None:
                self._gone.note(gone)

    def _tiles(self) -> list[Step]:
        """Give the shortest steps that are left of each time, oldest first."""
        ticks = self._ticks.steps + [span.step(tick) for span, tick in self._pieces]
        tiles: list[Step] = []
        for level, finer in ((self._tens.steps, self._seconds.steps), (self._seconds.steps, ticks)):
            until = finer[0].begin if finer else self.batches.end
            place = tiles[-1].end if tiles else 0
            tiles += [step for step in level if place <= step.begin < until]
        place = tiles[-1].end if tiles else 0
        return tiles + [step for step in ticks if step.begin >= place]

    def _fewest(self, run: list[Step], most_ticks: int) -> Iterator[Step]:
        """Take longer steps for shorter ones where they cover the same."""
        end, place = run[-1].end, run[0].begin
        longer = [level for level in (self._tens, self._seconds) if level.step_ticks <= most_ticks]
        for tile in run:
            if tile.begin < place:
                continue
            found = (level.at(place, end) for level in longer)
            step = next((step for step in found if step), tile)
            place = step.end
            yield step

    def _open_began_mono_ns(self) -> int:
        """When the last tick, perhaps not over yet, began."""
        return (self._pieces[0][0] if self._pieces else self._ticks.steps[-1]).began_mono_ns

    def _out_of_reach(self, window: Window, tiles: list[Step]) -> BadField:
        begins = wall_text(min(tile.first_tick for tile in tiles))
        allowed = f"a range of the past; it can be {begins} to now"
        return BadField("window", window.text, allowed)
