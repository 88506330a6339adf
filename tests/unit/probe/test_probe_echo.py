"""The echo exchange: both ends against each other, on a path and with clocks made by the test."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.probe import stamp
from netsonde.probe.echo import MAX_CLOCK_SHIFT_NS, Exchange, Reflector, Result, Schedule, jitter_ms

COOKIE = b"8 octets"
START_WALL_NS = 1_700_000_000_000_000_000
US = 1000
MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What the path does to one probe and its reply."""

    forth_ns: int = 100 * US
    held_ns: int = 50 * US
    back_ns: int = 200 * US
    lost_forth: bool = False
    lost_back: bool = False
    copies_forth: int = 1
    copies_back: int = 1


def reflector(*, max_packets: int = 1000, max_packets_per_s: int = 1000) -> Reflector:
    return Reflector(
        cookie=COOKIE,
        max_packets=max_packets,
        max_packets_per_s=max_packets_per_s,
        opened_mono_ns=0,
        clock_wall_ns=lambda: 0,
    )


def run(trips: list[Trip], *, offset_ns: int = 0, clock_shift_ns: int = 0) -> Result:
    """Send a probe a trip, packets in the order of time; dst's clock is `offset_ns` ahead."""
    schedule = Schedule(count=len(trips))
    exchange = Exchange(schedule, COOKIE)
    left_ns = 0
    far = Reflector(
        cookie=COOKIE,
        max_packets=2 * len(trips),
        max_packets_per_s=1000,
        opened_mono_ns=0,
        clock_wall_ns=lambda: START_WALL_NS + offset_ns + left_ns,
    )
    forth, back = [], []
    for sequence, trip in enumerate(trips):
        sent_ns = schedule.due_ns(sequence)
        packet = exchange.probe(sequence, START_WALL_NS + sent_ns - 5 * US)
        exchange.stamped(sequence, START_WALL_NS + sent_ns)
        if not trip.lost_forth:
            forth += [(sent_ns + trip.forth_ns, packet, trip)] * trip.copies_forth
    for arrived_ns, packet, trip in sorted(forth, key=lambda item: item[0]):
        left_ns = arrived_ns + trip.held_ns
        reply = far.handle(
            packet,
            received_wall_ns=START_WALL_NS + offset_ns + arrived_ns,
            ttl=64,
            now_mono_ns=arrived_ns,
        )
        assert isinstance(reply, bytes)
        if not trip.lost_back:
            back += [(left_ns + trip.back_ns, reply)] * trip.copies_back
    for arrived_ns, reply in sorted(back, key=lambda item: item[0]):
        assert exchange.reply(reply, START_WALL_NS + arrived_ns, stamped=True) is None
    return exchange.result(far.received, clock_shift_ns=clock_shift_ns)


def test_a_quiet_path_gives_its_delay_without_the_reflectors_time() -> None:
    assert run([Trip(held_ns=7 * MS) for _ in range(100)]) == Result(
        sent=100,
        received=100,
        returned=100,
        delay_ms=0.3,
        delay_p99_ms=0.3,
        jitter_ms=0.0,
        duplicates=0,
        reordered=0,
        unstamped=0,
        clock_set=False,
    )


def test_median_and_99th_percentile_are_told_apart() -> None:
    trips = [Trip(back_ns=900 * US if i in (13, 40) else 200 * US) for i in range(100)]
    result = run(trips)
    assert (result.delay_ms, result.delay_p99_ms) == (0.3, 1.0)


def test_forward_and_return_loss_are_told_apart() -> None:
    trips = [Trip(lost_forth=i % 10 == 0, lost_back=i % 25 == 1) for i in range(100)]
    result = run(trips)
    assert (result.sent, result.received, result.returned) == (100, 90, 86)


def test_nothing_back_leaves_every_time_unknown() -> None:
    result = run([Trip(lost_back=True)] * 5)
    assert (result.received, result.returned) == (5, 0)
    assert (result.delay_ms, result.delay_p99_ms, result.jitter_ms) == (None, None, None)


