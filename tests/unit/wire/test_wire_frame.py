"""Frames: what one side writes the other reads, and anything else is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.coverage import Coverage
from netsonde.model.errors import ProtocolError
from netsonde.wire import peer
from netsonde.wire.frame import HEADER, MAX_FRAME_BYTES


@given(
    st.integers(0, 2**60),
    st.binary(max_size=100) | st.none(),
    st.dictionaries(st.text(max_size=45), st.text(max_size=200)),
)
def test_a_message_comes_back_as_it_was(
    number: int, part: bytes | None, missing: dict[str, str]
) -> None:
    coverage = Coverage(members=tuple(missing), missing=missing)
    message = peer.Partial(
        id=number,
        subtree=("a",),
        coverage=coverage,
        part=part,
        evidence=None,
        wall_ns=number // 2,
        held_ns=7,
    )
    frame = peer.MESSAGES.encode(message)
    assert peer.MESSAGES.body_bytes(frame[: HEADER.size]) == len(frame) - HEADER.size
    assert peer.MESSAGES.decode(frame[HEADER.size :]) == message


@given(st.binary(max_size=200))
def test_noise_is_refused_without_another_error(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        peer.MESSAGES.decode(noise)


def test_unknown_fields_pass_and_unknown_tags_do_not() -> None:
    newer = {"type": "Refused", "id": 1, "kind": "Busy", "reason": "x", "added_later": 5}
    message = peer.MESSAGES.decode(msgspec.msgpack.encode(newer))
    assert message == peer.Refused(id=1, kind="Busy", reason="x")
    with pytest.raises(ProtocolError):
        peer.MESSAGES.decode(msgspec.msgpack.encode({"type": "Unheard", "id": 1}))


def test_sizes_over_the_limit_are_refused_on_both_sides() -> None:
    assert peer.MESSAGES.body_bytes(HEADER.pack(MAX_FRAME_BYTES)) == MAX_FRAME_BYTES
    with pytest.raises(ProtocolError):
        peer.MESSAGES.body_bytes(HEADER.pack(MAX_FRAME_BYTES + 1))
    huge = peer.ProbeOpened(id=0, port=1, cookie=bytes(MAX_FRAME_BYTES))
    with pytest.raises(ProtocolError):
        peer.MESSAGES.encode(huge)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        peer.MESSAGES.decode(b"\x91" * 100_000)
