"""Detectors raise once, say what they saw, and clear with hysteresis."""

from __future__ import annotations

import msgspec
import pytest
from sent import SYN_ACK, Flow, tick_of

from netsonde.model.bound import Bound
from netsonde.model.detector import (
    MAX_ACTIVE,
    MAX_DETECTORS,
    MAX_EVIDENCE,
    Detector,
    Event,
    EvidenceRow,
)
from netsonde.model.detectors import BUILTIN
from netsonde.model.errors import BadField, TooLarge
from netsonde.model.flow import FlowClass
from netsonde.model.task import Filter, Increment
from netsonde.recorder.detect import Detectors

SCAN = Detector(
    name="scan",
    measure="spread",
    filter=Filter(flow=FlowClass.ATTEMPT),
    by="src_dst",
    of="dport",
    threshold=10,
    window_ticks=5,
    clear_ticks=4,
    sentence="{src} scans ports of {dst}: {count} ports in {window}",
)


def replace_of(detector: Detector, **changed: object) -> Detector:
    return msgspec.structs.replace(detector, **changed)


def ports(first: int, number: int, **changed: object) -> list[Flow]:
    return [Flow(dport=first + n, **changed) for n in range(number)]


def detectors(*chosen: Detector, first_tick: int = 1) -> Detectors:
    made = Detectors("a-host", "5eed5eed", lambda: 0)
    assert made.apply(chosen, first_tick, 0) == []
    return made


def absorbed(made: Detectors, tick: int, flows: list[Flow], **of_tick: int) -> list[Event]:
    return made.absorb(tick_of(tick, flows, **of_tick), tick * 100_000_000)


def test_an_alarm_says_who_did_what() -> None:
    made = detectors(replace_of(SCAN, threshold=3))
    assert absorbed(made, 1, ports(1, 2)) == []
    assert absorbed(made, 2, [*ports(2, 2, packets=3), Flow(tcp=SYN_ACK, dport=77)]) == [
        Event(
            id="a-host-5eed5eed-1",
            detector="scan",
            state="raised",
            host="a-host",
            key_type="src_dst",
            key="10.0.0.6,10.0.0.5",
            count=Bound.exactly(3),
            peak=3,
            threshold=3,
            first_tick=1,
            last_tick=2,
            raised_tick=2,
            wall_ns=200_000_000,
            sentence="10.0.0.6 scans ports of 10.0.0.5: 3 ports in 0.2 s",
            evidence=(
                EvidenceRow(flow="10.0.0.6,10.0.0.5,40000,2,6", packets=4, bytes=160),
                EvidenceRow(flow="10.0.0.6,10.0.0.5,40000,3,6", packets=3, bytes=120),
                EvidenceRow(flow="10.0.0.6,10.0.0.5,40000,1,6", packets=1, bytes=40),
            ),
            sources=("10.0.0.6",),
            ports=(2, 3, 1),
        )
    ]


def test_evidence_is_the_heaviest_flows_and_bounded() -> None:
    flows = [Flow(src=f"10.0.1.{n}", dport=n, packets=n, size=100, tcp=0x10) for n in range(1, 41)]
    victims = Detector(name="v", measure="spread", by="dst", of="src", threshold=40)
    (event,) = absorbed(detectors(victims), 1, flows)
    assert len(event.evidence) == len(event.sources) == len(event.ports) == MAX_EVIDENCE
    assert msgspec.to_builtins(event.evidence[0]) == {
        "flow": "10.0.1.40,10.0.0.5,40000,40,6",
        "packets": 40,
        "bytes": 4000,
    }
    assert event.sources[:2] == ("10.0.1.40", "10.0.1.39")
    assert event.ports[:2] == (40, 39)


def test_an_attack_that_wavers_is_one_alarm() -> None:
    made, events = detectors(SCAN), []
    for tick in range(1, 60):
        # A burst every sixth tick: with a window of five there is a tick with nothing in it.
        events += absorbed(made, tick, ports(tick, 12) if tick % 6 == 1 and tick < 40 else [])
    assert [event.state for event in events] == ["raised", "cleared"]
    raised, cleared = events
    assert (raised.last_tick, cleared.raised_tick, cleared.last_tick) == (1, 1, 45)
    assert cleared.count == Bound.exactly(0)
    assert cleared.peak == 12
    assert cleared.sentence == (
        "over after 4.5 s: 10.0.0.6 scans ports of 10.0.0.5: 12 ports in 0.5 s"
    )