def test_jitter_follows_rfc_3550_by_hand() -> None:
    """Transit 10, 26, 10: J = 16/16 = 1, then 1 + (16 - 1)/16 = 1.9375."""
    assert jitter_ms([10 * MS, 26 * MS, 10 * MS]) == pytest.approx(1.9375)
    assert jitter_ms([10 * MS]) is None


def test_jitter_takes_packets_in_the_order_they_reached_dst() -> None:
    """The second probe overtakes the first: arrivals 20, 25 ms, transits 10 then 25 ms."""
    result = run([Trip(forth_ns=25 * MS), Trip(forth_ns=10 * MS)])
    assert result.jitter_ms == pytest.approx(15 / 16)
    assert result.reordered == 1


def test_a_late_kernel_stamp_replaces_the_time_in_the_packet() -> None:
    exchange = Exchange(Schedule(count=1), COOKIE)
    packet = exchange.probe(0, START_WALL_NS)
    reply = reflector().handle(packet, received_wall_ns=0, ttl=64, now_mono_ns=0)
    assert isinstance(reply, bytes)
    assert exchange.reply(reply, START_WALL_NS + 80 * US, stamped=True) is None
    before = exchange.result(1)
    exchange.stamped(0, START_WALL_NS + 30 * US)
    after = exchange.result(1)
    assert (before.delay_ms, before.unstamped) == (0.08, 1)
    assert (after.delay_ms, after.unstamped) == (0.05, 0)


def test_a_clock_that_was_set_takes_the_times_away_and_leaves_the_counts() -> None:
    result = run([Trip()] * 20, clock_shift_ns=-MAX_CLOCK_SHIFT_NS - 1)
    assert result.clock_set
    assert (result.delay_ms, result.jitter_ms, result.returned) == (None, None, 20)


def test_an_impossible_delay_is_not_one() -> None:
    """dst's clock was set back by a second between T2 and T3 of the second probe."""
    trips = [Trip(), Trip(held_ns=-1000 * MS, back_ns=1000 * MS), Trip()]
    assert run(trips).delay_ms == 0.3


def test_a_refused_send_is_not_counted_as_sent() -> None:
    exchange = Exchange(Schedule(count=2), COOKIE)
    exchange.probe(0, START_WALL_NS)
    exchange.probe(1, START_WALL_NS)
    exchange.unsent(1)
    assert exchange.result(None).sent == 1


@pytest.mark.parametrize(
    ("reply", "drop"),
    [
        (b"", "malformed"),
        (
            stamp.Probe(sequence=0, sent_wall_ns=0, error_estimate=1, cookie=bytes(8)),
            "wrong cookie",
        ),
        (stamp.Probe(sequence=9, sent_wall_ns=0, error_estimate=1, cookie=COOKIE), "wrong cookie"),
    ],
)
def test_a_reply_that_is_not_ours_is_dropped(reply: bytes | stamp.Probe, drop: str) -> None:
    """Another cookie, or a probe that was never sent."""
    exchange = Exchange(Schedule(count=1), COOKIE)
    exchange.probe(0, START_WALL_NS)
    if isinstance(reply, stamp.Probe):
        reply = stamp.reflect(
            reply,
            sequence=0,
            received_wall_ns=0,
            ttl=64,
            error_estimate=1,
            clock_wall_ns=lambda: 0,
        )
    assert exchange.reply(reply, START_WALL_NS, stamped=True) == drop
    assert exchange.result(0).returned == 0


def probe(sequence: int, cookie: bytes = COOKIE) -> bytes:
    return stamp.Probe(
        sequence=sequence, sent_wall_ns=START_WALL_NS, error_estimate=1, cookie=cookie
    ).encode()


def test_a_reflector_answers_its_own_cookie_alone() -> None:
    far = reflector()
    handled = [
        far.handle(datagram, received_wall_ns=0, ttl=64, now_mono_ns=0)
        for datagram in (b"?" * 56, probe(0, bytes(8)), b"", probe(0))
    ]
    assert handled[:3] == ["malformed", "wrong cookie", "malformed"]
    assert isinstance(handled[3], bytes)
    assert far.received == 1


