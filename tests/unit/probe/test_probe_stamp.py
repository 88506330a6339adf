"""STAMP packets against bytes worked out by hand from the figures of RFC 8762 and RFC 8972."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.errors import ProtocolError
from netsonde.probe import stamp

COOKIE = bytes.fromhex("a1b2c3d4e5f60718")
T1_WALL_NS = 1_700_000_000_250_000_000  # 2023-11-14 22:13:20.25 UTC
T2_WALL_NS = 1_700_000_000_500_000_000
T3_WALL_NS = 1_700_000_000_750_000_000

# 1_700_000_000 + 2_208_988_800 = 3_908_988_800 = 0xE8FE6F80; a quarter second is 0x40000000
SENDER_HEX = (
    "00000007"  # Sequence Number
    "e8fe6f80" "40000000"  # Timestamp
    "0101"  # Error Estimate: S=0, scale 1, multiplier 1
    "a1b2"  # SSID
    + "00" * 28  # MBZ
    + "80" "01" "0008"  # TLV flags U, type Extra Padding, length
    "a1b2c3d4e5f60718"
)  # fmt: skip
REFLECTOR_HEX = (
    "00000003"  # Sequence Number, the reflector's own
    "e8fe6f80" "c0000000"  # Timestamp T3
    "8202"  # Error Estimate: S=1, scale 2, multiplier 2
    "a1b2"  # SSID
    "e8fe6f80" "80000000"  # Receive Timestamp T2
    "00000007"  # Session-Sender Sequence Number
    "e8fe6f80" "40000000"  # Session-Sender Timestamp T1
    "0101"  # Session-Sender Error Estimate
    "0000"  # MBZ
    "40"  # Session-Sender TTL
    "000000"  # MBZ
    "00" "01" "0008"  # TLV flags clear, type Extra Padding, length
    "a1b2c3d4e5f60718"
)  # fmt: skip

PROBE = stamp.Probe(sequence=7, sent_wall_ns=T1_WALL_NS, error_estimate=0x0101, cookie=COOKIE)


def reflected() -> bytes:
    return stamp.reflect(
        PROBE,
        sequence=3,
        received_wall_ns=T2_WALL_NS,
        ttl=64,
        error_estimate=0x8202,
        clock_wall_ns=lambda: T3_WALL_NS,
    )


def test_a_senders_packet_is_the_one_of_the_figure() -> None:
    assert PROBE.encode().hex() == SENDER_HEX
    assert stamp.Probe.decode(bytes.fromhex(SENDER_HEX)) == PROBE


def test_a_reflectors_packet_is_the_one_of_the_figure() -> None:
    assert reflected().hex() == REFLECTOR_HEX
    assert stamp.Reply.decode(bytes.fromhex(REFLECTOR_HEX)) == stamp.Reply(
        sequence=3,
        sent_wall_ns=T3_WALL_NS,
        error_estimate=0x8202,
        received_wall_ns=T2_WALL_NS,
        probe_sequence=7,
        cookie=COOKIE,
    )


def test_a_reply_is_as_long_as_its_request() -> None:
    assert len(reflected()) == len(PROBE.encode()) == stamp.PACKET_BYTES


def test_a_reflected_packet_is_no_probe_so_reflectors_cannot_loop() -> None:
    with pytest.raises(ProtocolError, match="reflected already"):
        stamp.Probe.decode(reflected())


@pytest.mark.parametrize(
    ("datagram", "says"),
    [
        (b"", "0 bytes"),
        (bytes.fromhex(SENDER_HEX)[:44], "44 bytes"),
        (bytes.fromhex(SENDER_HEX) + b"\0", "57 bytes"),
        (bytes.fromhex(SENDER_HEX.replace("80010008", "80020008")), "type 2"),
        (bytes.fromhex(SENDER_HEX.replace("80010008", "80010007")), "7 bytes"),
        (bytes.fromhex(SENDER_HEX.replace("0101a1b2", "0101a1b3")), "session 41395"),
    ],
)
def test_what_is_no_such_packet_is_refused_by_name(datagram: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        stamp.Probe.decode(datagram)
    if len(datagram) != stamp.PACKET_BYTES:
        with pytest.raises(ProtocolError, match=says):
            stamp.Reply.decode(datagram)


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_a_time_until_2096_survives_the_ntp_format(time_ns: int) -> None:
    assert stamp.wall_ns(stamp.ntp(time_ns)) == time_ns


def test_the_second_ntp_era_begins_in_2036() -> None:
    era_ns = (2**32 - 2_208_988_800) * 10**9
    assert stamp.ntp(era_ns) == 0
    assert stamp.wall_ns(0) == era_ns


@given(st.integers(0, 10**12), st.booleans())
def test_an_error_estimate_never_understates_and_wastes_less_than_a_hundredth(
    error_ns: int, synchronized: bool
) -> None:
    bits = stamp.error_estimate(error_ns, synchronized=synchronized)
    scale, multiplier = bits >> 8 & 0x3F, bits & 0xFF
    stated_ns = multiplier * 2**scale * 1e9 / 2**32
    assert bits >> 15 == synchronized
    assert multiplier > 0
    assert error_ns <= stated_ns * (1 + 1e-12) <= error_ns * 1.01 + 1


def test_a_session_id_is_never_zero() -> None:
    assert stamp.session_id(COOKIE) == 0xA1B2
    assert stamp.session_id(bytes(8)) == 1
