"""Time without traffic: gone through in few steps, and to the same end as tick by tick."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from sent import Flow, tick_of

from netsonde.model.detector import Detector, Event
from netsonde.model.window import TICK_NS
from netsonde.recorder.detect import Detectors

BURSTS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 3)), max_size=20)
"""Ticks since the one before, ports that are reached, packets that are hidden."""
FAR = 200_000
"""Ticks of 20,000 s."""


def detectors_of(threshold: int, window_ticks: int, clear_ticks: int) -> tuple[Detector, ...]:
    spread = Detector(
        name="spread",
        measure="spread",
        by="src",
        of="dport",
        threshold=threshold,
        window_ticks=window_ticks,
        clear_ticks=clear_ticks,
        sentence="{key}: {count} in {window}",
    )
    changed = msgspec.structs.replace
    number = changed(spread, name="count", measure="count", of=None, window_ticks=window_ticks + 1)
    change = changed(number, name="change", measure="change", factor=2.0, clear_ratio=0.25)
    return spread, number, change


def told(
    chosen: Sequence[Detector], ticks: Sequence[tuple[int, int, int]], *, one_by_one: bool
) -> tuple[list[Event], int]:
    """Events of some traffic, and how often a detector looked at a tick."""
    looks = count()
    made = Detectors("a-host", "5eed5eed", lambda: next(looks) // 2)
    made.apply(chosen, ticks[0][0], 0)
    events, silent = [], ticks[0][0]
    for at, ports, hidden in ticks:
        while one_by_one and silent + 1 < at and any(state.active for state in made.states()):
            silent += 1
            events += made.absorb(tick_of(silent), silent * TICK_NS)
        flows = [Flow(dport=1 + port) for port in range(ports)]
        events += made.absorb(tick_of(at, flows, hidden=hidden), at * TICK_NS)
        silent = at
    return events, next(looks) // 2


@given(
    bursts=BURSTS,
    threshold=st.integers(1, 9),
    window_ticks=st.integers(1, 12),
    clear_ticks=st.integers(1, 15),
)
def test_what_is_told_of_silence_is_the_same_as_tick_by_tick(
    bursts, threshold: int, window_ticks: int, clear_ticks: int
) -> None:
    chosen, at, ticks = detectors_of(threshold, window_ticks, clear_ticks), 1, [(1, 9, 0)]
    for gap, ports, hidden in [*bursts, (1000, 1, 0)]:
        at += gap
        ticks.append((at, ports, hidden))
    skipped, steps = told(chosen, ticks, one_by_one=False)
    every, all_steps = told(chosen, ticks, one_by_one=True)
    assert skipped == every
    assert steps <= all_steps


def test_a_capture_of_gaps_costs_steps_for_what_is_in_it() -> None:
    """Alarms that last through minutes of a gap of hours, again and again."""
    chosen = detectors_of(1, 500, 6000)
    ticks = [(1 + FAR * number + part, 3, 0) for number in range(50) for part in range(2)]
    events, steps = told(chosen, ticks, one_by_one=False)
    assert [event.state for event in events].count("cleared") >= 2 * 49
    cleared = [event.last_tick for event in events if event.detector == "spread"][1::2]
    assert cleared == [2 + FAR * number + 500 + 6000 - 1 for number in range(49)]
    assert all(later - former == FAR for former, later in pairwise(cleared))
    assert steps < 30 * len(ticks)
