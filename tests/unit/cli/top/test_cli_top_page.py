"""Pages of any size: what is on them, that they fit, and that they say what they cannot know."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import WALL_NS, between, event, series_answer, task_body, top_answer

from netsonde.cli.top.choice import Choice
from netsonde.cli.top.page import Page, View, page
from netsonde.cli.top.told import NS, Told
from netsonde.model.bound import Bound
from netsonde.model.certificate import Covered
from netsonde.model.resource import EventPage

NOW_NS = 1_000 * NS
SIZES = [(80, 24), (160, 50), (200, 60), (20, 10)]


def told(**how: object) -> Told:
    rows = {f"10.0.0.{n}": between(900 - n, 950 - n, 1000 - n) for n in range(2, 90)}
    found = Told()
    found.take_top(Choice(), top_answer(rows, **how), NOW_NS - NS)  # type: ignore[arg-type]
    found.take_series(Choice(), series_answer([10, None, 300]))
    found.take_events(EventPage(events=(event(1),), next="h5-b-1", dropped=0))
    return found


def view(found: Told | None = None, **other: object) -> View:
    fields: dict[str, object] = {
        "url": "http://10.0.0.2:8000",
        "choice": Choice(),
        "told": found or told(),
        "now_mono_ns": NOW_NS,
        "now_wall_ns": WALL_NS + 12 * NS,
    }
    return View(**{**fields, **other})  # type: ignore[arg-type]


def text(drawn: Page) -> str:
    return "\n".join(line.plain for line in drawn.lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_everything_is_on_it(width: int, height: int) -> None:
    shown = text(page(view(), width, height))
    for wanted in (
        "10.0.0.2:8000",
        "src by packets",
        "last 10s",
        "INPUT all traffic",
        "live",
        "10.0.0.2 ",
        "948 [898..998]",
        "port_scan",
        "12 s · 10.0.0.5",
        "10.0.0.6 tries 85 ports",
        "packets/s",
        "peak 300 in 3 s",
        "1 s not counted",
        "8/8 hosts",
        "monitor CPU 1.2%, 61 MB, tick 100 ms",
        "exact · 8/8 hosts · 0 dropped · 10.0 s ending",
        "filter",
        "quit",
        "█",
        "▒",
        "░",
    ):
        assert wanted in shown, f"{wanted!r} is not on\n{shown}"


@given(st.integers(1, 200), st.integers(1, 70), st.booleans(), st.booleans())
def test_every_size_is_filled_exactly(width: int, height: int, answered: bool, away: bool) -> None:
    found = told() if answered else Told()
    if away:
        found.fail("top", "nobody there", NOW_NS - 9 * NS)
    drawn = page(view(found, selected="10.0.0.2"), width, height)
    assert len(drawn.lines) == height
    assert {line.cell_len for line in drawn.lines} == {width}


def test_keys_are_on_the_lines_said() -> None:
    drawn = page(view(), 80, 24)
    for number, key in enumerate(drawn.keys):
        assert drawn.lines[drawn.first_row + number].plain.startswith(f"{key} ")


def test_before_the_first_answer_it_says_so() -> None:
    assert "asking ..." in text(page(view(Told()), 80, 24))
    found = Told()
    found.fail("top", "http://10.0.0.2:8000 does not answer", NOW_NS - 4 * NS)
    shown = text(page(view(found, retry_in_s=2), 80, 24))
    assert "no answer for 4 s · next try in 2 s: http://10.0.0.2:8000 does not" in shown
    assert "NO ANSWER" in shown
    assert "nothing was answered yet" in shown


def test_a_long_reason_goes_on_in_the_next_line() -> None:
    found = Told()
    found.fail("top", "no host answered: " + ", ".join(f"10.0.0.{n}" for n in range(9)), NOW_NS)
    shown = text(page(view(found), 40, 24))
    assert "10.0.0.0, 10.0.0.1" in shown
    found.fail("top", "word " * 100, NOW_NS)
    assert " …" in text(page(view(found), 40, 24))


def test_an_old_answer_is_dimmed_and_has_its_age() -> None:
    fresh = page(view(), 80, 24)
    old = page(view(now_mono_ns=NOW_NS + 13 * NS), 80, 24)
    assert "below is the last answer, of 14 s ago" in text(old)
    assert "ago" not in text(fresh)
    assert all("dim" in str(span.style) for span in old.lines[old.first_row].spans[-1:])


def test_an_answer_to_what_was_chosen_before_says_what_it_is() -> None:
    drawn = page(view(choice=Choice(by="dport").filtered("tcp"), waiting=True), 80, 24)
    assert "below is src by packets, last 10s, INPUT all traffic, of 1 s ago" in text(drawn)
    assert "asking" in text(drawn)
    assert "live" not in text(drawn)


def test_who_is_missing_is_named() -> None:
    gone = Covered(
        asked=8, answered=6, missing={"10.0.0.7": "no answer in 2 s", "10.0.0.9": "refused"},
        partial={"10.0.0.5": "counts since 12:04:30"},
    )  # fmt: skip
    narrow = text(page(view(told(coverage=gone)), 80, 24))
    assert "6/8 hosts, missing 10.0.0.7, 10.0.0.9" in narrow
    wide = text(page(view(told(coverage=gone)), 160, 50))
    for said in ("10.0.0.7 missing: no answer in 2 s", "10.0.0.5 partial: counts since 12:04:30"):
        assert said in wide


def test_a_long_certificate_goes_on_in_the_next_line() -> None:
    partial = {f"10.0.0.{n}": "counts since 12:04:30" for n in range(2, 10)}
    shown = text(page(view(told(coverage=Covered(asked=8, answered=8, partial=partial))), 80, 24))
    assert "partial 10.0.0.2, 10.0.0.3, 10.0.0.4 and 5 more" in shown
    assert "netfilter" in shown


def test_more_missing_hosts_than_room_are_counted() -> None:
    why = "the agent of 10.0.0.2 cannot be reached: connection refused"
    gone = {f"10.0.1.{n}": why for n in range(10, 60)}
    shown = text(page(view(told(coverage=Covered(asked=58, answered=8, missing=gone))), 160, 50))
    assert "10.0.1.10 missing: the agent of 10.0.0.2 cannot" in shown
    assert "connection refused" in shown
    assert re.search(r"and 4\d more", shown)


def test_drops_are_by_cause_and_degraded_counting_is_said() -> None:
    found = told(drops={"ring_full": 12, "not_ip": 7, "truncated": 3}, told_one_in=4, spilled=9)
    narrow = text(page(view(found), 100, 24))
    assert "dropped ring_full 12, truncated 3" in narrow
    wide = text(page(view(found), 160, 50))
    for said in ("ring_full 12", "spilled 9", "flows of 1 in 4 told"):
        assert said in wide
    assert "besides 7 not IP" in wide


def test_more_alarms_than_room_are_counted() -> None:
    found = told()
    many = tuple(event(n, key=f"10.1.0.{n}") for n in range(2, 40))
    found.take_events(EventPage(events=many, next="x", dropped=0))
    shown = text(page(view(found), 80, 24))
    assert "10.1.0.39 tries" in shown
    assert "▲ 37 more active alarms" in shown


def test_what_several_hosts_see_is_one_alarm() -> None:
    found = told()
    other = event(2, host="10.0.0.6", wall_ns=WALL_NS + 5 * NS)
    found.take_events(EventPage(events=(other,), next=None, dropped=0))
    shown = text(page(view(found), 80, 24))
    assert shown.count("▲") == 1
    assert "12 s · 10.0.0.5, 10.0.0.6: 10.0.0.6 tries" in shown


def test_a_long_sentence_goes_on_in_the_next_line() -> None:
    found = told()
    said = "10.0.0.6 scans ports of 2001:db8:aaaa:bbbb:cccc:dddd:eeee:1: 1,000 ports in 10 s"
    found.take_events(EventPage(events=(event(1, sentence=said),), next=None, dropped=0))
    assert "1,000 ports" in text(page(view(found), 160, 50))


def test_a_filter_that_does_not_fit_has_a_line_of_its_own() -> None:
    choice = Choice().filtered("tcp src=10.0.0.0/8 dst=10.0.0.5 dport=443,8000-8010")
    lines = page(view(choice=choice), 80, 24).lines
    assert lines[0].plain.rstrip().endswith("live")
    assert lines[1].plain.rstrip() == (" INPUT tcp src=10.0.0.0/8 dst=10.0.0.5 dport=443,8000-8010")


def test_alarms_that_cannot_be_had_are_unknown_and_not_none() -> None:
    found = told()
    assert "no alarms" not in text(page(view(Told()), 80, 24))
    found.fail("events", "gone", NOW_NS)
    assert "alarms unknown (below: those of before): gone" in text(page(view(found), 80, 24))


def test_a_selected_row_is_told_in_full_and_scrolled_to() -> None:
    drawn = page(view(selected="10.0.0.60"), 80, 24)
    assert "10.0.0.60  890 [840..940] packets" in text(drawn)
    assert drawn.keys[-1] == "10.0.0.60"


def test_long_keys_keep_both_ends() -> None:
    key = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1,2001:db8:aaaa:bbbb:cccc:dddd:eeee:2"
    found = Told()
    choice = Choice(by="src_dst")
    found.take_top(choice, top_answer({key: Bound.exactly(5)}, by="src_dst"), NOW_NS)
    drawn = page(view(found, choice=choice), 80, 24)
    row = drawn.lines[drawn.first_row].plain
    assert row.startswith("2001:db8:aaaa")
    assert "…" in row
    assert "eeee:2 " in row


def test_sorting_is_the_views_own() -> None:
    rows = {"b": between(0, 10, 90), "a": between(20, 20, 20)}
    found = Told()
    found.take_top(Choice(), top_answer(rows), NOW_NS)
    by_count = page(view(found), 80, 24)
    assert by_count.keys == ("a", "b")
    doubtful = page(view(found, choice=replace(Choice(), sort="doubt")), 80, 24)
    assert doubtful.keys == ("b", "a")


def everywhere(made: Any, attack: str) -> Any:
    """Give a struct whose every free text is an attack, at any depth."""
    match made:
        case msgspec.Struct():
            return msgspec.structs.replace(
                made,
                **{
                    name: everywhere(getattr(made, name), attack)
                    for name in made.__struct_fields__
                    if name not in KEPT
                },
            )
        case str():
            return f"{attack}{made}"
        case tuple():
            return tuple(everywhere(one, attack) for one in made)
        case dict():
            return {everywhere(k, attack): everywhere(v, attack) for k, v in made.items()}
    return made


KEPT = ("increment", "state")
"""Texts that are one of a few."""


@given(st.text(min_size=1, max_size=30), st.sampled_from(SIZES), st.booleans())
@example("\x1b[2J\x9b31m", (80, 24), False)
@example("a\nlevel=info\r", (160, 50), True)
@example("\u202e\u2066\ufeff\u2028", (200, 60), True)
@example("\udc80", (80, 24), True)
def test_what_strangers_say_is_shown_and_not_obeyed(
    attack: str, size: tuple[int, int], away: bool
) -> None:
    absent = Covered(asked=8, answered=6, missing={"10.0.0.9": "gone"}, partial={"10.0.0.8": "h"})
    answer = top_answer({"10.0.0.2": between(1, 2, 3)}, coverage=absent, drops={"full": 3})
    found = Told()
    found.take_top(Choice(), everywhere(answer, attack), NOW_NS - NS)
    found.take_series(Choice(), everywhere(series_answer([10, None, 300]), attack))
    happened = (event(1), event(2, state="cleared", key="10.0.0.7"))
    found.take_events(everywhere(EventPage(events=happened, next="9", dropped=0), attack))
    if away:
        found.fail("top", attack, NOW_NS)
        found.fail("events", attack, NOW_NS)
    task = everywhere(task_body(), attack)
    for choice in (Choice(), Choice(by=attack, window=attack, task=task)):
        for selected in (None, found.top.rows[0].key if found.top else None, attack):
            shown = view(found, url=f"http://{attack}", choice=choice, selected=selected)
            for line in page(shown, *size).lines:
                assert line.plain.isprintable(), line.plain


def test_an_attack_can_be_read_as_what_it_is() -> None:
    found = told()
    said = event(9, sentence="\x1b[2Jboo", host="h\n5")
    found.take_events(EventPage(events=(said,), next="9", dropped=0))
    assert r"\x1b[2Jboo" in text(page(view(found), 80, 24))
