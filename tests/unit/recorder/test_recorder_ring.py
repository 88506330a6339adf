"""The ring: a cover and its fold equal the ticks they stand for, and memory is kept to."""

from __future__ import annotations

from collections import Counter as Tally

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import NOW, Clocked, tick

from netsonde.model.errors import BadField, Unavailable
from netsonde.model.evidence import ClockStep
from netsonde.model.window import REAL_TIME, TICK_NS, Window, wall_text
from netsonde.recorder.cover import Cover
from netsonde.recorder.ring import Recorder
from netsonde.sketch.tick import Tick


def counts(ticks: list[Tick]) -> Tally[bytes]:
    """Packets by key."""
    found: Tally[bytes] = Tally()
    for one in ticks:
        for record in one.array():
            found[record["key"].tobytes()] += int(record["packets"])
    return found


def covered(cover: Cover) -> Tally[bytes]:
    return counts([step.tick for step in cover.steps])


def lengths(cover: Cover) -> list[int]:
    return [step.last_tick - step.first_tick + 1 for step in cover.steps]


def test_a_window_is_covered_by_the_fewest_steps() -> None:
    host = Clocked()
    for number in range(305):
        host.add([(number % 7, 1)])
    host.settle()
    cover = host.recorder.cover(Window.range(NOW + 95, NOW + 304))
    assert lengths(cover) == [*[1] * 5, 100, *[10] * 10, *[1] * 5]
    assert (cover.first_tick, cover.last_tick, cover.missed_ticks) == (NOW + 95, NOW + 304, 0)
    assert covered(cover) == counts(host.ticks[95:])
    fine = host.recorder.cover(Window.range(NOW + 95, NOW + 304), most_ticks=1)
    assert lengths(fine) == [1] * 210


def test_the_last_second_is_ten_ticks_and_what_is_being_filled() -> None:
    host = Clocked()
    for number in range(20):
        host.add([(number, 1)])
    cover = host.recorder.cover(REAL_TIME)
    assert (cover.first_tick, cover.last_tick) == (NOW + 10, NOW + 19)
    # A question closes a tick before its time: its piece stands for the tick.
    host.recorder.add(tick(NOW + 20, [(99, 1)]), host.mono_ns + TICK_NS // 4)
    cover = host.recorder.cover(REAL_TIME)
    assert (cover.first_tick, cover.last_tick, cover.missed_ticks) == (NOW + 11, NOW + 20, 0)
    host.recorder.add(tick(NOW + 20, [(98, 1)]), host.mono_ns + TICK_NS)
    assert host.recorder.cover(REAL_TIME).first_tick == NOW + 11
    assert sum(covered(host.recorder.cover(REAL_TIME)).values()) == 11


def test_the_last_tick_is_one_of_which_there_is_enough() -> None:
    """A question may close a tick when it has hardly begun, and again and again while it fills."""
    host = Clocked()
    for number in range(3):
        host.add([(number, 10)])
    began_ns = host.mono_ns
    for ms, packets, least in ((1, 1, 11), (30, 2, 13), (50, 3, 16), (51, 4, 10), (99, 5, 15)):
        host.recorder.add(tick(NOW + 3, [(9, packets)]), began_ns + ms * 1_000_000)
        cover = host.recorder.cover(Window.last(1))
        assert sum(covered(cover).values()) == least, f"{ms} ms after the boundary"
        assert cover.first_tick == (NOW + 2 if ms <= 50 else NOW + 3)
        assert (cover.asked_first_tick, cover.last_tick) == (NOW + 3, NOW + 3)
        assert cover.missed_ticks == 0


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), min_size=1, max_size=80),
    asked=st.integers(1, 900),
    steps=st.dictionaries(st.integers(1, 79), st.integers(-500, 500), max_size=3),
    worked=st.booleans(),
)
def test_a_cover_is_the_ticks_it_says(
    ticks: list[tuple[int, int]], asked: int, steps: dict[int, int], worked: bool
) -> None:
    """Ticks of any length, a clock that is set now and then, upkeep early or late."""
    host, ended_ns = Clocked(), []
    for number, (length, source) in enumerate(ticks):
        if number in steps:
            host.set_clock(host.wall + steps[number])
        host.add([(source, number + 1)], length)
        ended_ns.append(host.mono_ns)
        if worked:
            host.settle()
    cover = host.recorder.cover(Window.last(asked))
    begin_ns = host.mono_ns - asked * TICK_NS
    begin_ns = max(begin_ns, 5_000_000_000)
    expected = [one for one, end in zip(host.ticks, ended_ns, strict=True) if end > begin_ns]
    assert covered(cover) == counts(expected)
    total = sum(length for length, _ in ticks)
    assert cover.missed_ticks == max(0, asked - total)
    inside = len(host.ticks) - len(expected)
    assert len(cover.clock_steps) == len([n for n in steps if inside <= n < len(ticks)])