def test_a_gap_without_traffic_clears_when_it_would_have() -> None:
    made = detectors(SCAN)
    absorbed(made, 1, ports(1, 12))
    (cleared,) = absorbed(made, 1000, [Flow()])
    # The window is empty from tick 6 on, and that for four ticks.
    assert (cleared.state, cleared.last_tick) == ("cleared", 9)
    assert cleared.wall_ns == 9 * 100_000_000


@pytest.mark.parametrize("measured", ["spread", "change"])
def test_silence_is_news_only_where_it_was_said_to_be(measured: str) -> None:
    """Whoever puts empty ticks off must know when they cannot be."""
    change = replace_of(SCAN, measure="change", by="dst", of=None, factor=2.0, sentence="{key}")
    made = detectors(SCAN if measured == "spread" else change)
    told: list[bool] = []
    for tick in range(1, 60):
        expected = made.silence_tells()
        events = absorbed(made, tick, ports(tick, 12) if tick in (1, 2, 30) else [])
        if tick not in (1, 2, 30) and events:
            told.append(expected)
    assert told
    assert all(told)
    assert not made.silence_tells()


def test_the_end_of_a_capture_clears_what_is_left() -> None:
    made = detectors(SCAN, *BUILTIN)
    absorbed(made, 1, ports(1, 60))
    cleared = made.finish(100_000_000)
    assert {(event.detector, event.state) for event in cleared} == {
        ("scan", "cleared"),
        ("port_scan", "cleared"),
    }
    assert made.finish(0) == []


def test_between_half_and_the_threshold_it_stays_raised() -> None:
    made = detectors(replace_of(SCAN, window_ticks=1))
    assert len(absorbed(made, 1, ports(1, 10))) == 1
    for tick in range(2, 20):
        assert absorbed(made, tick, ports(1, 5)) == []
    for tick in range(20, 23):
        assert absorbed(made, tick, ports(1, 4)) == []
    assert absorbed(made, 23, ports(1, 5)) == []
    assert [absorbed(made, tick, [])[0:1] for tick in range(24, 27)] == [[], [], []]
    assert absorbed(made, 27, [])[0].state == "cleared"


def test_more_keys_than_alarms_are_counted() -> None:
    made = detectors(SCAN)
    flows = [flow for n in range(MAX_ACTIVE + 6) for flow in ports(1, 10 + n, src=f"10.1.{n}.1")]
    events = absorbed(made, 1, flows)
    assert len(events) == MAX_ACTIVE
    assert events[0].key == f"10.1.{MAX_ACTIVE + 5}.1,10.0.0.5"
    (state,) = made.states()
    assert (state.active, state.raised, state.suppressed) == (MAX_ACTIVE, MAX_ACTIVE, 6)
    assert absorbed(made, 2, []) == []
    for tick in range(3, 12):
        absorbed(made, tick, [])
    (state,) = made.states()
    assert (state.active, state.suppressed, state.suppressed_most) == (0, 0, 6)


def test_what_was_hidden_widens_the_bounds_and_raises_nothing() -> None:
    made = detectors(SCAN)
    assert absorbed(made, 1, ports(1, 9), hidden=500) == []
    (event,) = absorbed(made, 2, ports(10, 1), hidden=7)
    assert event.count == Bound(lower=10, estimate=10, upper=517)
    assert "about 10 ports" in event.sentence


def test_flows_that_others_stand_for_are_estimated() -> None:
    made = detectors(SCAN)
    (event,) = absorbed(made, 1, ports(1, 8, others=3), hidden=100)
    assert event.count == Bound(lower=8, estimate=32, upper=108)


def test_what_few_flows_stand_for_raises_nothing() -> None:
    made = detectors(SCAN)
    assert absorbed(made, 1, ports(1, 7, others=500), hidden=4000) == []
    assert made.states()[0].suppressed == 0
    (event,) = absorbed(made, 2, ports(8, 1))
    assert event.count.estimate == 3508


