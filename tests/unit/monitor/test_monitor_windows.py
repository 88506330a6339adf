"""Every window has an answer or a sentence, and a right one: whenever ticks are closed, however
long they are, and however the clock is set.

The real recorder and tasks of a monitor, with what they make ahead, in simulated time of
milliseconds: one packet comes in each, so the truth about any time is its length. A ledger of what
was closed says what each wall tick may have: a count, and a series over the same window, hold all
of it, or say that they miss some.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import tick

from netsonde.daemon.failures import Failures
from netsonde.model.errors import NetsondeError
from netsonde.model.evidence import Evidence
from netsonde.model.task import Filter, Interface, Question, Task
from netsonde.model.window import MAX_TICKS, REAL_TIME, TICK_NS, TOTAL, Window
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.wall import Reading, WallClock
from netsonde.recorder.questions import Answered, finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch.series import STEP_TICKS, Series
from netsonde.sketch.summary import Summary

MS_NS = 1_000_000
TICK_MS = TICK_NS // MS_NS
BEGIN_WALL_NS = 17_000_000_000 * TICK_NS
YEAR_MS = 31_536_000_000
TASK = Task(series="sketch", id=0, filter=Filter(interface=Interface.BOTH), since_tick=1)
TOTALS = Question(series="sketch", task_id=0, window=TOTAL)
LASTS = [Window.last(n) for n in (1, 2, 3, 9, 10, 11, 99, 100, 101, 600, 601, MAX_TICKS)]


BOTH = Filter(interface=Interface.BOTH)


@dataclass(frozen=True, slots=True)
class Entry:
    """A closed tick, or a piece of one, as it was named."""

    first_tick: int
    last_tick: int
    packets: int

    def meets(self, first_tick: int, last_tick: int) -> bool:
        return self.last_tick >= first_tick and self.first_tick <= last_tick

    def within(self, first_tick: int, last_tick: int) -> bool:
        return self.first_tick >= first_tick and self.last_tick <= last_tick


class Host:
    """A host that gets a packet each millisecond, and the clock of its monitor."""

    def __init__(self, budget_bytes: int = 1 << 20) -> None:
        self.failures = Failures()
        self.tasks = Tasks(Recorder(budget_bytes), failures=self.failures)
        self.ledger: list[Entry] = []
        self.turns: list[int] = []
        """Wall ticks in which the clock was set, before and after."""
        self.ms = 0
        """Monotonic, since it began."""
        self.offset_ms = 0
        self.closed_ms = 0
        """When the last tick was closed."""
        self.wall = WallClock(self.reading())
        self.tasks.apply([TASK], BEGIN_WALL_NS // TICK_NS)

    def reading(self) -> Reading:
        return Reading(BEGIN_WALL_NS + (self.ms + self.offset_ms) * MS_NS, self.ms * MS_NS)

    def set_clock(self, by_ms: int) -> None:
        """Set the wall clock forward or back; no kernel lets it be before 1970."""
        earliest_ms = 1 - BEGIN_WALL_NS // MS_NS - self.ms
        self.turns.append(self.now_tick())
        self.offset_ms = max(earliest_ms, self.offset_ms + by_ms)
        self.turns.append(self.now_tick())

    def now_tick(self) -> int:
        return self.reading().wall_ns // TICK_NS

    def close(self) -> None:
        """Close a tick now."""
        now = self.reading()
        named = self.wall.named(now)
        packets = self.ms - self.closed_ms
        first = None if named.first_tick == named.last_tick else named.first_tick
        flows = [(self.ms // 1000, packets)] if packets else []
        one = tick(named.last_tick, flows, first)
        self.tasks.absorb(Closed(tick=one, mono_ns=now.mono_ns, clock_step=named.clock_step))
        self.closed_ms = self.ms
        self.ledger.append(Entry(named.first_tick, named.last_tick, packets))

    def pass_until(self, ms: int, length_ticks: int = 1) -> None:
        """Let time pass, and close ticks of this length at the wall clock's boundaries."""
        length_ms = length_ticks * TICK_MS
        while self.ms < ms:
            left_ms = length_ms - (self.reading().wall_ns // MS_NS) % length_ms
            self.ms = min(ms, self.ms + left_ms)
            if self.ms < ms or left_ms == 0 or (self.reading().wall_ns // MS_NS) % length_ms == 0:
                self.close()

    def work(self, pieces: int) -> None:
        for _ in range(pieces):
            if not self.tasks.work():
                break

    def windows(self) -> Iterator[Window]:
        yield from (REAL_TIME, *LASTS)
        now = self.now_tick()
        firsts = [now - back for back in (0, 1, 10, 100, 700, -1)]
        for turn in dict.fromkeys(self.turns[-4:]):
            firsts += [turn - 8, turn]
        for first in dict.fromkeys(firsts):
            if first >= 0:
                yield from (Window.range(first, first + ticks - 1) for ticks in (1, 10, 100))

    def ask(self, question: Question) -> Answered | None:
        """Give the answer, or None when it is a sentence."""
        while slices := self.tasks.answering_ahead():
            with suppress(NetsondeError):
                finished(slices)
        try:
            answered = finished(self.tasks.answering(question))
        except NetsondeError as error:
            assert 0 < len(str(error)) < 500  # noqa: PT017 # a sentence is an answer, too
            return None
        evidence = answered.evidence
        assert evidence.first_tick <= evidence.last_tick
        sent = msgspec.msgpack.encode(evidence)
        assert msgspec.msgpack.decode(sent, type=Evidence) == evidence, "the agent can read it"
        return answered

    def check(self) -> None:
        """Ask about every window."""
        for window in self.windows():
            self.check_window(window)
        total = self.ask(TOTALS)
        assert total is not None
        assert packets_of(total) == self.closed_ms, "each packet once, whatever the clock did"
        summed = Summary.from_bytes(total.part)
        assert summed.first_tick <= summed.last_tick
        for step in STEP_TICKS:
            series = self.ask(msgspec.structs.replace(TOTALS, step_ticks=step))
            if series is not None and not series.evidence.missed_ticks:
                assert Series.from_bytes(series.part).estimate.sum() == self.closed_ms
        assert not self.failures.counts

    def check_window(self, window: Window, steps: Sequence[int] = STEP_TICKS) -> None:
        answered = self.ask(Question(filter=BOTH, window=window))
        if answered is None:
            nothing = not any(one.meets(window.first_tick, window.last_tick) for one in self.ledger)
            assert self.closed_ms == 0 or (window.kind == "range" and nothing) or self.has_evicted
            return
        counted, evidence = packets_of(answered), answered.evidence
        assert counted == evidence.packets
        assert 0 <= counted <= self.closed_ms
        if window.kind == "range":
            self.check_range(window, counted, evidence)
            asked = self.ledger
        else:
            asked = self.check_last(window, counted, evidence)
        for step in steps:
            question = Question(filter=BOTH, window=window, step_ticks=step)
            series = self.ask(question)
            if series is None:
                continue
            assert series.evidence == evidence
            made = Series.from_bytes(series.part)
            assert made.estimate.sum() == counted, (window, step)
            check_points(made, asked)

    @property
    def has_evicted(self) -> bool:
        """Whether the recorder has let anything go."""
        first_tick = self.tasks.recorder.reach().first_tick
        return bool(self.ledger) and first_tick != self.ledger[0].first_tick

    def check_range(self, window: Window, counted: int, evidence: Evidence) -> None:
        """All that the ledger has of the range, or not all and it is said."""
        first, last = window.first_tick, window.last_tick
        met = [one for one in self.ledger if one.meets(first, last)]
        named = {tick for one in met for tick in ticks_of(one, first, last)}
        assert evidence.missed_ticks >= last - first + 1 - len(named)
        if not evidence.missed_ticks:
            assert counted >= sum(one.packets for one in met), window
        really = (evidence.first_tick, evidence.last_tick)
        assert counted <= sum(one.packets for one in self.ledger if one.meets(*really))

    def check_last(self, window: Window, counted: int, evidence: Evidence) -> list[Entry]:
        """It is what was closed last, and as long as was asked for; gives what was."""
        ticks = 10 if window == REAL_TIME else window.ticks
        held = min(self.closed_ms, (ticks - evidence.missed_ticks) * TICK_MS)
        # The open tick counts as one, and half of one may be too many or too few.
        least = min(held - TICK_MS - TICK_MS // 2, self.closed_ms)
        assert counted >= least, (window, counted)
        assert counted > 0 or self.closed_ms == 0, window
        really = evidence.first_tick, evidence.last_tick
        for place in range(len(self.ledger) - 1, -1, -1):
            latest = self.ledger[place:]
            if sum(one.packets for one in latest) == counted and really == (
                min(one.first_tick for one in latest),
                max(one.last_tick for one in latest),
            ):
                return latest
        raise AssertionError((window, counted, really))


def ticks_of(one: Entry, first_tick: int, last_tick: int) -> range:
    return range(max(one.first_tick, first_tick), min(one.last_tick, last_tick) + 1)


def check_points(series: Series, asked: list[Entry]) -> None:
    """Each has at most what was closed in it, and all that may be of it where it is whole."""
    assert (series.lower <= series.estimate).all()
    assert (series.estimate <= series.upper).all()
    assert not series.upper[~series.counted].any()
    step, points = series.step_ticks, len(series.first_ticks)
    begin = int(series.first_ticks[0])
    first, last, packets = np.array(
        [(one.first_tick, one.last_tick, one.packets) for one in asked]
    ).T
    met = (last >= begin) & (first < begin + points * step)
    first, last, packets = first[met] - begin, last[met] - begin, packets[met]
    one_point = (first >= 0) & (first // step == last // step)
    least = np.bincount(first[one_point] // step, packets[one_point], points)
    assert (series.lower <= least).all()
    most, named = np.zeros(points + 1), np.zeros(points * step + 1)
    first, last = np.maximum(first, 0), np.minimum(last, points * step - 1)
    for sums, width, weight in ((most, step, packets), (named, 1, np.ones(len(packets)))):
        np.add.at(sums, first // width, weight)
        np.subtract.at(sums, last // width + 1, weight)
    whole = series.hosts > 0
    assert (series.upper >= np.cumsum(most[:-1]))[whole].all()
    assert (np.cumsum(named[:-1]) > 0).reshape(-1, step).all(axis=1)[whole].all()


def packets_of(answered: Answered) -> int:
    bound = Summary.from_bytes(answered.part).total_packets
    assert bound.lower == bound.estimate == bound.upper
    return bound.estimate


@pytest.mark.parametrize("first_ms", range(0, 100, 10))
def test_a_flush_at_every_millisecond_of_a_tick(first_ms: int) -> None:
    for flush_ms in range(first_ms, first_ms + 10):
        host = Host()
        for begin_ms in (0, 2_300, 12_000):
            host.pass_until(begin_ms)
            host.pass_until(begin_ms + flush_ms)
            host.close()
            host.check_window(Window.last(1), steps=[10])
            host.check_window(REAL_TIME, steps=[10])
            for more_ms in (0, 1, 50, 99):
                host.pass_until(host.ms + more_ms)
                host.close()
                for ticks in (1, 2):
                    host.check_window(Window.last(ticks), steps=[10])
        if flush_ms == first_ms:
            host.check()


STEPS_MS = [
    -1_700_000_000_000,
    -1_000_000_000_000,
    -3_600_000,
    -400,
    -60,
    -40,
    -1,
    0,
    1,
    40,
    60,
    400,
    3_600_000,
]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    budget_bytes=st.sampled_from([1 << 16, 1 << 20]),
    story=st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.integers(1, 3_000), st.sampled_from([1, 2, 8, 32])),
            st.tuples(st.just("flush"), st.integers(0, 150), st.just(1)),
            st.tuples(st.just("set"), st.sampled_from([*STEPS_MS, 10 * YEAR_MS]), st.just(1)),
            st.tuples(st.just("work"), st.integers(1, 200), st.just(1)),
        ),
        min_size=3,
        max_size=14,
    ),
)
def test_every_window_whatever_the_clock_does(
    budget_bytes: int, story: list[tuple[str, int, int]]
) -> None:
    host = Host(budget_bytes)
    host.pass_until(150)
    for verb, much, length_ticks in story:
        if verb == "pass":
            host.pass_until(host.ms + much, length_ticks)
        elif verb == "flush":
            host.pass_until(host.ms + much)
            host.close()
        elif verb == "set":
            host.set_clock(much)
        else:
            host.work(much)
        host.check_window(Window.last(1), steps=[1])
    host.check()


def test_long_past_the_recorder_s_reach() -> None:
    host = Host()
    for second in range(1, 130):
        host.pass_until(second * 1_000 + 30)
        host.close()
        host.work(1_000)
    host.set_clock(10 * YEAR_MS)
    host.pass_until(131_000)
    host.check()
