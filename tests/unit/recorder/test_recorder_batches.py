"""Whoever folds gets every tick once, joined where it can be, and nothing is held beyond need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from recording import NOW, tick

from netsonde.recorder import batches as room
from netsonde.recorder.batches import Batches


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 5)),
            st.tuples(st.just("close"), st.just(0)),
            st.tuples(st.just("join"), st.just(0)),
            st.tuples(st.sampled_from(["fold", "single"]), st.integers(0, 2)),
        ),
        max_size=120,
    )
)
def test_whoever_folds_gets_every_tick_once(story: list[tuple[str, int]]) -> None:
    queue, due, added = Batches(), [], 0
    folded, positions = [0, 0, 0], [0, 0, 0]
    queue.follow(0)
    for what, number in story:
        if what == "add":
            queue.add(tick(NOW + added, [(1, number)]))
            added += number
        elif what == "close":
            due += [closed] if (closed := queue.close()) else []
        elif what == "join" and due:
            due.pop(0).join()
        elif what in ("fold", "single"):
            for position, one in queue.after(positions[number], single=what == "single"):
                assert position > positions[number]
                positions[number] = position
                folded[number] += one.sides[0].packets
            assert (positions[number], folded[number]) == (queue.end, added)
            queue.follow(min(positions))
    assert all(done <= added for done in folded)


def test_a_flood_ends_a_batch_early(monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_BYTES", 100_000)
    queue = Batches()
    queue.follow(0)
    closed = [queue.add(tick(NOW + number, [(1, 1)] * 300)) for number in range(9)]
    assert [one and len(one.ticks) for one in closed] == [None, None, *[2, None] * 3, 2]
    assert queue.waiting_bytes > 0
    queue.follow(None)
    assert queue.waiting_bytes == 0
    assert [position for position, _ in queue.after(0)] == [9]
