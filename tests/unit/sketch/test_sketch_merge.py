"""Merged ticks: what windows say of them is what they say of the parts, or certain and unbiased."""

from __future__ import annotations

import random
import struct
from collections import Counter as Tally
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import Flow, packet

from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Interface, Question, Task
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable, Merge
from netsonde.sketch.merge import LEAST_RECORDS, Merging, merged
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Reader, Tick
from netsonde.sketch.window import Window

SECRET = random.Random(4).randbytes(64)
HASH_KEY = struct.unpack("<8Q", SECRET)
KEY_TYPES = ("src_dst_sport_dport_proto", "src", "src/24", "dst_dport")
SIDES = {Interface.INPUT: {0}, Interface.OUTPUT: {1}, Interface.BOTH: {0, 1}}
Truth = Tally[tuple[Flow, int, str]]


def flow(number: int) -> Flow:
    """Number a flow of some networks; one in nine has no ports, one in nine is of IPv6."""
    proto, ports = (1, (0, 0)) if number % 9 == 0 else (17, (1024 + number, 53))
    if number % 9 == 1:
        return Flow(f"fd00::{1 + number % 50}", "fd00::1", *ports, proto)
    return Flow(f"10.0.{number % 4}.{1 + number % 50}", f"10.9.0.{1 + number % 7}", *ports, proto)


