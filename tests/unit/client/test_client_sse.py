"""Server-sent events: whatever pieces a stream comes in, the messages are the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.client.sse import MAX_MESSAGE_BYTES, Message, Oversized, Parser

TEXT = (
    ': alive\n\nid: a-1\nevent: raised\ndata: {"x":\ndata: 1}\n\n'
    "data:two\nid\n\nretry: 5\n\nid: b\0\ndata:  three é\n\nid: cut off"
)
MESSAGES = [
    Message('{"x":\n1}', "raised", "a-1"),
    Message("two", "message", None),
    Message(" three é", "message", None),
]


@given(cuts=st.lists(st.integers(0, 200)), ending=st.sampled_from(["\n", "\r\n", "\r"]))
def test_messages_do_not_depend_on_pieces_or_line_ends(cuts: list[int], ending: str) -> None:
    stream = (TEXT.replace("\n", ending) + ending).encode()
    ends = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    parser = Parser()
    pieces = [stream[begin:end] for begin, end in pairwise(ends)]
    assert [message for piece in pieces for message in parser.feed(piece)] == MESSAGES


def test_an_id_holds_until_there_is_another() -> None:
    found = Parser().feed(b"id: 1\ndata: a\n\ndata: b\n\n")
    assert [message.id for message in found] == ["1", "1"]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_a_message_without_end_is_refused(piece: bytes) -> None:
    parser = Parser()
    for _ in range(MAX_MESSAGE_BYTES // 65536 - 1):
        parser.feed(piece)
    with pytest.raises(Oversized):
        parser.feed(piece * 2)
