"""Questions are checked field by field; a filter that nothing can pass is a typo."""

import pytest

from netsonde.model import asking
from netsonde.model.asked import FilterText, Top
from netsonde.model.errors import BadField
from netsonde.model.task import Filter
from netsonde.model.window import TOTAL, Window


def test_a_filter_reads_back_as_it_was_applied() -> None:
    text = FilterText(proto="tcp", src="10.0.0.0/8", dport=[443, "8000-8010"], flow="attempt")
    applied = asking.checked_filter(text)
    assert applied.proto == 6
    assert applied.dport == "443,8000-8010"
    assert asking.checked_filter(asking.written_filter(applied)) == applied


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (FilterText(src="10.0.0.1/24"), "src"),
        (FilterText(proto="tpc"), "proto"),
        (FilterText(dport="70000"), "dport"),
        (FilterText(family=6, src="10.0.0.1"), "src"),
        (FilterText(src="10.0.0.1", dst="2001:db8::1"), "dst"),
        (FilterText(proto="icmp", dport=80), "dport"),
        (FilterText(proto="udp", flow="half_open"), "flow"),
    ],
)
def test_what_nothing_can_pass_is_refused_by_name(text: FilterText, field: str) -> None:
    with pytest.raises(BadField, match=f"field '{field}'"):
        asking.checked_filter(text)


def test_a_question_has_a_window_for_its_subject() -> None:
    assert asking.chosen_window(Top(by="src", task=1)) == TOTAL
    assert asking.chosen_window(Top(by="src")) == asking.DEFAULT_WINDOW
    assert asking.chosen_window(Top(by="src", window="last 3s")) == Window.last(30)
    with pytest.raises(BadField, match="field 'window'"):
        asking.chosen_window(Top(by="src", window="total"))


def test_what_is_counted_once_is_no_part_of_who_is_named() -> None:
    assert asking.checked_filter(FilterText()) == Filter()
    with pytest.raises(BadField, match="field 'of'"):
        asking.key_types("src_dst", "dst_dport")