def recorded(
    seed: int, ticks: int, flows: int, lg_buckets: int, thin_shift: int = 0
) -> tuple[list[Tick], Truth]:
    """Count some ticks of skewed traffic in both directions; gives them and what was sent."""
    dice, truth = random.Random(seed), Truth()
    table = FlowTable(SECRET, lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
    reader = Reader(*table.buffers(), lg_buckets=lg_buckets, cpus=1, hash_key=HASH_KEY)
    made = []
    for number in range(ticks):
        for _ in range(600):
            one = flow(int(dice.paretovariate(0.6)) % flows)
            data, side = packet(one, dice.choice([0, 0, 900])), dice.choice([0, 0, 1])
            table.count(data, side)
            truth[one, side, "packets"] += 1
            truth[one, side, "bytes"] += len(data)
        made.append(reader.read(table.flip(), 100 + number, thin_shift=thin_shift))
    return made, truth


def window(ticks: list[Tick], increment: Increment, interface: Interface) -> Window:
    counters = tuple(Counter(key_type=name, increment=increment) for name in KEY_TYPES)
    chosen = Filter(interface=interface)
    made = Window(Task(series="sketch", id=0, filter=chosen, counters=counters, since_tick=0))
    for tick in ticks:
        made.absorb(tick)
    return made


def summary(of: Window, key_type: str, increment: Increment) -> Summary:
    asked = Question(series="sketch", task_id=0, key_type=key_type, limit=1 << 20)
    return of.summary(asked, Counter(key_type=key_type, increment=increment))


def by_key(truth: Truth, kind: KeyType, increment: Increment, sides: set[int]) -> Tally[bytes]:
    """Add what was sent up by masked key."""
    masks = kind.masks()
    total: Tally[bytes] = Tally()
    whole = KeyType.parse(KEY_TYPES[0])
    for (one, side, unit), value in truth.items():
        if side in sides and unit == increment.value and not (kind.needs_ports and one.proto == 1):
            key = whole.parse_key(one.text)
            mask = masks[40:] if ":" in one.src else masks[:40]
            total[bytes(a & b for a, b in zip(key, mask, strict=True))] += value
    return total


def assert_bounds(of: Window, truth: Truth, increment: Increment, interface: Interface) -> None:
    for name in KEY_TYPES:
        found, kind = summary(of, name, increment), KeyType.parse(name)
        wanted = by_key(truth, kind, increment, SIDES[interface])
        counter = Counter(key_type=name, increment=increment)
        for number, (key, value) in enumerate(wanted.items()):
            bounds = [found.count(key)]
            if number < 50:  # asked alone, a flow has the bound of its own bucket
                asked = Question(series="sketch", task_id=0, key_type=name, key=key)
                bounds.append(of.summary(asked, counter).count(key))
            for bound in bounds:
                assert bound.lower <= value <= bound.upper
                assert bound.lower <= bound.estimate <= bound.upper
        assert found.distinct.lower <= len(wanted) <= found.distinct.upper
        total = found.total_packets
        sent = sum(
            value
            for (_, side, unit), value in truth.items()
            if unit == "packets" and side in SIDES[interface]
        )
        assert total.lower == sent == total.upper


@dataclass(frozen=True)
class Setting:
    """One recording, and what is asked of it."""

    seed: int
    ticks: int
    lg_buckets: int
    thin_shift: int
    increment: Increment
    interface: Interface

    def recorded(self, ticks: int) -> tuple[list[Tick], Truth]:
        return recorded(self.seed, ticks, 450, self.lg_buckets, self.thin_shift)

    def window(self, ticks: list[Tick]) -> Window:
        return window(ticks, self.increment, self.interface)

    def assert_bounds(self, tick: Tick, truth: Truth) -> None:
        assert_bounds(self.window([tick]), truth, self.increment, self.interface)


SETTINGS = st.builds(
    Setting,
    seed=st.integers(0, 2**32),
    ticks=st.integers(2, 5),
    lg_buckets=st.sampled_from([3, 4, 8]),
    thin_shift=st.sampled_from([0, 0, 1, 3]),
    increment=st.sampled_from(Increment),
    interface=st.sampled_from(Interface),
)


@given(SETTINGS)
@settings(max_examples=40, deadline=None)
def test_with_room_for_all_a_window_is_the_same(of: Setting) -> None:
    parts, truth = of.recorded(of.ticks)
    whole = merged(parts, 1 << 20)
    assert of.window([whole]).kept() == of.window(parts).kept()
    assert (whole.first_id, whole.id, whole.ticks) == (100, 99 + of.ticks, of.ticks)
    assert sum(side.packets for side in whole.sides) == 600 * of.ticks
    # Merging in two steps gives the same as in one.
    twice = merged([merged(parts[:1], 1 << 20), merged(parts[1:], 1 << 20)], 1 << 20)
    assert twice == replace(whole, absent=twice.absent)
    assert (twice.absent is None) == (whole.absent is None)
    if twice.absent is not None and whole.absent is not None:
        assert np.array_equal(twice.absent.table, whole.absent.table)
    of.assert_bounds(twice, truth)


@given(SETTINGS, st.sampled_from([LEAST_RECORDS, 100, 200]))
@settings(max_examples=60, deadline=None)
def test_bounds_and_totals_hold_with_less_room(of: Setting, most: int) -> None:
    parts, truth = of.recorded(of.ticks)
    whole = merged(parts, most, of.seed)
    records = whole.array()
    assert len(records) <= most
    flows = records[records["kind"] == _abi.RECORD_FLOW]
    for side in (0, 1):
        held = flows[flows["key"]["direction"] == side]
        sums, before = whole.sides[side], [part.sides[side] for part in parts]
        assert sums.packets == held["packets"].sum() + sums.hidden_packets
        assert sums.ip_bytes == held["bytes"].sum() + sums.hidden_bytes
        assert sums.packets == sum(one.packets for one in before)
        assert sums.spilled_packets == sum(one.spilled_packets for one in before)
    of.assert_bounds(whole, truth)
    again = merged([whole, *parts[:1]], most, of.seed)
    truth.update(of.recorded(1)[1])
    of.assert_bounds(again, truth)


def test_heavy_flows_keep_their_bounds() -> None:
    """Hiding mice widens no bound of an elephant."""
    parts, _ = recorded(1, 5, 500, 8)
    whole = merged(parts, LEAST_RECORDS)
    assert whole.sides[0].thinned_packets > 0
    found = summary(
        window([whole], Increment.PACKETS, Interface.INPUT), KEY_TYPES[0], Increment.PACKETS
    )
    exact = found.lower[found.lower == found.upper]
    records = whole.array()
    flows = records[(records["kind"] == _abi.RECORD_FLOW) & (records["key"]["direction"] == 0)]
    assert len(exact) == len(flows)
    assert whole.sides[0].absent_packets <= 2 * flows["packets"].min()


def test_estimates_are_unbiased() -> None:
    """Means over many draws are within 4.5 standard errors, told from the draws themselves."""
    parts, truth = recorded(7, 3, 500, 8)
    runs, name = 400, "src/24"
    kind = KeyType.parse(name)
    wanted = by_key(truth, kind, Increment.PACKETS, {0})
    drawn: dict[bytes, list[int]] = {key: [] for key in wanted}
    flows = []
    for seed in range(runs):
        whole = merged(parts, LEAST_RECORDS, seed)
        found = summary(
            window([whole], Increment.PACKETS, Interface.INPUT), name, Increment.PACKETS
        )
        records = whole.array()
        labels = records["kind"] == _abi.RECORD_LABEL
        flows.append(np.count_nonzero(~labels) + (records["others"][labels] + 1.0).sum())
        for key, values in drawn.items():
            at = np.flatnonzero(found.keys == np.void(key))
            values.append(0 if not len(at) else unclipped(whole, kind, key))
    for key, values in drawn.items():
        assert abs(np.mean(values) - wanted[key]) <= 4.5 * np.std(values) / sqrt(runs) + 1e-9
    distinct = len({(one, side) for one, side, _ in truth})
    assert abs(np.mean(flows) - distinct) <= 4.5 * np.std(flows) / sqrt(runs)


def unclipped(tick: Tick, kind: KeyType, key: bytes) -> int:
    """Estimate a source network's packets from the records, without the cut at upper bounds."""
    records = tick.array()
    mask = np.frombuffer(kind.masks()[40:] if key[:2] == b"\xfd\x00" else kind.masks()[:40], "u1")
    raw = np.ascontiguousarray(records["key"]).view("u1").reshape(-1, 40)
    mine = ((raw & mask) == np.frombuffer(key, "u1")).all(axis=1)
    return int(records["packets"][mine & (records["key"]["direction"] == 0)].sum())


def test_ticks_of_different_tables_are_refused() -> None:
    (one, *_), _ = recorded(1, 1, 10, 4)
    with pytest.raises(ValueError, match="different flow tables"):
        merged([one, replace(one, placement=bytes(80))], 1000)


def test_without_placement_nothing_can_be_hidden() -> None:
    (one, *_), _ = recorded(1, 1, 400, 8)
    untold = replace(one, placement=b"")
    assert len(merged([untold], 1000).array()) == len(one.array()) > LEAST_RECORDS
    with pytest.raises(ValueError, match="and no config"):
        merged([untold], LEAST_RECORDS)
    for most in (LEAST_RECORDS - 1, (1 << 24) + 1):
        with pytest.raises(ValueError, match="most is 64 to"):
            merged([one], most)


def test_a_merge_that_has_ended_takes_nothing_more() -> None:
    (one, two), _ = recorded(1, 2, 10, 4)
    merging = Merging(len(one.records))
    merging.add(one)
    assert merging.tick(1000).records == one.records
    with pytest.raises(RuntimeError, match="has ended"):
        merging.add(two)
    with pytest.raises(RuntimeError, match="has ended"):
        merging.tick(1000)


def test_records_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="wrong size"):
        Merge(0).add(bytes(79))
    with pytest.raises(ValueError, match="at most 2\\^24"):
        Merge((1 << 24) + 1)
