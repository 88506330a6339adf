"""What keys make of a choice, and the questions that come of it."""

from __future__ import annotations

import pytest
from scripted import task_body

from netsonde.cli.top.choice import KEY_TYPES, WINDOWS, Choice
from netsonde.model.asked import FilterText
from netsonde.model.errors import BadField

FLOW = KEY_TYPES[-1]


def test_goes_through_all_key_types_and_windows_and_back() -> None:
    choice = Choice()
    seen = [choice := choice.another_key_type() for _ in KEY_TYPES]
    assert {each.by for each in seen} == set(KEY_TYPES)
    assert seen[-1] == Choice()
    assert choice.another_key_type().another_key_type(-1) == choice
    windows = [choice := choice.another_window() for _ in WINDOWS]
    assert {each.window for each in windows} == set(WINDOWS)


def test_a_typed_key_type_is_checked_and_made_canonical() -> None:
    assert Choice().keyed_by(" dst/24/64 ").by == "dst/24"
    with pytest.raises(BadField, match="field 'key type' is 'source'"):
        Choice().keyed_by("source")
    assert Choice(by="sport").another_key_type().by == KEY_TYPES[0]


def test_questions_say_what_is_chosen() -> None:
    choice = Choice(by="dst", increment="bytes", window="last 60s").filtered("tcp dport=443")
    top = choice.another_interface().top(40)
    assert (top.by, top.increment, top.k, top.window, top.task) == (
        "dst", "bytes", 40, "last 60s", None,
    )  # fmt: skip
    assert top.filter == FilterText(interface="OUTPUT", proto="tcp", dport="443")
    series = choice.series(12)
    assert (series.window, series.step, series.key) == ("last 12s", "1s", None)


def test_of_a_task_its_counters_are_looked_at() -> None:
    choice = Choice(by="dst").tasked(task_body(7, ("src_dport", "src")))
    assert (choice.by, choice.increment, choice.window) == ("src_dport", "bytes", "total")
    top = choice.top(10)
    assert (top.task, top.filter) == (7, None)
    assert choice.another_key_type().by == "src"
    assert choice.another_increment() == choice
    assert choice.another_interface() == choice
    with pytest.raises(BadField, match="what task 7 counts: src_dport, src"):
        choice.keyed_by("dst")
    assert choice.untasked().window == "last 10s"
    with pytest.raises(BadField, match="totals only"):
        choice.tasked(task_body(8, ()))


@pytest.mark.parametrize(
    ("by", "key", "typed", "line", "further"),
    [
        ("src", "10.0.0.6", "", "src=10.0.0.6", "dst"),
        ("src", "10.0.0.6", "tcp src=10.0.0.0/8", "tcp src=10.0.0.6", "dst"),
        ("src_dst", "10.0.0.6,10.0.0.5", "", "src=10.0.0.6 dst=10.0.0.5", "dport"),
        ("dport", "443", "tcp", "tcp dport=443", "src"),
        ("proto", "17", "ipv4", "ipv4 udp", "src"),
        (FLOW, "10.0.0.6,10.0.0.5,0,0,1", "", "src=10.0.0.6 dst=10.0.0.5 icmp", FLOW),
        ("src/24", "10.0.0.0/24", "", "src=10.0.0.0/24", "src"),
    ],
)  # fmt: skip
def test_looks_into_a_key(by: str, key: str, typed: str, line: str, further: str) -> None:
    inside = Choice(by=by).filtered(typed).into(key)
    assert inside.filter == Choice().filtered(line).filter
    assert inside.by == further
