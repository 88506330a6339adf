"""Questions are checked field by field; a filter that nothing can pass is a typo."""

import pytest

from netsonde.model import asking
from netsonde.model.asked import FilterText, Top
from netsonde.model.errors import BadField
from netsonde.model.resource import DetectorSpec
from netsonde.model.task import Filter, Interface
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


@pytest.mark.parametrize("interface", ["INPUT", "OUTPUT", "both", "eth0", "br-0.100", "väth0"])
def test_an_interface_is_a_side_of_the_host_or_a_device(interface: str) -> None:
    applied = asking.checked_filter(FilterText(interface=interface, proto="tcp"))
    if interface in ("INPUT", "OUTPUT", "both"):
        assert (applied.interface.value, applied.device) == (interface, None)
    else:
        assert (applied.interface, applied.device) == (Interface.BOTH, interface)
    assert asking.written_filter(applied).interface == interface


@pytest.mark.parametrize(
    "interface",
    [
        "",
        ".",
        "..",
        "eth/0",
        "eth:0",
        "eth 0",
        "eth0\n",
        "\x00",
        "a" * 16,
        "ä" * 8,
        "input",
        "BOTH",
    ],
)
def test_what_no_device_is_called_is_refused(interface: str) -> None:
    with pytest.raises(BadField, match=r"(?s)field 'interface'.*allowed: .*eth0"):
        asking.checked_filter(FilterText(interface=interface))


def test_detectors_watch_the_host_s_own_packets() -> None:
    spec = DetectorSpec(measure="count", by="src", threshold=1, filter=FilterText(interface="eth0"))
    with pytest.raises(BadField, match=r"'interface' is 'eth0'.*own packets"):
        asking.checked_detector("mine", spec)


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
