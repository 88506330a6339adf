"""Questions over captures: windows, kinds, several files, and what certificates say."""

from __future__ import annotations

import os
import threading
from operator import itemgetter
from pathlib import Path

import pytest
from captures import START_S
from clips import clip, flow, steady

from netsonde.model import answer as told
from netsonde.model import asked
from netsonde.model.asked import Asked, FilterText
from netsonde.model.bound import Bound
from netsonde.model.errors import BadField
from netsonde.replay.answering import Found, ask, line

FIRST_TICK = START_S * 10


def quiet(_what: str, _done_bytes: int, _all_bytes: int) -> None:
    pass


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Ten seconds: 10.0.0.2 sends 100 packets all the time, .3 sends 60 in the last three."""
    sent = steady(2, 100, 0, 10) + steady(3, 60, 7, 10)
    return clip(tmp_path / "talk.pcap", sent)


def counts(found: Found) -> dict[str, int]:
    assert isinstance(found.answer, told.TopAnswer)
    assert all(row.count.exact for row in found.answer.rows)
    return {row.key: row.count.estimate for row in found.answer.rows}


def test_all_of_the_capture_is_asked_by_default(talk: Path) -> None:
    found = ask([talk], asked.Top(by="src"), quiet)
    assert counts(found) == {"10.0.0.2": 100, "10.0.0.3": 60}
    certificate = found.answer.certificate
    assert certificate.exact
    assert (certificate.window.asked, certificate.window.first_tick) == ("total", FIRST_TICK)
    assert certificate.window.seconds == 10.0
    assert certificate.evidence.hooks == {"pcap": (str(talk),)}
    assert certificate.evidence.rss_bytes > 0
    said = line(certificate, found)
    assert said.startswith("exact · 160 IP packets of 160 · 10.0 s from 2023-11-14T22:13:20.0Z")


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        ("last 3s", {"10.0.0.3": 60, "10.0.0.2": 30}),
        ("real_time", {"10.0.0.3": 20, "10.0.0.2": 10}),
        ("2023-11-14T22:13:20Z/2023-11-14T22:13:22.5Z", {"10.0.0.2": 25}),
        ("2023-11-14T22:13:26.9Z/2023-11-14T22:13:27.1Z", {"10.0.0.2": 2, "10.0.0.3": 2}),
    ],
)
def test_a_window_takes_its_ticks_alone(talk: Path, window: str, wanted: dict[str, int]) -> None:
    found = ask([talk], asked.Top(by="src", window=window), quiet)
    assert counts(found) == wanted
    assert found.answer.certificate.exact
    assert found.packets == 160


def test_a_window_that_the_capture_does_not_hold_is_partial(talk: Path) -> None:
    window = "2023-11-14T22:13:29Z/2023-11-14T22:13:32Z"
    found = ask([talk], asked.Top(by="src", window=window), quiet)
    assert counts(found) == {"10.0.0.3": 20, "10.0.0.2": 10}
    certificate = found.answer.certificate
    assert not certificate.exact
    assert certificate.evidence.missed_ticks == 20
    assert "2 s of the window are not in the capture" in line(certificate, found)
    nothing = ask([talk], asked.Count(window="2023-11-15T00:00:00Z/2023-11-15T00:00:01Z"), quiet)
    assert isinstance(nothing.answer, told.CountAnswer)
    assert nothing.answer.count == Bound.exactly(0)
    assert not nothing.answer.certificate.exact


def test_every_kind_of_question_is_answered(talk: Path) -> None:
    def answer(question: Asked) -> told.Answer:
        return ask([talk], question, quiet).answer

    count = answer(asked.Count(by="src", key="10.0.0.3"))
    assert isinstance(count, told.CountAnswer)
    assert count.count == Bound.exactly(60)
    keys = answer(asked.Keys(by="src", limit=1))
    assert isinstance(keys, told.KeysAnswer)
    assert ([row.key for row in keys.rows], keys.next) == (["10.0.0.2"], "10.0.0.2")
    distinct = answer(asked.Distinct(by="src_dst"))
    assert isinstance(distinct, told.DistinctAnswer)
    assert distinct.distinct == Bound.exactly(2)
    distribution = answer(asked.Distribution(by="src", quantiles=(0.5,)))
    assert isinstance(distribution, told.DistributionAnswer)
    assert distribution.quantiles[0].value == Bound.exactly(60)
    spreaders = answer(asked.Spreaders(by="dst", of="src"))
    assert isinstance(spreaders, told.SpreadersAnswer)
    assert [(row.key, row.count) for row in spreaders.rows] == [("10.0.1.1", Bound.exactly(2))]
    change = answer(asked.Change(by="src", window="last 3s"))
    assert isinstance(change, told.ChangeAnswer)
    assert [(row.key, row.change.estimate) for row in change.rows] == [
        ("10.0.0.3", 60), ("10.0.0.2", 0),
    ]  # fmt: skip


def test_a_series_has_a_point_for_each_step(talk: Path) -> None:
    found = ask([talk], asked.Series(step="1s"), quiet).answer
    assert isinstance(found, told.SeriesAnswer)
    assert [point.count for point in found.points] == [
        *(Bound.exactly(10) for _ in range(7)), *(Bound.exactly(30) for _ in range(3)),
    ]  # fmt: skip
    assert all(point.whole for point in found.points)
    of_one = ask([talk], asked.Series(by="src", key="10.0.0.3", window="last 4s"), quiet).answer
    assert isinstance(of_one, told.SeriesAnswer)
    assert [p.count and p.count.estimate for p in of_one.points] == [0, 20, 20, 20]


def test_filters_apply(talk: Path) -> None:
    found = ask([talk], asked.Count(filter=FilterText(src="10.0.0.3", dport="440-450")), quiet)
    assert isinstance(found.answer, told.CountAnswer)
    assert found.answer.count == Bound.exactly(60)
    assert found.answer.certificate.filter.dport == "440-450"


def test_a_capture_cut_in_two_answers_as_the_whole(tmp_path: Path, talk: Path) -> None:
    sent = sorted(steady(2, 100, 0, 10) + steady(3, 60, 7, 10), key=itemgetter(0))
    files = [clip(tmp_path / "a.pcap", sent[:77]), clip(tmp_path / "b.pcap", sent[77:])]
    for question in (
        asked.Top(by="src"), asked.Spreaders(by="dst", of="src_sport"), asked.Series(),
        asked.Distinct(by="src_dst_sport_dport_proto"), asked.Top(by="src", window="last 5s"),
    ):  # fmt: skip
        whole, parts = (ask(paths, question, quiet).answer for paths in ([talk], files))
        for name in type(whole).__struct_fields__:
            if name != "certificate":
                assert getattr(whole, name) == getattr(parts, name)
        assert parts.certificate.exact
        assert parts.certificate.coverage.asked == 2


def test_files_in_any_order_add_up(tmp_path: Path) -> None:
    late = clip(tmp_path / "late.pcap", steady(2, 10, 100, 101))
    early = clip(tmp_path / "early.pcap", steady(2, 10, 50, 51))
    found = ask([late, early], asked.Series(step="10s"), quiet).answer
    assert isinstance(found, told.SeriesAnswer)
    assert [p.count and p.count.estimate for p in found.points] == [10, 0, 0, 0, 0, 10]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (asked.Change(by="src"), "a window to compare"),
        (asked.Top(by="source"), "field 'by' is 'source'"),
        (asked.Top(by="src", k=0), "field 'k' is 0; allowed: 1 to 1000"),
        (asked.Top(by="src", window="tomorrow"), "field 'window' is 'tomorrow'"),
        (asked.Count(by="src", key="ten", window="last 1s"), "field 'key' is 'ten'"),
        (asked.Spreaders(by="src", of="src"), "field 'of' is 'src'"),
    ],
)
def test_what_cannot_be_asked_is_said(talk: Path, question: Asked, sentence: str) -> None:
    with pytest.raises(BadField, match=sentence):
        ask([talk], question, quiet)


def test_a_series_too_long_for_its_step_is_refused(tmp_path: Path) -> None:
    far = [(0.0, flow(2), 0x10), (400.0, flow(2), 0x10)]
    path = clip(tmp_path / "far.pcap", far)
    with pytest.raises(BadField, match="a longer one, or a window of at most 360 s"):
        ask([path], asked.Series(step="100ms"), quiet)
    assert isinstance(ask([path], asked.Series(step="1s"), quiet).answer, told.SeriesAnswer)


def test_a_pipe_has_no_end_to_count_back_from(tmp_path: Path, talk: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadField, match="a range of time"):
        ask([pipe], asked.Top(by="src", window="last 1s"), quiet)
    writer = threading.Thread(target=lambda: pipe.write_bytes(talk.read_bytes()))
    writer.start()
    window = "2023-11-14T22:13:20Z/2023-11-14T22:13:22Z"
    found = ask([pipe], asked.Top(by="src", window=window), quiet)
    writer.join()
    assert counts(found) == {"10.0.0.2": 20}


def test_an_empty_capture_has_nothing(tmp_path: Path) -> None:
    found = ask([clip(tmp_path / "empty.pcap", [])], asked.Top(by="src"), quiet)
    assert counts(found) == {}
    assert found.answer.certificate.evidence.packets == 0


def test_a_cut_capture_is_partial(tmp_path: Path, talk: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(talk.read_bytes()[:-1])
    found = ask([cut], asked.Count(), quiet)
    assert isinstance(found.answer, told.CountAnswer)
    assert found.answer.count.estimate == 159
    assert not found.answer.certificate.exact
    assert "truncated" in found.answer.certificate.coverage.partial[str(cut)]
    assert found.broken is not None


def test_it_says_how_far_it_is(talk: Path) -> None:
    said: list[tuple[str, int, int]] = []
    ask([talk], asked.Top(by="src", window="last 1s"), lambda *how: said.append(how))
    assert {what for what, _, _ in said} == {"finding the end", "counting"}
    assert said[-1][1] == said[-1][2] == talk.stat().st_size
