"""Answers: every kind, from hosts that know all and from hosts that know less; bounds hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model import answer as told
from netsonde.model.asked import (
    Asked,
    Change,
    Count,
    Distinct,
    Distribution,
    Keys,
    Series,
    Spreaders,
    Top,
)
from netsonde.model.bound import Bound
from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.model.key import KeyType
from netsonde.sketch import part
from netsonde.sketch.answers import Heard, answered
from netsonde.sketch.planning import planned
from netsonde.sketch.series import Series as Steps
from netsonde.sketch.summary import KEY_DTYPE, Summary

SRC = KeyType.parse("src")
NAMES = [f"10.0.0.{number}" for number in range(1, 13)]
NOW = 17_639_858_617

traffic = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 1000))
hosts = st.lists(traffic, min_size=1, max_size=4)
doubts = st.integers(0, 30)


def summary(counts: dict[str, int], slack: int = 0, limit: int = 100, **fields: object) -> Summary:
    """Summarise a host's traffic; `slack` packets more may be anybody's."""
    exact = np.array(list(counts.values()), np.int64)
    total = sum(counts.values())
    made = Summary(
        fingerprint="one",
        total_packets=Bound(lower=total, estimate=total, upper=total + slack),
        total_bytes=Bound.exactly(0),
        keys=np.array([np.void(SRC.parse_key(name)) for name in counts], KEY_DTYPE),
        lower=exact,
        estimate=exact,
        upper=exact + slack,
        heavy=np.zeros(len(counts), np.bool_),
        absent_upper=slack,
        distinct=Bound(lower=len(counts), estimate=len(counts), upper=len(counts) + slack),
        first_tick=5,
        last_tick=9,
    ).limited(limit)
    return replace(made, **fields)


def evidence(**fields: object) -> Evidence:
    made = Evidence(software={"0.1.0": 1}, hooks={"pcap": ()}, first_tick=5, last_tick=14)
    return msgspec.structs.replace(made, **fields)


def heard(one: part.Part, coverage: Coverage | None = None, **fields: object) -> Heard:
    return Heard(part=one, coverage=coverage or Coverage.of("h2"), evidence=evidence(**fields))


def ask(asked: Asked, *parts: part.Part) -> told.Answer:
    made = answered(planned(asked, None, NOW), [heard(one) for one in parts], "netsonde test")
    assert msgspec.json.decode(msgspec.json.encode(made), type=told.Answer) == made
    return made


def merged(parts: list[dict[str, int]], slack: int, limit: int) -> Summary:
    return Summary.merged([summary(one, slack, limit) for one in parts], limit)


def truth(parts: list[dict[str, int]]) -> Counter[str]:
    return sum((Counter(one) for one in parts), Counter())


def holds(bound: Bound, value: int) -> bool:
    return bound.lower <= value <= bound.upper and bound.lower <= bound.estimate <= bound.upper


@given(hosts, doubts, st.integers(1, 12), st.integers(1, 5))
def test_the_largest(parts: list[dict[str, int]], slack: int, limit: int, k: int) -> None:
    true, answer = truth(parts), ask(Top(by="src", k=k), merged(parts, slack, limit))
    assert isinstance(answer, told.TopAnswer)
    assert holds(answer.total, true.total())
    shown = {row.key for row in answer.rows}
    assert all(holds(row.count, true[row.key]) for row in answer.rows)
    assert all(count <= answer.absent_upper for name, count in true.items() if name not in shown)
    wanted = sorted(true.items(), key=lambda one: (-one[1], one[0]))[:k]
    if answer.certificate.exact:
        assert [row.count.estimate for row in answer.rows] == [count for _, count in wanted]
    if not slack and limit == 12:
        assert answer.certificate.exact
        assert [(row.key, row.count) for row in answer.rows] == [
            (name, Bound.exactly(count)) for name, count in wanted
        ]


@given(hosts, doubts, st.floats(0, 1))
def test_nobody_over_a_share_is_left_out(
    parts: list[dict[str, int]], slack: int, share: float
) -> None:
    true, answer = truth(parts), ask(Top(by="src", share=share), merged(parts, slack, 12))
    assert isinstance(answer, told.TopAnswer)
    shown = {row.key for row in answer.rows}
    over = {name for name, count in true.items() if count > share * true.total()}
    assert over - shown == {name for name in over - shown if true[name] <= answer.absent_upper}
    if not slack:
        assert shown == over
        assert answer.certificate.exact
    else:
        assert all(row.count.upper > share * answer.total.lower for row in answer.rows)


@given(hosts, doubts, st.integers(1, 12), st.integers(1, 5))
def test_all_keys_page_by_page(
    parts: list[dict[str, int]], slack: int, limit: int, size: int
) -> None:
    true, source = truth(parts), merged(parts, slack, limit)
    after, seen = None, []
    while True:
        page = ask(Keys(by="src", limit=size, after=after), source)
        assert isinstance(page, told.KeysAnswer)
        seen += page.rows
        if page.next is None:
            break
        assert len(page.rows) == size
        after = page.next
    names = [row.key for row in seen]
    assert names == sorted(set(names))
    assert all(holds(row.count, true[row.key]) for row in seen)
    assert holds(page.unlisted, len(true) - len(names))
    missing = [count for name, count in true.items() if name not in names]
    assert max(missing, default=0) <= page.absent_upper
    if not slack and limit == 12:
        assert page.certificate.exact
        assert names == sorted(true)


@given(hosts, hosts, doubts, st.integers(1, 12), st.integers(1, 5))
def test_what_changed(
    now: list[dict[str, int]], before: list[dict[str, int]], slack: int, limit: int, k: int
) -> None:
    sources = merged(now, slack, limit), merged(before, slack, limit)
    answer = ask(Change(by="src", k=k), *sources)
    assert isinstance(answer, told.ChangeAnswer)
    true_now, true_before = truth(now), truth(before)
    changes = {name: true_now[name] - true_before[name] for name in NAMES}
    for row in answer.rows:
        assert holds(row.now, true_now[row.key])
        assert holds(row.before, true_before[row.key])
        assert holds(row.change, changes[row.key])
    shown = {row.key for row in answer.rows}
    others = [abs(changes[name]) for name in NAMES if name not in shown]
    assert max(others, default=0) <= answer.absent_upper
    assert holds(answer.total.change, true_now.total() - true_before.total())
    if answer.certificate.exact:
        ranked = sorted((abs(change) for change in changes.values()), reverse=True)
        found = [abs(row.change.estimate) for row in answer.rows]
        assert found == ranked[: len(found)]
    if not slack and limit == 12:
        assert answer.certificate.exact


@given(hosts, doubts, st.integers(1, 12))
def test_counts_distinct_and_distribution(
    parts: list[dict[str, int]], slack: int, limit: int
) -> None:
    true, source = truth(parts), merged(parts, slack, limit)
    count = ask(Count(), source)
    assert isinstance(count, told.CountAnswer)
    assert holds(count.count, true.total())
    for name in NAMES:
        one = ask(Count(by="src", key=name), source)
        assert isinstance(one, told.CountAnswer)
        assert one.key == name
        assert holds(one.count, true[name])
    distinct = ask(Distinct(by="src"), source)
    assert isinstance(distinct, told.DistinctAnswer)
    assert holds(distinct.distinct, len(true))
    assert (distinct.standard_error == 0) == distinct.distinct.exact
    spread = ask(Distribution(by="src"), source)
    assert isinstance(spread, told.DistributionAnswer)
    assert holds(spread.keys, len(true))
    assert holds(spread.total, true.total())
    for one in spread.bins:
        assert holds(one.keys, sum(one.low <= value <= one.high for value in true.values()))
    assert len(spread.quantiles) == (3 if spread.keys.upper else 0)
    if not slack and limit == 12:
        assert all(made.certificate.exact for made in (count, distinct, spread))


def test_spreaders_are_the_keys_with_most_others() -> None:
    source = summary({"10.0.0.9": 3, "10.0.0.10": 3, "10.0.0.2": 8}, union=True)
    answer = ask(Spreaders(by="src", of="dst_dport", k=2), source)
    assert isinstance(answer, told.SpreadersAnswer)
    assert [(row.key, row.count.estimate) for row in answer.rows] == [
        ("10.0.0.2", 8),
        ("10.0.0.10", 3),
    ]
    assert (answer.by, answer.of, answer.absent_upper) == ("src", "dst_dport", 3)
    assert answer.certificate.exact


def steps(lower: list[int], upper: list[int], hosts: list[int]) -> Steps:
    return Steps(
        fingerprint="one",
        step_ticks=10,
        first_ticks=np.arange(len(lower), dtype=np.int64) * 10 + 17_639_858_410,
        lower=np.array(lower, np.int64),
        estimate=np.array(lower, np.int64),
        upper=np.array(upper, np.int64),
        counted=np.array(upper, np.int64) >= 0,
        hosts=np.array(hosts, np.int64),
        of_hosts=2,
    )


def test_a_rate_says_when_nobody_or_not_everybody_counted() -> None:
    answer = ask(Series(), steps([7, 5, 0], [7, 9, -1], [2, 1, 0]))
    assert isinstance(answer, told.SeriesAnswer)
    assert answer.step_ms == 1000
    assert [(point.begins, point.count, point.whole) for point in answer.points] == [
        ("2025-11-24T12:04:01.0Z", Bound.exactly(7), True),
        ("2025-11-24T12:04:02.0Z", Bound(lower=5, estimate=5, upper=9), False),
        ("2025-11-24T12:04:03.0Z", None, False),
    ]
    assert not answer.certificate.exact
    assert ask(Series(), steps([7, 5], [7, 5], [2, 2])).certificate.exact
    assert not ask(Series(), steps([7, 5], [7, 5], [2, 1])).certificate.exact


@pytest.mark.parametrize("asked", [Count(), Top(by="src"), Change(by="src")])
def test_a_part_of_another_kind_is_no_answer(asked: Asked) -> None:
    parts = [steps([7], [7], [2])] * 2
    with pytest.raises(ProtocolError):
        ask(asked, *parts[: len(planned(asked, None, NOW).questions)])


def certified(asked: Asked, *all_heard: Heard) -> told.Answer:
    return answered(planned(asked, None, NOW), all_heard, "netsonde test")


@pytest.mark.parametrize(
    ("coverage", "fields", "exact"),
    [
        (Coverage.of("h2"), {}, True),
        (Coverage(members=("h2", "h3"), missing={"h3": "gone"}), {}, True),
        (Coverage(members=("h2",), partial={"h2": "late"}), {}, False),
        (Coverage.of("h2"), {"missed_ticks": 1}, False),
    ],
)
def test_exact_is_for_hosts_that_hold_all_of_the_window(
    coverage: Coverage, fields: dict[str, object], exact: bool
) -> None:
    one = certified(Count(), heard(summary({"10.0.0.1": 5}), coverage, **fields))
    assert one.certificate.exact is exact


def test_a_change_is_exact_when_both_windows_are() -> None:
    whole, partial = heard(summary({})), heard(summary({}), missed_ticks=3)
    for now, before in ((whole, partial), (partial, whole)):
        answer = certified(Change(by="src"), now, before)
        assert isinstance(answer, told.ChangeAnswer)
        assert not answer.certificate.exact
        assert answer.before.exact is (before is whole)
        assert answer.before.window.asked == "before"


def test_the_certificate_says_what_was_asked_and_how_it_was_counted() -> None:
    one = heard(summary({}), packets=200, spilled_packets=3, contended_packets=1)
    certificate = certified(Count(window="last 1s"), one).certificate
    assert certificate.window.asked == "last 1s"
    assert certificate.spilled_ratio == 0.02
    assert certificate.software == "netsonde test"
    assert certificate.filter.interface == "INPUT"
