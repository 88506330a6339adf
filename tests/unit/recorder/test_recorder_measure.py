"""Sliding measures equal what is counted anew for each tick, and bounds hold where it is hidden."""

from __future__ import annotations

import secrets
from collections import Counter as Tally

import numpy as np
import packets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sent import Flow, tick_of

from netsonde.model.bound import Bound
from netsonde.model.detector import Detector
from netsonde.model.key import KeyType
from netsonde.model.task import Filter, Increment, Interface
from netsonde.recorder.hidden import Hidden
from netsonde.recorder.measure import PAIRS, Measure, measure
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.tick import Reader, Tick

WINDOW = 4
SRC = KeyType.parse("src")

flows = st.builds(
    Flow,
    src=st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1"]),
    dport=st.integers(1, 6),
    packets=st.integers(1, 5),
    out=st.booleans(),
)
histories = st.lists(
    st.tuples(st.integers(0, 3), st.lists(flows, max_size=8), st.integers(0, 2)), max_size=25
)
"""Ticks: how many after the last one (0: another part of it), its flows, its hidden packets."""


def detector(kind: str, window_ticks: int = WINDOW, threshold: int = 1) -> Detector:
    return Detector(
        name="d",
        measure=kind,
        by="src",
        of="dport" if kind == "spread" else None,
        increment=Increment.PACKETS if kind == "spread" else Increment.BYTES,
        threshold=threshold,
        window_ticks=window_ticks,
    )


def seen(history: list[tuple[int, list[Flow], int]], first: int, last: int) -> list[Flow]:
    return [
        flow
        for tick, flows, _ in history
        for flow in flows
        if first <= tick <= last and not flow.out
    ]


def play(kind: str, history: list[tuple[int, list[Flow], int]]):
    """Give the measure after each tick, with what really was in its window."""
    hidden, tick, so_far = Hidden(2 * WINDOW), 100, []
    measured = measure(detector(kind), hidden, tick)
    for gap, flows, hide in history:
        tick += gap
        so_far.append((tick, flows, hide))
        hidden.add(tick, tick_of(tick, flows, hidden=hide))
        measured.absorb(tick, tick_of(tick, flows).records)
        yield measured, tick, so_far


def key_of(src: str) -> bytes:
    return SRC.parse_key(src)


@given(histories)
def test_a_spread_is_what_is_distinct_in_the_window(history) -> None:
    for measured, tick, so_far in play("spread", history):
        truth: dict[str, set[int]] = {}
        for flow in seen(so_far, tick - WINDOW + 1, tick):
            truth.setdefault(flow.src, set()).add(flow.dport)
        hidden = sum(hide for at, _, hide in so_far if at > tick - WINDOW)
        for src in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
            distinct = len(truth.get(src, ()))
            expected = Bound(lower=distinct, estimate=distinct, upper=distinct + hidden)
            assert measured.reading(key_of(src)).count == expected
        keys, number = measured.reached()
        assert sorted(keys) == sorted(key_of(src) for src in truth)
        assert number == len(truth)


@given(histories)
def test_a_count_is_the_sum_of_the_window(history) -> None:
    for measured, tick, so_far in play("count", history):
        truth: Tally[str] = Tally()
        for flow in seen(so_far, tick - WINDOW + 1, tick):
            truth[flow.src] += flow.packets * flow.size
        hidden = 100 * sum(hide for at, _, hide in so_far if at > tick - WINDOW)
        for src in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
            expected = Bound(lower=truth[src], estimate=truth[src], upper=truth[src] + hidden)
            assert measured.reading(key_of(src)).count == expected
        assert sorted(measured.reached()[0]) == sorted(key_of(src) for src in truth)


@given(histories)
def test_a_change_is_the_difference_of_two_windows(history) -> None:
    for measured, tick, so_far in play("change", history):
        now: Tally[str] = Tally()
        before: Tally[str] = Tally()
        for flow in seen(so_far, tick - WINDOW + 1, tick):
            now[flow.src] += flow.packets * flow.size
        for flow in seen(so_far, tick - 2 * WINDOW + 1, tick - WINDOW):
            before[flow.src] += flow.packets * flow.size
        hidden = 100 * sum(hide for at, _, hide in so_far if at > tick - 2 * WINDOW)
        reached, _ = measured.reached()
        for src in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
            reading = measured.reading(key_of(src))
            difference = abs(now[src] - before[src])
            assert (reading.now, reading.before) == (now[src], before[src])
            assert reading.count.estimate == difference
            assert difference - hidden <= reading.count.lower <= difference
            assert difference <= reading.count.upper <= difference + hidden
            whole = tick - 100 + 1 >= 2 * WINDOW
            assert (key_of(src) in reached) == (whole and difference >= 1)


