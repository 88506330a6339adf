"""Names of ticks: by the wall clock as it is at their end, whatever it does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.window import TICK_NS
from netsonde.monitor.wall import Reading, WallClock, read_clocks

MS = 1_000_000
NOW = 17_000_000_000 * TICK_NS


class Clocks:
    """Both clocks of a host."""

    def __init__(self) -> None:
        self.wall_ns, self.mono_ns = NOW, 77 * MS
        self.clock = WallClock(Reading(self.wall_ns, self.mono_ns))

    def after(self, ms: float, set_by_ms: float = 0) -> tuple[int, int, int | None]:
        """Let time pass and name it, in ticks since the beginning."""
        self.mono_ns += int(ms * MS)
        self.wall_ns += int((ms + set_by_ms) * MS)
        named = self.clock.named(Reading(self.wall_ns, self.mono_ns))
        step_ms = None if named.clock_step is None else named.clock_step.step_ms
        begun = NOW // TICK_NS
        return named.first_tick - begun, named.last_tick - begun, step_ms


def test_late_and_long_ticks_are_those_they_cover() -> None:
    clocks = Clocks()
    named = [clocks.after(ms) for ms in (101, 138, 62, 99.5, 400, 3200)]
    assert [first for first, _, _ in named] == [0, 1, 2, 3, 4, 8]
    assert [last for _, last, _ in named] == [0, 1, 2, 3, 7, 39]


def test_pieces_are_of_the_tick_they_lie_in() -> None:
    clocks = Clocks()
    named = [clocks.after(ms) for ms in (30, 40, 31, 61, 0.1, 39.9)]
    assert [first for first, _, _ in named] == [0, 0, 0, 1, 1, 1]
    assert all(first == last for first, last, _ in named)


def test_a_clock_that_is_set_names_the_tick_by_its_new_time() -> None:
    clocks = Clocks()
    assert clocks.after(100) == (0, 0, None)
    assert clocks.after(100, 5000) == (51, 51, 5000)
    assert clocks.after(100) == (52, 52, None)
    assert clocks.after(100, -60_000) == (-547, -547, -60_000)
    assert clocks.after(100, 40) == (-546, -546, None)  # slewed, not set


@given(st.lists(st.floats(0.01, 1000), max_size=60))
def test_names_never_go_back(lengths_ms: list[float]) -> None:
    clocks, place = Clocks(), 0
    for length_ms in lengths_ms:
        first, last, step = clocks.after(length_ms)
        assert place <= first <= last
        assert step is None
        assert first * 100 <= (clocks.mono_ns - 77 * MS) / MS + 50
        place = last


@given(
    st.sampled_from([0, 70 * MS, NOW]),
    st.lists(st.tuples(st.floats(0.01, 400), st.floats(-400, 400)), max_size=60),
)
def test_names_go_back_with_a_step_that_is_told_alone(
    wall_ns: int, story: list[tuple[float, float]]
) -> None:
    """However little the clock is set by, and however early it is."""
    now = Reading(wall_ns, 77 * MS)
    clock, place = WallClock(now), 0
    for length_ms, set_by_ms in story:
        wall_ns = max(0, now.wall_ns + int((length_ms + set_by_ms) * MS))
        now = Reading(wall_ns, now.mono_ns + int(length_ms * MS))
        named = clock.named(now)
        assert 0 <= named.first_tick <= named.last_tick
        assert abs(now.wall_ns / TICK_NS - named.last_tick) <= 2.5
        if named.clock_step is None:
            assert place <= named.first_tick
        else:
            assert named.clock_step.tick == named.last_tick
            assert named.clock_step.step_ms != 0
        place = named.last_tick


def test_both_clocks_are_read_at_once() -> None:
    one, two = read_clocks(), read_clocks()
    assert abs((two.wall_ns - one.wall_ns) - (two.mono_ns - one.mono_ns)) < 50 * MS
