"""Rates as tc writes them."""

import pytest

from netsonde.lab.errors import OptionError
from netsonde.lab.rate import FULL_FRAME_BYTES, Rate


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("100kbit", 100_000),
        ("10mbit", 10_000_000),
        ("1.5mbit", 1_500_000),
        (" 1Gbit ", 1_000_000_000),
        ("10gbit", 10_000_000_000),
    ],
)
def test_reads(text, bits_per_s):
    assert Rate.parse(text).bits_per_s == bits_per_s


@pytest.mark.parametrize(
    "text",
    ["", "fast", "100", "100 mbit", "-1mbit", "0mbit", "99kbit", "11gbit", "10mbps", "1e3mbit"],
)
def test_refuses_by_name_with_what_is_allowed(text):
    with pytest.raises(OptionError) as refusal:
        Rate.parse(text)
    assert "--rate" in str(refusal.value)
    assert repr(text) in str(refusal.value)
    assert "100kbit to 10gbit" in str(refusal.value)


def test_bucket_holds_frames_and_queue_holds_the_bucket():
    for text in ("100kbit", "10mbit", "100mbit", "1gbit", "10gbit"):
        parsed = Rate.parse(text)
        assert 4 * FULL_FRAME_BYTES <= parsed.burst_bytes < parsed.limit_bytes
