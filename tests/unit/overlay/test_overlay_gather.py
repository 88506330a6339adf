"""Fan-in as transcripts: commands out, events in, one answer."""

import dataclasses
import itertools

import msgspec
import numpy as np
import pytest

from netsonde.model.bound import Bound
from netsonde.model.coverage import Coverage, Refusal
from netsonde.model.errors import ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.number import MAX_RETRY_S
from netsonde.overlay.claims import packed, unpacked
from netsonde.overlay.gather import Ask, Gather, Gathered, Lost, Replied, next_budget_ms
from netsonde.sketch.summary import KEY_DTYPE, Summary

OWN, LEAF, INNER, BELOW = "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"


def packets(number: int, fingerprint: str = "task") -> bytes:
    empty = np.zeros(0, np.int64)
    return Summary(
        fingerprint=fingerprint,
        total_packets=Bound.exactly(number),
        total_bytes=Bound.exactly(0),
        keys=np.zeros(0, KEY_DTYPE),
        lower=empty,
        estimate=empty,
        upper=empty,
        heavy=np.zeros(0, np.bool_),
        absent_upper=0,
        distinct=Bound.exactly(0),
        first_tick=1,
        last_tick=2,
    ).to_bytes()


def evidence(number: int, *hosts: str) -> Evidence:
    return Evidence(
        software={"1": len(hosts)},
        hooks={"tables": hosts},
        first_tick=1,
        last_tick=2,
        packets=number,
        drops={"not_ip": number},
    )


def reply(member: str, number: int, *others: str, **missing: str) -> Replied:
    coverage = Coverage(members=(member, *others, *missing), missing=missing)
    return Replied(
        member=member,
        coverage=coverage,
        part=packets(number),
        evidence=evidence(number, member),
        reported=coverage.members,
    )


def gather(budget_ms: int = 1000) -> Gather:
    children = {LEAF: (LEAF,), INNER: (INNER, BELOW)}
    return Gather(own=OWN, children=children, budget_ms=budget_ms, summarised=True)


def fold(*events: Replied | Lost) -> Gathered:
    one = gather()
    one.start()
    for event in events:
        one.handle(event)
    return one.result(10)


def total(answer: Gathered) -> int:
    assert isinstance(answer.part, Summary)
    return answer.part.total_packets.estimate


@pytest.mark.parametrize(("have_ms", "left_ms"), [(1000, 900), (900, 810), (100, 80), (15, -5)])
def test_each_level_keeps_time_to_merge(have_ms: int, left_ms: int) -> None:
    assert next_budget_ms(have_ms) == left_ms


def test_everyone_is_asked_at_once() -> None:
    assert gather().start() == [
        Ask(member=OWN, budget_ms=900),
        Ask(member=LEAF, budget_ms=900),
        Ask(member=INNER, budget_ms=900),
    ]


def test_without_time_nobody_is_asked_and_everyone_is_missing() -> None:
    late = gather(budget_ms=20)
    assert late.start() == []
    answer = late.result(10)
    assert answer.part is None
    assert answer.coverage.header() == f"0/4; missing={OWN},{LEAF},{INNER},{BELOW}"


def test_all_answer_in_any_order() -> None:
    events = [reply(OWN, 1), reply(LEAF, 10), reply(INNER, 100, BELOW)]
    for order in itertools.permutations(events):
        answer = fold(*order)
        assert total(answer) == 111
        assert answer.coverage == Coverage(members=(OWN, LEAF, INNER, BELOW))


def test_a_lost_child_takes_everyone_last_known_below_along() -> None:
    answer = fold(reply(OWN, 1), reply(LEAF, 10), Lost(member=INNER, reason="gone"))
    assert total(answer) == 11
    assert answer.coverage.missing == {INNER: "gone", BELOW: "gone"}


def test_a_refused_field_is_told_apart_from_what_may_pass() -> None:
    no = Refusal(field="window", value="last 1h", allowed="less")
    below = Coverage(members=(INNER, BELOW), missing={BELOW: "no"}, refused={BELOW: no})
    answer = fold(
        Lost(member=OWN, reason="monitor away"),
        Lost(member=LEAF, reason="no", refusal=no),
        Replied(member=INNER, coverage=below, part=packets(100), evidence=evidence(100, INNER)),
    )
    assert answer.coverage.missing == {OWN: "monitor away", LEAF: "no", BELOW: "no"}
    assert answer.coverage.refused == {LEAF: no, BELOW: no}
    assert total(answer) == 100


def test_the_shortest_wait_of_those_missing_goes_up_from_any_depth() -> None:
    below = Coverage(members=(INNER, BELOW), missing={BELOW: "busy"}, retry_after_s=3)
    inner = Replied(member=INNER, coverage=below, part=packets(100), evidence=evidence(100, INNER))
    own = Lost(member=OWN, reason="busy", retry_after_s=1e9)
    assert fold(own, reply(LEAF, 1), inner).coverage.retry_after_s == 3
    none = Replied(member=INNER, coverage=msgspec.structs.replace(below, missing={INNER: "x"}))
    assert fold(own, reply(LEAF, 1), none).coverage.retry_after_s == 3
    assert fold(own, reply(LEAF, 1), reply(INNER, 1)).coverage.retry_after_s == MAX_RETRY_S
    assert fold(reply(OWN, 1), reply(LEAF, 1), reply(INNER, 1)).coverage.retry_after_s is None


