"""Spreads: exact while nothing is hidden, certain whatever happens, unbiased for new flows."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import Flow, packet
from traces import traces_folder

from netsonde.model.bound import Bound
from netsonde.model.key import KeyType
from netsonde.model.task import Filter, Interface, Question
from netsonde.replay.capture import Capture
from netsonde.sketch import _abi
from netsonde.sketch._core import FlowTable
from netsonde.sketch.merge import merged
from netsonde.sketch.spread import Spread
from netsonde.sketch.summary import Summary
from netsonde.sketch.tick import Reader, Tick

PAIRS = [
    ("src", "dst"),
    ("dst", "src"),
    ("src/24", "dst_dport"),
    ("dport", "src"),
    ("proto", "dst"),
]


class Host:
    """A flow table that is fed by hand."""

    def __init__(self, lg_buckets: int, secret: bytes = bytes(range(64))) -> None:
        self.table = FlowTable(secret, lg_buckets, _abi.SAMPLE_SHIFT_LEAST)
        self.reader = Reader(
            *self.table.buffers(),
            lg_buckets=lg_buckets,
            cpus=1,
            hash_key=struct.unpack("<8Q", secret),
        )
        self.number = 0

    def tick(self, flows: list[Flow], thin_shift: int = 0, side: int = _abi.IN) -> Tick:
        for flow in flows:
            self.table.count(packet(flow), side)
        self.number += 1
        return self.reader.read(self.table.flip(), self.number, thin_shift=thin_shift)


def flow(number: int) -> Flow:
    proto, ports = (1, (0, 0)) if number % 11 == 0 else (17, (1024 + number % 300, number % 7))
    prefix = "fd00::" if number % 5 == 0 else "10.0.0."
    return Flow(f"{prefix}{1 + number % 23}", f"{prefix}{1 + number // 23 % 90}", *ports, proto)


def summary(spread: Spread, by: str, of: str, limit: int = 1 << 20) -> Summary:
    return spread.summary(Question(key_type=by, of=of, limit=limit))


def truth_of(flows: list[Flow], by: str, of: str) -> dict[bytes, int]:
    """Count the distinct others of each key."""
    one, other = KeyType.parse(by), KeyType.parse(of)
    whole = KeyType.parse("src_dst_sport_dport_proto")
    others: dict[bytes, set[bytes]] = {}
    for each in set(flows):
        if each.proto != 1 or not (one.needs_ports or other.needs_ports):
            key, family = whole.parse_key(each.text), ":" in each.src
            of_key, pair = (masked(key, kind, family) for kind in (one, other))
            others.setdefault(of_key, set()).add(pair)
    return {key: len(them) for key, them in others.items()}


def masked(key: bytes, kind: KeyType, is_v6: bool) -> bytes:
    mask = kind.masks()[40:] if is_v6 else kind.masks()[:40]
    return bytes(a & b for a, b in zip(key, mask, strict=True))


@dataclass(frozen=True)
class Setting:
    """What is counted, and how little memory there is for it."""

    seed: int
    ticks: int
    pair: tuple[str, str]
    lg_buckets: int
    capacity: int
    thin_shift: int
    most_records: int


@given(
    st.builds(
        Setting,
        seed=st.integers(0, 2**32),
        ticks=st.integers(1, 4),
        pair=st.sampled_from(PAIRS),
        lg_buckets=st.sampled_from([3, 9]),
        capacity=st.sampled_from([16, 100, 4096]),
        thin_shift=st.sampled_from([0, 0, 2]),
        most_records=st.sampled_from([64, 1 << 20]),
    )
)
@settings(max_examples=80, deadline=None)
def test_bounds_hold_for_every_key(of: Setting) -> None:
    dice, host, (by, other) = random.Random(of.seed), Host(of.lg_buckets), of.pair
    spread, sent = Spread(Filter(), by, other, of.capacity), []
    ticks = []
    for _ in range(of.ticks):
        flows = [flow(int(dice.paretovariate(0.4)) % 2000) for _ in range(400)]
        ticks.append(host.tick(flows, of.thin_shift))
        sent += flows
    if of.most_records < 1 << 20:
        ticks = [merged(ticks, of.most_records)]
    for tick in ticks:
        spread.absorb(tick)
    found, truth = summary(spread, by, other), truth_of(sent, by, other)
    for key, number in truth.items():
        bound = found.count(key)
        assert bound.lower <= number <= bound.upper
        assert bound.lower <= bound.estimate <= bound.upper
    assert found.distinct.lower <= len(truth) <= found.distinct.upper
    assert found.total_packets == Bound.exactly(len(sent))
    if all(not side.hidden_packets for tick in ticks for side in tick.sides):
        fits = of.capacity == 4096
        assert not fits or all(found.count(key) == Bound.exactly(n) for key, n in truth.items())
        assert not fits or len(found.keys) == len(truth)
    again = Summary.from_bytes(found.to_bytes())
    assert again.rows() == found.rows()


def test_a_scanner_stands_out_of_a_flood() -> None:
    """Labels tell a scanner of 900 new others among 6,000 new flows that overrun 512 slots."""
    estimates = []
    for run in range(30):
        dice, host = random.Random(run), Host(6, random.Random(run + 100).randbytes(64))
        flood = [
            Flow(f"10.{n % 250}.{n // 250}.9", "10.0.0.2", dice.randrange(1024, 65536), 80, 17)
            for n in range(6000)
        ]
        scan = [Flow("10.9.9.9", f"172.16.{n // 250}.{n % 250}", 40000, 22, 17) for n in range(900)]
        sent = flood + scan
        dice.shuffle(sent)
        spread = Spread(Filter(), "src", "dst", 1 << 16)
        spread.absorb(host.tick(sent))
        found = summary(spread, "src", "dst")
        bound = found.count(KeyType.parse("src").parse_key("10.9.9.9"))
        assert bound.lower < 200
        assert bound.lower <= 900 <= bound.upper
        assert found.rows()[0].key == KeyType.parse("src").parse_key("10.9.9.9")
        estimates.append(bound.estimate)
    assert abs(np.mean(estimates) - 900) < 4.5 * np.std(estimates) / np.sqrt(len(estimates))


def test_an_estimate_survives_more_pairs_than_there_is_room_for() -> None:
    """5,000 others of one key in room for 512 pairs: each comes twice and counts once."""
    host, spread = Host(9), Spread(Filter(), "src", "dst", 512)
    flows = [Flow("10.0.0.1", f"172.16.{n // 250}.{n % 250}", 1, 2, 17) for n in range(5000)]
    for part in range(20):
        spread.absorb(host.tick(flows[part % 10 * 500 : part % 10 * 500 + 500]))
    bound = summary(spread, "src", "dst").count(KeyType.parse("src").parse_key("10.0.0.1"))
    assert 256 <= bound.lower <= 5000 <= bound.upper <= 10_000
    # A sample of at least 128 pairs: relative standard error at most 1 / sqrt(128) = 9 %.
    assert abs(bound.estimate - 5000) < 4.5 * 0.09 * 5000


@pytest.mark.parametrize(
    ("interface", "by", "of", "dst", "union"),
    [
        (Interface.INPUT, "src", "dst", "10.0.0.2", False),
        (Interface.INPUT, "dst", "src", "10.0.0.2", False),
        (Interface.INPUT, "src", "dst_dport", "10.0.0.2", False),
        (Interface.INPUT, "src", "dst/24", "10.0.0.2", True),
        (Interface.INPUT, "src", "dport", "10.0.0.2", True),
        (Interface.INPUT, "src", "dst", "224.0.0.251", True),
        (Interface.INPUT, "src", "dst", "255.255.255.255", True),
        (Interface.INPUT, "src", "dst", "127.0.0.1", True),
        (Interface.INPUT, "src", "dst", "169.254.1.1", True),
        (Interface.INPUT, "src", "dst", "fd00::2", False),
        (Interface.INPUT, "src", "dst", "fe80::2", True),
        (Interface.INPUT, "src", "dst", "ff02::fb", True),
        (Interface.INPUT, "src", "dst", "::1", True),
        (Interface.OUTPUT, "src", "dst", "224.0.0.251", False),
        (Interface.OUTPUT, "dst", "sport", "10.0.0.2", True),
        (Interface.BOTH, "src", "dst", "10.0.0.2", True),
    ],
)
def test_sets_of_hosts_may_overlap_unless_each_has_its_own_address(
    interface: Interface, by: str, of: str, dst: str, union: bool
) -> None:
    src = "fd00::1" if ":" in dst else "10.0.0.1"
    spread = Spread(Filter(interface=interface), by, of, 64)
    side = _abi.OUT if interface is Interface.OUTPUT else _abi.IN
    spread.absorb(Host(4).tick([Flow(src, dst, 1000, 2000, 17)], side=side))
    found = summary(spread, by, of)
    assert found.union == union
    assert [row.count for row in found.rows()] == [Bound.exactly(1)]
    twice = Summary.merged([found, found], 10).rows()[0].count
    assert twice == (Bound(lower=1, estimate=2, upper=2) if union else Bound.exactly(2))


def test_one_key_and_a_limit() -> None:
    host, spread = Host(8), Spread(Filter(), "src", "dst", 4096)
    spread.absorb(host.tick([Flow("10.0.0.1", f"10.1.0.{n}", 1, 2, 17) for n in range(1, 4)]))
    spread.absorb(host.tick([Flow("10.0.0.2", "10.1.0.1", 1, 2, 17)]))
    key = KeyType.parse("src").parse_key("10.0.0.2")
    asked = Question(key_type="src", of="dst", key=key)
    assert [(row.key, row.count) for row in spread.summary(asked).rows()] == [
        (key, Bound.exactly(1))
    ]
    largest = summary(spread, "src", "dst", limit=1)
    assert [row.count for row in largest.rows()] == [Bound.exactly(3)]
    assert largest.absent_upper == 1


def exact_traces() -> list[Path]:
    folder = traces_folder()
    found = sorted(folder.glob("*.pcap")) if folder else []
    return [path for path in found if not path.name.startswith("edge-")]


@pytest.mark.parametrize("path", exact_traces(), ids=lambda path: path.stem)
def test_equals_tshark(path: Path) -> None:
    truth: dict[str, Any] = json.loads(path.with_suffix(".truth.json").read_text())
    questions = {"fanout_distinct_dst_per_src": PAIRS[0], "fanin_distinct_src_per_dst": PAIRS[1]}
    spreads = {name: Spread(Filter(), *pair, 1 << 18) for name, pair in questions.items()}
    for tick, _ in Capture(path, random.Random(1).randbytes(64)).ticks():
        for spread in spreads.values():
            spread.absorb(tick)
    for name, spread in spreads.items():
        by, of = questions[name]
        kind = KeyType.parse(by)
        found = [(kind.format(row.key), row.count) for row in summary(spread, by, of).rows()]
        found.sort(key=lambda pair: (-pair[1].estimate, pair[0]))
        wanted = [(key, Bound.exactly(number)) for key, number in truth[f"top20_{name}"]]
        assert found[:20] == wanted
