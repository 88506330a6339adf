"""Replies of other agents about tests: possible, or a sentence."""

import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netsonde.model.errors import ProbeFailed
from netsonde.probe import checks, stamp
from netsonde.wire import peer

INT64 = st.integers(-(2**63), 2**63 - 1)
FIGURE = st.none() | st.floats() | st.floats(0, 1000)
COUNT = st.none() | INT64 | st.integers(0, 100)
RESULTS = st.builds(
    peer.ProbeResult,
    id=st.just(0),
    throughput_bytes_per_s=FIGURE,
    throughput_ci_bytes_per_s=FIGURE,
    delay_ms=FIGURE,
    jitter_ms=FIGURE,
    sent=COUNT,
    received=COUNT,
    returned=COUNT,
    notes=st.lists(st.text(max_size=20), max_size=3).map(tuple),
)
GOOD = peer.ProbeResult(id=0, sent=10, received=9, returned=8, delay_ms=0.5, jitter_ms=0.0)


def figures(result: peer.ProbeResult) -> list[float]:
    named = (
        result.throughput_bytes_per_s,
        result.throughput_ci_bytes_per_s,
        result.delay_ms,
        result.jitter_ms,
    )
    return [figure for figure in named if figure is not None]


@given(RESULTS)
@example(GOOD)
def test_what_passes_is_finite_and_adds_up(result: peer.ProbeResult) -> None:
    try:
        checks.check_result(result)
    except ProbeFailed:
        return
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures(result))
    sent, received, returned = result.sent or 0, result.received, result.returned or 0
    assert 0 <= returned <= (sent if received is None else received) <= sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("throughput_bytes_per_s", math.nan),
        ("throughput_bytes_per_s", math.inf),
        ("throughput_bytes_per_s", -1e300),
        ("throughput_bytes_per_s", 1e300),
        ("throughput_ci_bytes_per_s", -1.0),
        ("delay_ms", -0.1),
        ("delay_ms", 1e9),
        ("jitter_ms", math.nan),
        ("sent", 0),
        ("sent", -1),
        ("sent", 2**63 - 1),
        ("received", 11),
        ("received", 7),
        ("received", -5),
        ("returned", 10),
    ],
)
def test_impossible_results_are_a_sentence(field: str, value: object) -> None:
    checks.check_result(GOOD)
    with pytest.raises(ProbeFailed, match="impossible"):
        checks.check_result(msgspec.structs.replace(GOOD, **{field: value}))


@given(INT64, st.binary(max_size=20))
@example(70000, bytes(stamp.COOKIE_BYTES))
@example(-1, bytes(stamp.COOKIE_BYTES))
@example(22, bytes(stamp.COOKIE_BYTES))
@example(1024, bytes(stamp.COOKIE_BYTES))
def test_receivers_are_on_ports_of_users(port: int, cookie: bytes) -> None:
    good = 1024 <= port <= 65535 and len(cookie) == stamp.COOKIE_BYTES
    reply = peer.ProbeOpened(id=0, port=port, cookie=cookie)
    if good:
        checks.check_opened(reply)
    else:
        with pytest.raises(ProbeFailed, match="impossible"):
            checks.check_opened(reply)


def test_dst_cannot_have_got_more_than_was_sent_nor_less_than_came_back() -> None:
    checks.check_received(5, least=5, most=5)
    for received in (-5, 4, 6, 2**63 - 1):
        with pytest.raises(ProbeFailed, match=f"dst says that {received} reached it"):
            checks.check_received(received, least=5, most=5)
