"""What a careful reader is told about a probe's figures."""

from dataclasses import replace

import pytest

from netsonde.probe.echo import Result
from netsonde.probe.report import echo_result, throughput_result
from netsonde.probe.throughput import Estimate, Reason, Sample, Transfer

TRANSFER = Transfer(
    estimate=Estimate(goodput_bytes_per_s=12e6, ci_bytes_per_s=1e5, batches=6, reason="converged"),
    first=Sample(mono_ns=0, bytes_acked=9),
    last=Sample(
        mono_ns=360_000_000, bytes_acked=4_000_009, rtt_us=5200, min_rtt_us=41, bytes_sent=4_100_000
    ),
    congestion_control="cubic",
)
RESULT = Result(
    sent=100,
    received=99,
    returned=98,
    delay_ms=0.3,
    delay_p99_ms=1.25,
    jitter_ms=0.01,
    duplicates=0,
    reordered=0,
    unstamped=0,
    clock_set=False,
)


def test_a_converged_transfer_says_how_it_was_made() -> None:
    result = throughput_result(TRANSFER, received_bytes=4_000_000)
    assert result.throughput_bytes_per_s == 12e6
    assert result.throughput_ci_bytes_per_s == 1e5
    assert result.converged is True
    assert result.notes == (
        "one TCP flow, congestion control cubic",
        "4000000 bytes in 360 ms",
        "round trip 0.041 ms at least, 5.200 ms at the end under load",
    )


@pytest.mark.parametrize(("reason", "says"), [("time", "time cap"), ("bytes", "byte cap")])
def test_a_cap_is_named(reason: Reason, says: str) -> None:
    capped = replace(TRANSFER, estimate=replace(TRANSFER.estimate, reason=reason))
    result = throughput_result(capped, received_bytes=4_000_000)
    assert result.converged is False
    assert f"stopped by its {says} before it converged, after 6 steady batches" in result.notes


def test_a_path_that_acknowledges_in_dsts_place_is_given_away() -> None:
    notes = throughput_result(TRANSFER, received_bytes=1_000_000).notes
    assert any("dst received 1000000 bytes only" in note for note in notes)


def test_a_missing_count_of_dst_is_said_and_not_zero() -> None:
    assert "dst did not say how much it received" in throughput_result(TRANSFER, None).notes
    lost = echo_result(replace(RESULT, received=None))
    assert lost.received is None
    assert "dst did not say how many probes it received" in lost.notes


def test_retransmissions_are_a_share_of_what_was_sent() -> None:
    resent = replace(TRANSFER, last=replace(TRANSFER.last, bytes_retransmitted=41_000))
    assert "1.00% of the bytes were sent again" in throughput_result(resent, 4_000_000).notes


def test_an_echo_result_keeps_its_figures_and_names_the_tail() -> None:
    result = echo_result(RESULT)
    assert (result.sent, result.received, result.returned) == (100, 99, 98)
    assert (result.delay_ms, result.jitter_ms) == (0.3, 0.01)
    assert result.notes == ("99 % of the delays are at most 1.250 ms",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unstamped": 3}, "3 of 98 returned probes lack a kernel timestamp"),
        ({"clock_set": True}, "the clock of src was set"),
        ({"returned": 20}, "jitter from 20 packets reads low"),
        ({"duplicates": 2}, "2 replies came more than once"),
        ({"reordered": 4}, "4 replies came after a later probe's"),
    ],
)
def test_what_weakens_an_echo_result_is_said(change: dict[str, int], says: str) -> None:
    notes = echo_result(replace(RESULT, **change)).notes  # type: ignore[arg-type]
    assert any(says in note for note in notes)
