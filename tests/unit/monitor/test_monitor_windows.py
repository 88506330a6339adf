"""Every window has an answer or a sentence, and a right one: whenever ticks are closed, however
long they are, and however the clock is set.

The real recorder and tasks of a monitor, with what they make ahead, in simulated time of
milliseconds: one packet comes in each, so the truth about any time is its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import tick

from netsonde.daemon.failures import Failures
from netsonde.model.errors import NetsondeError
from netsonde.model.task import Filter, Interface, Question, Task
from netsonde.model.window import MAX_TICKS, REAL_TIME, TICK_NS, TOTAL, Window
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.wall import Reading, WallClock
from netsonde.recorder.questions import Answered, finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch.series import Series
from netsonde.sketch.summary import Summary

MS_NS = 1_000_000
TICK_MS = TICK_NS // MS_NS
BEGIN_WALL_NS = 17_000_000_000 * TICK_NS
YEAR_MS = 31_536_000_000
TASK = Task(series="sketch", id=0, filter=Filter(interface=Interface.BOTH), since_tick=1)
TOTALS = Question(series="sketch", task_id=0, window=TOTAL)
LASTS = [Window.last(n) for n in (1, 2, 3, 9, 10, 11, 99, 100, 101, 600, 601, MAX_TICKS)]


class Host:
    """A host that gets a packet each millisecond, and the clock of its monitor."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.tasks = Tasks(Recorder(1 << 20), failures=self.failures)
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
        self.offset_ms = max(earliest_ms, self.offset_ms + by_ms)

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
        for back in (0, 1, 10, 100, 700, -1):
            for length in (1, 10, 100):
                if now - back >= 0:
                    yield Window.range(max(0, now - back), now - back + length - 1)

    def ask(self, question: Question) -> Answered | None:
        """Give the answer, or None when it is a sentence."""
        while slices := self.tasks.answering_ahead():
            with suppress(NetsondeError):
                finished(slices)
        try:
            return finished(self.tasks.answering(question))
        except NetsondeError as error:
            assert 0 < len(str(error)) < 500  # noqa: PT017 # a sentence is an answer, too
            return None

    def check(self) -> None:
        """Ask about every window."""
        for window in self.windows():
            self.check_window(window)
        total = self.ask(TOTALS)
        assert total is not None
        assert packets_of(total) == self.closed_ms, "each packet once, whatever the clock did"
        assert total.evidence.first_tick <= total.evidence.last_tick
        assert not self.failures.counts

    def check_window(self, window: Window) -> None:
        answered = self.ask(Question(filter=Filter(interface=Interface.BOTH), window=window))
        if answered is None:
            assert window.kind == "range" or self.closed_ms == 0
            return
        counted, evidence = packets_of(answered), answered.evidence
        assert counted == evidence.packets
        assert evidence.first_tick <= evidence.last_tick
        assert 0 <= counted <= self.closed_ms
        if window.kind != "range":
            ticks = 10 if window == REAL_TIME else window.ticks
            held = min(self.closed_ms, (ticks - evidence.missed_ticks) * TICK_MS)
            # The open tick counts as one, and half of one may be too many or too few.
            least = min(held - TICK_MS - TICK_MS // 2, self.closed_ms)
            assert counted >= least, (window, counted)
            assert counted > 0 or self.closed_ms == 0, window
        for step in (1, 100) if window.kind == "range" else (10,):
            series = self.ask(
                Question(filter=Filter(interface=Interface.BOTH), window=window, step_ticks=step)
            )
            if series is not None:
                made = Series.from_bytes(series.part)
                assert (made.lower <= made.estimate).all()
                assert (made.estimate <= made.upper).all()
                assert made.estimate.sum() == counted


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
            host.check_window(Window.last(1))
            host.check_window(REAL_TIME)
            for more_ms in (0, 1, 50, 99):
                host.pass_until(host.ms + more_ms)
                host.close()
                for ticks in (1, 2):
                    host.check_window(Window.last(ticks))
        if flush_ms == first_ms:
            host.check()


STEPS_MS = [-1_000_000_000_000, -3_600_000, -400, -60, -40, -1, 0, 1, 40, 60, 400, 3_600_000]


@settings(max_examples=25, deadline=None)
@given(
    story=st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.integers(1, 3_000), st.sampled_from([1, 2, 8, 32])),
            st.tuples(st.just("flush"), st.integers(0, 150), st.just(1)),
            st.tuples(st.just("set"), st.sampled_from([*STEPS_MS, 10 * YEAR_MS]), st.just(1)),
            st.tuples(st.just("work"), st.integers(1, 200), st.just(1)),
        ),
        min_size=3,
        max_size=14,
    )
)
def test_every_window_whatever_the_clock_does(story: list[tuple[str, int, int]]) -> None:
    host = Host()
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
        host.check_window(Window.last(1))
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