def test_a_host_without_traffic_is_covered() -> None:
    answer = fold(reply(OWN, 0), reply(LEAF, 0), reply(INNER, 0, BELOW))
    assert (total(answer), answer.coverage.header()) == (0, "4/4")


def test_a_host_under_two_children_is_in_neither_and_both_are_named() -> None:
    events = [reply(OWN, 1), reply(LEAF, 10, BELOW), reply(INNER, 100, BELOW)]
    for order in itertools.permutations(events):
        answer = fold(*order)
        assert total(answer) == 1
        assert set(answer.coverage.missing) == {LEAF, INNER, BELOW}
        assert all(LEAF in why and INNER in why for why in answer.coverage.missing.values())


def test_those_who_claim_the_same_host_are_asked_again_without_it() -> None:
    one = gather()
    one.start()
    for event in (reply(OWN, 1), reply(LEAF, 10, BELOW), reply(INNER, 100, BELOW)):
        one.handle(event)
    assert one.again(500) == [
        Ask(member=LEAF, budget_ms=450, without=(BELOW,)),
        Ask(member=INNER, budget_ms=450, without=(BELOW,)),
    ]
    for event in (reply(INNER, 90), reply(LEAF, 9)):
        one.handle(event)
    answer = one.result(10)
    assert total(answer) == 100
    assert answer.coverage.missing == {BELOW: f"claimed by both {LEAF} and {INNER}, so in neither"}


def test_who_is_asked_again_and_still_claims_it_is_left_out_whole() -> None:
    one = gather()
    one.start()
    for event in (reply(OWN, 1), reply(LEAF, 10, BELOW), reply(INNER, 100, BELOW)):
        one.handle(event)
    one.again(500)
    for event in (reply(INNER, 90), reply(LEAF, 10, BELOW)):
        one.handle(event)
    answer = one.result(10)
    assert total(answer) == 91
    assert set(answer.coverage.missing) == {LEAF, BELOW}


def test_a_child_that_claims_this_very_host_takes_it_out_of_the_answer() -> None:
    one = gather()
    one.start()
    for event in (reply(OWN, 1), reply(LEAF, 10, OWN), reply(INNER, 100, BELOW)):
        one.handle(event)
    assert [ask.member for ask in one.again(500)] == [LEAF]
    one.handle(reply(LEAF, 9))
    answer = one.result(10)
    assert total(answer) == 109
    assert answer.coverage.missing == {OWN: f"claimed by both {OWN} and {LEAF}, so in neither"}


def test_an_answer_about_hosts_that_were_not_reported_is_none() -> None:
    liar = Coverage(members=(LEAF, BELOW))
    lie = Replied(member=LEAF, coverage=liar, part=packets(10), evidence=evidence(10, LEAF))
    answer = fold(reply(OWN, 1), lie, reply(INNER, 100, BELOW))
    assert total(answer) == 101
    assert "not reported" in answer.coverage.missing[LEAF]


def monitored(event: Replied, **monitors: str) -> Replied:
    return dataclasses.replace(event, monitors=monitors)


def test_one_monitor_under_two_names_counts_once() -> None:
    one = gather()
    one.start()
    for event in (
        monitored(reply(OWN, 1), aa=OWN),
        monitored(reply(LEAF, 10), bb=LEAF),
        monitored(reply(INNER, 110, BELOW), bb=INNER, cc=BELOW),
    ):
        one.handle(event)
    assert one.again(500) == [Ask(member=INNER, budget_ms=450, without=(INNER,))]
    below = Replied(
        member=INNER,
        coverage=Coverage(members=(BELOW,)),
        part=packets(100),
        evidence=evidence(100, BELOW),
        monitors={"cc": BELOW},
    )
    one.handle(below)
    answer = one.result(10)
    assert total(answer) == 111
    assert answer.coverage.missing == {INNER: f"its monitor is that of {LEAF}, and counts once"}
    assert answer.monitors == {"aa": OWN, "bb": LEAF, "cc": BELOW}


def test_an_agent_whose_host_is_not_wanted_asks_below_only() -> None:
    one = Gather(
        own=OWN,
        children={LEAF: (LEAF,), INNER: (INNER, BELOW)},
        budget_ms=1000,
        summarised=True,
        without=(OWN, BELOW),
    )
    assert one.start() == [
        Ask(member=LEAF, budget_ms=900),
        Ask(member=INNER, budget_ms=900, without=(BELOW,)),
    ]
    for event in (reply(LEAF, 10), reply(INNER, 100)):
        one.handle(event)
    answer = one.result(10)
    assert total(answer) == 110
    assert answer.coverage.missing == dict.fromkeys((OWN, BELOW), "left out as asked")


