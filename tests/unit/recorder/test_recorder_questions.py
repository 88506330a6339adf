"""Answers from the recorder are those of the ticks themselves, in every kind of part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import NOW, Clocked

from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Question, Task
from netsonde.model.window import Window
from netsonde.recorder.questions import Answered, answering, finished
from netsonde.recorder.ring import LONGEST_STEP
from netsonde.sketch import window as sketch
from netsonde.sketch.part import read
from netsonde.sketch.series import Series
from netsonde.sketch.summary import Summary

SRC = Counter(key_type="src", increment=Increment.BYTES)


def traffic(seconds: int, seed: int = 1) -> Clocked:
    """Ticks with a few sources each, of all sizes."""
    random, host = np.random.default_rng(seed), Clocked()
    for _ in range(10 * seconds):
        sources = random.zipf(1.5, 20) % 50
        host.add([(int(source), int(random.integers(1, 9))) for source in set(sources)])
        host.settle()
    return host


HOST = traffic(45)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 500), st.booleans())
def test_an_answer_is_that_of_the_ticks(asked: int, keyed: bool) -> None:
    counter = SRC if keyed else None
    question = Question(window=Window.last(asked), key_type="src" if keyed else None)
    cover = HOST.recorder.cover(question.window)
    answered = finished(answering(question, Filter(), counter, cover))
    ticks = HOST.ticks[-asked:]
    counters = (SRC,) if keyed else ()
    task = Task(series="sketch", id=0, filter=Filter(), counters=counters, since_tick=0)
    window = sketch.Window(task)
    for one in ticks:
        window.absorb(one)
    got, expected = Summary.from_bytes(answered.part), window.summary(question, counter)
    assert got.rows() == expected.rows()
    assert got.total_packets == expected.total_packets
    assert got.fingerprint == expected.fingerprint
    evidence = answered.evidence
    assert evidence.packets == sum(one.sides[0].packets for one in ticks)
    assert evidence.drops == {"not_ip": len(ticks)}
    assert (evidence.first_tick, evidence.last_tick) == (ticks[0].id, ticks[-1].id)
    assert evidence.missed_ticks == max(0, asked - 450)


@pytest.mark.parametrize("step_ticks", [1, 10, 100])
def test_a_series_adds_up_to_the_ticks(step_ticks: int) -> None:
    question = Question(window=Window.range(NOW + 5, NOW + 444), step_ticks=step_ticks)
    cover = HOST.recorder.cover(question.window, step_ticks)
    series = read(finished(answering(question, Filter(), None, cover)).part)
    assert isinstance(series, Series)
    packets: dict[int, int] = {}
    for one in HOST.ticks[5:445]:
        place = one.id // step_ticks * step_ticks
        packets[place] = packets.get(place, 0) + one.sides[0].packets
    assert dict(zip(series.first_ticks.tolist(), series.lower.tolist(), strict=True)) == packets
    assert (series.lower == series.upper).all()
    assert series.counted.all()
    whole = [tick - NOW >= 5 and tick - NOW + step_ticks <= 445 for tick in packets]
    assert (series.hosts == whole).all()


def test_a_series_of_one_key() -> None:
    key = KeyType.parse("src").parse_key("10.0.0.1")
    question = Question(window=Window.last(50), step_ticks=10, key_type="src", key=key)
    cover = HOST.recorder.cover(question.window, 10)
    series = read(finished(answering(question, Filter(), SRC, cover)).part)
    assert isinstance(series, Series)
    expected = np.zeros(5, np.int64)
    for number, one in enumerate(HOST.ticks[-50:]):
        records = one.array()
        own = records["key"]["src"][:, 15] == 1
        expected[number // 10] += records["bytes"][own].sum()
    assert (series.estimate == expected).all()
    assert (series.lower == series.upper).all()


def test_what_cannot_be_parted_is_bounded() -> None:
    """A tick of 3.2 s in a series of seconds: nobody knows in which of them its packets were."""
    host = Clocked()
    host.add([(1, 100)], length=32)
    host.add([(1, 7)])
    question = Question(window=Window.range(NOW, NOW + 39), step_ticks=10)
    cover = host.recorder.cover(question.window, 10)
    series = read(finished(answering(question, Filter(), None, cover)).part)
    assert isinstance(series, Series)
    assert series.lower.tolist() == [0, 0, 0, 7]
    assert series.estimate.tolist() == [31, 31, 31, 14]
    assert series.upper.tolist() == [100, 100, 100, 107]
    assert series.hosts.tolist() == [1, 1, 1, 0]


def test_a_series_of_too_many_steps_is_refused() -> None:
    question = Question(window=Window.last(3601), step_ticks=1)
    cover = HOST.recorder.cover(question.window, 1)
    with pytest.raises(BadField, match=r"at most 3600 steps of 0\.1 s"):
        finished(answering(question, Filter(), None, cover))


@pytest.mark.parametrize("asked", [7, 100, 444])
def test_a_spread_counts_pairs_once_over_all_steps(asked: int) -> None:
    question = Question(window=Window.last(asked), key_type="proto", of="src", limit=100)
    cover = HOST.recorder.cover(question.window)
    answered = finished(answering(question, Filter(), None, cover))
    sources = {
        int(source)
        for one in HOST.ticks[-asked:]
        for source in one.array()["key"]["src"][:, 15].tolist()
    }
    (row,) = Summary.from_bytes(answered.part).rows()
    assert (row.count.lower, row.count.upper) == (len(sources), len(sources))
    assert answered.evidence.packets == sum(one.sides[0].packets for one in HOST.ticks[-asked:])


def counted(host: Clocked, window: Window, step_ticks: int = 0) -> Answered:
    question = Question(window=window, step_ticks=step_ticks)
    cover = host.recorder.cover(window, step_ticks or LONGEST_STEP)
    return finished(answering(question, Filter(), None, cover))


def test_names_that_go_back_unsaid_lose_nothing() -> None:
    host = Clocked()
    for number in (8, 10, 9, 11, 10, 9, 12, 7, 12):
        host.wall = NOW + number
        host.add([(number, 10)])
    window = Window.range(NOW + 7, NOW + 12)
    for step_ticks in (1, 10, 100):
        series = read(counted(host, window, step_ticks).part)
        assert isinstance(series, Series)
        assert series.estimate.sum() == 90
    assert counted(host, window).evidence.packets == 90


def test_a_tick_that_was_had_twice_does_not_stand_for_another() -> None:
    """Nine ticks of ten, and one of them again after the clock was set back."""
    host = Clocked()
    for number in (*range(9), 8):
        if host.wall != NOW + number:
            host.set_clock(NOW + number)
        host.add([(number, 10)])
    answered = counted(host, Window.range(NOW, NOW + 9), 10)
    series = read(answered.part)
    assert isinstance(series, Series)
    assert (series.estimate.tolist(), series.hosts.tolist()) == ([100], [0])
    assert answered.evidence.missed_ticks == 1


def test_ticks_of_an_era_that_has_gone_are_missed_from_the_one_that_has_them_again() -> None:
    host = Clocked(1 << 16)
    for _ in range(300):
        host.add([(1, 10)])
    host.set_clock(NOW)
    for _ in range(6000):
        host.add([(2, 10)])
        host.settle()
    reach = host.recorder.reach().first_tick
    assert reach is not None
    host.set_clock(reach + 20)
    for _ in range(100):
        host.add([(3, 10)])
    window = Window.range(reach + 20, reach + 39)
    assert counted(host, window).evidence.missed_ticks == 0, "both eras have them"
    for _ in range(6000):
        host.add([(4, 10)])
        host.settle()
    host.set_clock(reach + 20)
    for _ in range(100):
        host.add([(5, 10)])
    answered = counted(host, window, 10)
    series = read(answered.part)
    assert isinstance(series, Series)
    assert answered.evidence.missed_ticks == 20
    assert not series.hosts.any()
    assert series.counted.all()
