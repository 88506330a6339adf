"""Whoever folds gets every tick once, joined where it can be, and nothing is held beyond need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import NOW, tick

from netsonde.recorder import batches as room
from netsonde.recorder.batches import Batch, Batches


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 5)),
            st.tuples(st.just("close"), st.just(0)),
            st.tuples(st.just("join"), st.just(0)),
            st.tuples(st.just("fold"), st.integers(0, 2)),
        ),
        max_size=120,
    ),
    st.booleans(),
)
def test_whoever_folds_gets_every_tick_once(story: list[tuple[str, int]], one_by_one: bool) -> None:
    queue, due, added = Batches(), [], 0
    folded, positions, singly = [0, 0, 0], [0, 0, 0], [False, False, one_by_one]
    queue.readers = lambda: zip(positions, singly, strict=True)
    for what, number in story:
        if what == "add":
            queue.add(tick(NOW + added, [(1, number)]))
            added += number
        elif what == "close":
            due += [closed] if (closed := queue.close()) else []
        elif what == "join" and due:
            queue.join(due.pop(0))
        elif what == "fold":
            for position, one in queue.after(positions[number], single=singly[number]):
                assert position > positions[number]
                positions[number] = position
                folded[number] += one.sides[0].packets
            assert (positions[number], folded[number]) == (queue.end, added)
            queue.follow()
    assert all(done <= added for done in folded)


def test_a_flood_ends_a_batch_early(monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES", 100_000)
    queue, positions = Batches(), [0]
    queue.readers = lambda: [(position, False) for position in positions]
    closed = [queue.add(tick(NOW + number, [(1, 1)] * 300)) for number in range(9)]
    assert [one and len(one.ticks) for one in closed] == [None, None, *[2, None] * 3, 2]
    assert queue.waiting_bytes > 0
    positions.clear()
    queue.follow()
    assert queue.waiting_bytes == 0
    assert [position for position, _ in queue.after(0)] == [9]


def test_ticks_that_all_get_joined_are_let_go() -> None:
    queue = Batches()
    positions = [0]
    queue.readers = lambda: [(position, False) for position in positions]

    def closed() -> Batch:
        for number in range(3):
            queue.add(tick(NOW + queue.end, [(number, 1)]))
        batch = queue.close()
        assert batch is not None
        return batch

    first = closed()
    queue.join(first)
    assert (len(first.ticks), first.begin, first.end) == (0, 0, 3)
    assert [position for position, _ in queue.after(0)] == [3]
    with pytest.raises(LookupError):  # rather than to count too little
        list(queue.after(0, single=True))
    positions[0] = 4  # somebody was asked for a total meanwhile
    second = closed()
    queue.join(second)
    assert len(second.ticks) == 3
    assert [position for position, _ in queue.after(4)] == [5, 6]
    positions[0] = 6
    queue.follow()
    assert queue.waiting_bytes == 0