def test_a_clock_that_is_set_back_begins_the_windows_anew() -> None:
    made = detectors(SCAN, first_tick=1000)
    assert absorbed(made, 1000, ports(1, 9)) == []
    assert absorbed(made, 500, ports(10, 9)) == []
    (event,) = absorbed(made, 501, ports(19, 9))
    assert event.count == Bound.exactly(18)
    assert event.first_tick == 500
    assert absorbed(made, 400, []) == []  # still raised: nobody saw it end
    assert made.states()[0].active == 1


def test_a_tick_may_come_in_parts() -> None:
    made = detectors(SCAN)
    assert absorbed(made, 1, ports(1, 6)) == []
    (event,) = absorbed(made, 1, ports(5, 6))
    assert event.count == Bound.exactly(10)


def test_one_that_stays_the_same_keeps_its_alarms() -> None:
    made = detectors(SCAN)
    absorbed(made, 1, ports(1, 12))
    other = replace_of(SCAN, name="other")
    assert made.apply([other, SCAN], 2, 0) == []
    (raised,) = absorbed(made, 2, ports(1, 12))
    assert raised.detector == "other"
    ended = made.apply([other, replace_of(SCAN, threshold=11)], 3, 0)
    assert [(event.detector, event.state) for event in ended] == [("scan", "cleared")]
    assert [state.name for state in made.states()] == ["other", "scan"]
    assert made.apply([], 4, 0)[0].detector == "other"
    assert len(made) == 0


def test_changes_of_traffic_are_told_with_both_windows() -> None:
    change = Detector(
        name="change",
        measure="change",
        by="dst",
        increment=Increment.BYTES,
        threshold=1_000_000,
        factor=4.0,
        window_ticks=2,
        clear_ticks=1,
        sentence="traffic to {dst} changed from {before} to {now} in {window}",
    )
    made, events = detectors(change), []
    for tick in range(1, 20):
        busy = 7 <= tick < 14
        events += absorbed(made, tick, [Flow(packets=1000 if busy else 100, size=1000)])
    assert [(event.state, event.last_tick) for event in events] == [
        ("raised", 8),
        ("cleared", 10),
        ("raised", 15),
        ("cleared", 17),
    ]
    assert events[0].sentence == "traffic to 10.0.0.5 changed from 200 kB to 2 MB in 0.2 s"
    assert events[0].evidence[0].packets == 1000


def test_a_sentence_is_no_format_string() -> None:
    text = "{key.__class__} {src!r:>99} {dport} {key}"
    made = detectors(replace_of(SCAN, sentence=text))
    (event,) = absorbed(made, 1, ports(1, 10))
    assert event.sentence == "{key.__class__} {src!r:>99} {dport} 10.0.0.6,10.0.0.5"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"of": None}, "field 'of' is missing"),
        ({"measure": "count"}, "field 'of' is 'dport'"),
        ({"of": "dst"}, "a field that src_dst does not have"),
        ({"by": "source"}, "field 'by' is 'source'"),
        ({"threshold": 8193}, "1 to 8192 for spread"),
        ({"factor": 2.0}, "only with the measure change"),
    ],
)
def test_fields_that_do_not_go_together_change_nothing(changed, complaint: str) -> None:
    made = detectors(SCAN)
    with pytest.raises(BadField, match=complaint):
        made.apply([replace_of(SCAN, **changed)], 2, 0)
    assert [state.name for state in made.states()] == ["scan"]


def test_a_host_takes_so_many_of_different_names() -> None:
    made = detectors()
    many = [replace_of(SCAN, name=f"d{n}") for n in range(MAX_DETECTORS + 1)]
    with pytest.raises(TooLarge, match="at most 32"):
        made.apply(many, 1, 0)
    with pytest.raises(BadField, match="each name once"):
        made.apply([SCAN, SCAN], 1, 0)
    made.apply(many[:-1], 1, 0)


def test_builtin_detectors_are_sound_and_within_the_wire_form() -> None:
    for detector in BUILTIN:
        detector.check()
        assert msgspec.convert(msgspec.to_builtins(detector), Detector) == detector
    assert len({detector.name for detector in BUILTIN}) == len(BUILTIN)
    assert len(BUILTIN) < MAX_DETECTORS // 2  # room for users' own