def test_a_clock_that_is_set_back_gives_both_times() -> None:
    host = Clocked()
    for number in range(50):
        host.add([(number, 1)])
    host.set_clock(NOW + 20)
    for number in range(50, 80):
        host.add([(number, 1)])
    host.settle()
    cover = host.recorder.cover(Window.range(NOW + 30, NOW + 39))
    assert covered(cover) == counts(host.ticks[30:40] + host.ticks[60:70])
    assert (cover.first_tick, cover.last_tick, cover.missed_ticks) == (NOW + 30, NOW + 39, 0)
    cover = host.recorder.cover(Window.last(40))
    assert covered(cover) == counts(host.ticks[40:])
    assert cover.clock_steps == (ClockStep(tick=NOW + 20, step_ms=-3000),)
    assert host.recorder.cover(Window.last(20)).clock_steps == ()


def test_a_clock_that_is_set_forward_leaves_a_hole() -> None:
    host = Clocked()
    for number in range(30):
        host.add([(number, 1)])
    host.set_clock(NOW + 1000)
    for number in range(30, 60):
        host.add([(number, 1)])
    cover = host.recorder.cover(Window.range(NOW, NOW + 1029))
    assert covered(cover) == counts(host.ticks)
    assert cover.missed_ticks == 970
    assert cover.clock_steps == (ClockStep(tick=NOW + 1000, step_ms=97000),)
    with pytest.raises(BadField, match=r"it can be \S+ to now"):
        host.recorder.cover(Window.range(NOW + 100, NOW + 200))


def test_what_is_out_of_reach_is_named() -> None:
    with pytest.raises(Unavailable, match="no tick yet"):
        Recorder(1 << 20).cover(REAL_TIME)
    host = Clocked()
    for _ in range(10):
        host.add([(1, 1)])
    cover = host.recorder.cover(Window.range(NOW - 5, NOW + 4))
    assert (cover.first_tick, cover.last_tick, cover.missed_ticks) == (NOW, NOW + 4, 5)
    assert host.recorder.cover(Window.last(25)).missed_ticks == 15
    begins = rf"it can be {wall_text(NOW)} to now"
    for window in (Window.range(NOW - 20, NOW - 1), Window.range(NOW + 11, NOW + 30)):
        with pytest.raises(BadField, match=begins) as refused:
            host.recorder.cover(window)
        assert refused.value.field == "window"


def test_an_hour_of_load_keeps_to_its_budget_and_is_still_held() -> None:
    random = np.random.default_rng(7)
    host = Clocked(budget_bytes=2 << 20)
    most = 0
    for _ in range(36_000 // 32):
        sources = random.integers(0, 1 << 20, 300)
        host.add([(int(source), 1) for source in sources], length=32)
        host.settle()
        most = max(most, host.recorder.size_bytes)
    assert most <= 1.25 * (2 << 20)
    reach = host.recorder.reach()
    assert sum(level.bytes for level in reach.levels) <= 2 << 20
    assert reach.first_tick is not None
    assert host.wall - reach.first_tick > 600
    cover = host.recorder.cover(Window.range(reach.first_tick, host.wall - 1))
    packets = sum(one.sides[0].packets for one in (step.tick for step in cover.steps))
    assert packets == 300 * (host.wall - reach.first_tick) // 32


def test_a_quiet_hour_is_held_whole() -> None:
    host = Clocked()
    for number in range(36_000 // 8):
        host.add([(number % 3, 1)], length=8)
        host.settle()
    cover = host.recorder.cover(Window.last(35_000))
    assert cover.missed_ticks == 0
    assert len(cover.steps) < 380
    reach = host.recorder.reach()
    assert [level.step_ms for level in reach.levels] == [100, 1000, 10_000]
    assert max(level.steps for level in reach.levels) <= 600