def test_a_factor_is_asked_of_both_directions() -> None:
    hidden = Hidden(2)
    measured = measure(
        Detector(name="d", measure="change", by="src", threshold=10, factor=3, window_ticks=1),
        hidden,
        1,
    )
    reached = []
    for tick, number in enumerate([100, 250, 700, 200, 190], 1):
        measured.absorb(tick, tick_of(tick, [Flow(packets=number)]).records)
        reached.append(bool(measured.reached()[0]))
    assert reached == [False, False, False, True, False]


def test_the_oldest_pairs_give_way_and_the_window_says_so() -> None:
    hidden = Hidden(10)
    measured = measure(detector("spread", window_ticks=5), hidden, 1)
    half = [
        [Flow(src=f"10.{n}.{i >> 8}.{i & 255}", dport=1) for i in range(PAIRS // 2)]
        for n in range(3)
    ]
    for tick, flows in enumerate(half, 1):
        measured.absorb(tick, tick_of(tick, flows).records)
    assert measured.first_tick() == 2
    assert measured.held() == (PAIRS, PAIRS)
    assert measured.reading(key_of("10.0.0.1")).count == Bound.exactly(0)
    assert measured.reading(key_of("10.1.0.1")).count == Bound.exactly(1)


def test_one_tick_of_more_pairs_than_are_remembered_is_bounded() -> None:
    measured = measure(detector("spread"), Hidden(10), 1)
    others = 3 * PAIRS
    records = tick_of(1, [Flow()] * others).array().copy()
    records["key"]["dport"] = np.arange(others) & 0xFFFF
    measured.absorb(1, records.tobytes())
    count = measured.reading(key_of("10.0.0.6")).count
    assert count.lower == PAIRS
    assert count.upper >= others
    assert measured.first_tick() == 1


def test_the_lightest_keys_of_a_tick_are_left_out_within_bounds() -> None:
    keys, ticks = 5000, 20
    measured = measure(detector("count", window_ticks=ticks), Hidden(10), 1)
    weights = np.random.default_rng(7).pareto(1.1, keys).astype(np.int64) + 1
    flows = [
        Flow(src=f"10.0.{i >> 8}.{i & 255}", packets=int(weights[i]), size=1) for i in range(keys)
    ]
    records = tick_of(1, flows).records
    for tick in range(1, ticks + 1):
        measured.absorb(tick, records)
    heaviest = int(np.argmax(weights))
    assert measured.reading(key_of(flows[heaviest].src)).count.lower == ticks * weights[heaviest]
    for i in range(0, keys, 97):
        count = measured.reading(key_of(flows[i].src)).count
        assert count.lower <= ticks * weights[i] <= count.upper


def read_ticks(packets_a_tick: int, sources: int, ticks: int) -> list[tuple[Tick, list[int]]]:
    """Count packets in a table of 8 buckets; gives ticks, and the sources of each."""
    secret = secrets.token_bytes(64)
    table = FlowTable(secret, 3, _abi.SAMPLE_SHIFT_LEAST)
    words = np.frombuffer(secret, "<u8")
    reader = Reader(*table.buffers(), lg_buckets=3, cpus=1, hash_key=[int(w) for w in words])
    rng, read = np.random.default_rng(11), []
    for tick in range(1, ticks + 1):
        chosen = [int(n) for n in rng.integers(0, sources, packets_a_tick)]
        for n in chosen:
            table.count(_udp(n, int(rng.integers(1, 5))), 0)
        read.append((reader.read(table.flip(), tick), chosen))
    return read


def _udp(source: int, dport: int) -> bytes:
    flow = packets.Flow(f"10.0.{source >> 8}.{source & 255}", "10.1.0.1", 40000, dport, 17)
    return packets.packet(flow)


@pytest.mark.parametrize("kind", ["spread", "count"])
def test_bounds_hold_with_a_table_that_spills(kind: str) -> None:
    hidden = Hidden(2 * WINDOW)
    victims = Detector(
        name="d",
        measure=kind,
        filter=Filter(interface=Interface.INPUT),
        by="dst",
        of="src" if kind == "spread" else None,
        threshold=1,
        window_ticks=WINDOW,
    )
    measured: Measure = measure(victims, hidden, 1)
    key, errors = KeyType.parse("dst").parse_key("10.1.0.1"), []
    history = read_ticks(packets_a_tick=400, sources=2000, ticks=30)
    for tick, _ in history:
        hidden.add(tick.id, tick)
        measured.absorb(tick.id, tick.records)
        lately = [chosen for at, chosen in history if tick.id - WINDOW < at.id <= tick.id]
        together = [n for chosen in lately for n in chosen]
        truth = len(set(together)) if kind == "spread" else len(together)
        count = measured.reading(key).count
        assert count.lower <= truth <= count.upper
        errors.append(count.estimate / truth - 1)
        assert tick.sides[0].spilled_packets > 100
    # Labels are unbiased; sources that come twice in a window are estimated twice.
    assert abs(float(np.mean(errors))) < 0.35