def test_a_reflector_numbers_its_own_replies() -> None:
    far = reflector()
    replies = [far.handle(probe(s), received_wall_ns=0, ttl=9, now_mono_ns=0) for s in (4, 2)]
    numbers = [stamp.Reply.decode(r).sequence for r in replies if isinstance(r, bytes)]
    assert numbers == [0, 1]


def test_a_reflectors_packet_budget_holds_for_replays_too() -> None:
    far = reflector(max_packets=3)
    handled = [far.handle(probe(0), received_wall_ns=0, ttl=64, now_mono_ns=0) for _ in range(5)]
    assert [isinstance(h, bytes) for h in handled] == [True, True, True, False, False]
    assert far.handle(probe(3), received_wall_ns=0, ttl=64, now_mono_ns=0) == "over budget"
    assert far.received == 1


def test_a_reflectors_rate_is_capped_over_time() -> None:
    far = reflector(max_packets_per_s=100)

    def answered(now_ms: int) -> int:
        handled = [
            far.handle(probe(s), received_wall_ns=0, ttl=64, now_mono_ns=now_ms * MS)
            for s in range(200)
        ]
        return sum(isinstance(h, bytes) for h in handled)

    assert answered(0) == 20
    assert answered(100) == 10
    assert answered(1100) == 100
    assert far.received == 200


@pytest.mark.parametrize(
    ("max_ms", "max_packets_per_s", "expected"),
    [
        (3000, 1000, Schedule(count=100, interval_ns=10 * MS)),
        (500, 1000, Schedule(count=50, interval_ns=10 * MS)),
        (3000, 20, Schedule(count=60, interval_ns=50 * MS)),
        (1, 1, Schedule(count=1, interval_ns=1000 * MS)),
    ],
)
def test_a_schedule_keeps_within_limits(
    max_ms: int, max_packets_per_s: int, expected: Schedule
) -> None:
    assert Schedule.within(max_ms=max_ms, max_packets_per_s=max_packets_per_s) == expected


TRIPS = st.lists(
    st.builds(
        Trip,
        forth_ns=st.integers(0, 60 * MS),
        held_ns=st.integers(0, 5 * MS),
        back_ns=st.integers(0, 60 * MS),
        lost_forth=st.booleans(),
        lost_back=st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@given(TRIPS, st.integers(-(10**18), 10**18))
def test_the_offset_between_the_clocks_changes_nothing(trips: list[Trip], offset_ns: int) -> None:
    assert run(trips, offset_ns=offset_ns) == run(trips)


@given(TRIPS, st.data())
def test_copies_never_count_twice(trips: list[Trip], data: st.DataObject) -> None:
    copies = st.integers(1, 2)
    copied = [
        replace(t, copies_forth=data.draw(copies), copies_back=data.draw(copies)) for t in trips
    ]
    once, more = run(trips), run(copied)
    arrived = [c for c in copied if not (c.lost_forth or c.lost_back)]
    assert more.duplicates == sum(c.copies_forth * c.copies_back - 1 for c in arrived)
    assert replace(more, duplicates=0) == once


@given(TRIPS)
def test_reordering_counts_every_probe_once(trips: list[Trip]) -> None:
    result = run(trips)
    delays = sorted(t.forth_ns + t.back_ns for t in trips if not (t.lost_forth or t.lost_back))
    assert result.received == sum(not t.lost_forth for t in trips)
    assert result.returned == len(delays)
    if delays:
        assert result.delay_p99_ms == delays[-1] / 1e6


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=50))
def test_jitter_lies_between_zero_and_the_largest_difference(transits_ns: list[int]) -> None:
    jitter = jitter_ms(transits_ns)
    largest_ns = max(abs(b - a) for a, b in pairwise(transits_ns))
    assert jitter is not None
    assert 0 <= jitter <= largest_ns / 1e6 + 1e-9