def test_the_ids_of_monitors_travel_in_the_order_of_their_hosts() -> None:
    monitors = {"11" * 8: BELOW, "22" * 8: LEAF}
    held = (BELOW, INNER, LEAF)
    assert unpacked(packed(monitors, held), held) == monitors
    with pytest.raises(ProtocolError, match="7 bytes"):
        unpacked(b"1234567", held)


def test_a_host_that_moved_is_covered_where_it_is_now() -> None:
    moved = reply(INNER, 100, **{BELOW: "has another parent"})
    answer = fold(reply(OWN, 1), reply(LEAF, 10, BELOW), moved)
    assert (total(answer), answer.coverage.header()) == (111, "4/4")


def test_a_host_its_parent_has_forgotten_is_missing() -> None:
    answer = fold(reply(OWN, 1), reply(LEAF, 10), reply(INNER, 100))
    assert total(answer) == 111
    assert answer.coverage.missing == {BELOW: f"no longer known to {INNER}"}


def test_a_child_that_counts_something_else_is_left_out() -> None:
    other = Replied(
        member=LEAF,
        coverage=Coverage.of(LEAF),
        part=packets(10, "another"),
        evidence=evidence(10, LEAF),
    )
    answer = fold(other, reply(OWN, 1), reply(INNER, 100, BELOW))
    assert total(answer) == 101
    assert "something else" in answer.coverage.missing[LEAF]


@pytest.mark.parametrize("part", [b"noise", None])
def test_a_part_that_cannot_be_read_is_none(part: bytes | None) -> None:
    broken = Replied(
        member=LEAF, coverage=Coverage.of(LEAF), part=part, evidence=evidence(10, LEAF)
    )
    answer = fold(reply(OWN, 1), broken, reply(INNER, 100, BELOW))
    assert total(answer) == 101
    assert list(answer.coverage.missing) == [LEAF]


def test_a_child_below_which_nobody_answered_says_why() -> None:
    reasons = {INNER: "monitor away", BELOW: "not connected"}
    silent = Replied(member=INNER, coverage=Coverage(members=(INNER, BELOW), missing=reasons))
    answer = fold(reply(OWN, 1), reply(LEAF, 10), silent)
    assert (total(answer), answer.coverage.missing) == (11, reasons)


def test_the_first_event_of_a_member_stands_and_strangers_are_not_heard() -> None:
    answer = fold(
        reply(OWN, 1),
        reply(OWN, 5),
        Lost(member=LEAF, reason="timed out"),
        reply(LEAF, 10),
        reply("10.9.9.9", 1000),
        reply(INNER, 100, BELOW),
    )
    assert total(answer) == 101
    assert answer.coverage.header() == f"3/4; missing={LEAF}"


def test_partial_hosts_stay_named() -> None:
    coverage = Coverage(members=(LEAF,), partial={LEAF: "late"})
    late = Replied(member=LEAF, coverage=coverage, part=packets(10), evidence=evidence(10, LEAF))
    answer = fold(reply(OWN, 1), late, reply(INNER, 100, BELOW))
    assert answer.coverage.partial == {LEAF: "late"}


def test_configuration_needs_no_summaries() -> None:
    one = Gather(own=OWN, children={LEAF: (LEAF,)}, budget_ms=1000, summarised=False)
    one.start()
    for member in (OWN, LEAF):
        one.handle(Replied(member=member, coverage=Coverage.of(member)))
    assert one.result(1) == Gathered(
        coverage=Coverage(members=(OWN, LEAF)), part=None, evidence=None, monitors={}
    )


def test_evidence_adds_up_and_that_of_a_part_left_out_is_left_out() -> None:
    lie = Replied(
        member=INNER,
        coverage=Coverage(members=(INNER, BELOW, "10.9.9.9")),
        part=packets(100),
        evidence=evidence(100, INNER),
    )
    answer = fold(reply(OWN, 1), reply(LEAF, 10), lie)
    assert answer.evidence
    assert (answer.evidence.packets, answer.evidence.drops) == (11, {"not_ip": 11})
    assert answer.evidence.hooks == {"tables": (OWN, LEAF)}


@pytest.mark.parametrize("bad", [None, evidence(-1, LEAF)])
def test_a_part_with_evidence_that_cannot_be_is_none(bad: Evidence | None) -> None:
    broken = Replied(member=LEAF, coverage=Coverage.of(LEAF), part=packets(10), evidence=bad)
    answer = fold(reply(OWN, 1), broken, reply(INNER, 100, BELOW))
    assert (total(answer), list(answer.coverage.missing)) == (101, [LEAF])


def test_clocks_add_up_down_the_tree_and_their_errors_with_them() -> None:
    inner = evidence(100, INNER, BELOW)
    inner = msgspec.structs.replace(inner, skew_ms={BELOW: (-4.0, 0.5)})
    answer = fold(
        reply(OWN, 1),
        reply(LEAF, 10),
        Replied(
            member=INNER,
            coverage=Coverage(members=(INNER, BELOW)),
            part=packets(100),
            evidence=inner,
            clock=(3.0, 1.0),
        ),
    )
    assert answer.evidence
    assert answer.evidence.skew_ms == {INNER: (3.0, 1.0), BELOW: (-1.0, 1.5)}
