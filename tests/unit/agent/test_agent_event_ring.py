"""One ring, many readers, each with its place."""

import asyncio

from fleet import event
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from netsonde.agent.event_ring import MAX_HELD, EventRing
from netsonde.model.number import MAX_COUNT

HOST = "10.0.0.5"


def filled(number: int) -> EventRing:
    ring = EventRing()
    ring.append(event(HOST, n) for n in range(1, number + 1))
    return ring


def test_an_event_is_taken_once() -> None:
    ring = filled(3)
    assert ring.append([event(HOST, 3), event(HOST, 4)]) == [event(HOST, 4)]
    assert (ring.last, len(ring.after(0, 99).events)) == (4, 4)


def test_a_reader_goes_on_after_the_event_it_knows() -> None:
    ring = filled(5)
    read = ring.after(ring.place(event(HOST, 3).id), 1)
    assert (read.events, read.missed, read.place) == ((event(HOST, 4),), 0, 4)
    assert ring.after(read.place, 9).events == (event(HOST, 5),)
    assert ring.after(5, 9).events == ring.after(99, 9).events == ()
    assert ring.place("no such") == ring.place(None) == 0


def test_a_slow_reader_is_told_what_it_missed_and_unread_events_are_dropped() -> None:
    ring = filled(10)
    place = ring.after(0, 4).place
    ring.append(event(HOST, n) for n in range(11, MAX_HELD + 21))
    read = ring.after(place, 1)
    assert (read.missed, read.events) == (16, (event(HOST, 21),))
    assert ring.dropped == 16
    assert ring.first == 20
    ring.append((), dropped=5)
    assert ring.dropped == 21


def test_what_children_claim_to_have_lost_stays_a_count() -> None:
    ring = filled(MAX_HELD)
    for number in range(MAX_HELD, MAX_HELD + 99):
        ring.append([event(HOST, number + 1)], dropped=MAX_COUNT)
        assert ring.dropped == MAX_COUNT


def test_waiting_ends_with_news_and_not_with_a_mere_wake() -> None:
    async def story() -> None:
        ring = filled(1)
        waiting = asyncio.create_task(ring.wait_after(1))
        await asyncio.sleep(0)
        ring.wake()
        await asyncio.sleep(0)
        assert not waiting.done()
        ring.append([event(HOST, 2)])
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(story())


class FairRing(RuleBasedStateMachine):
    """Any events through any neighbours: what is held, what is read and what is missed add up."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = EventRing()
        self.told: list[str] = []
        self.place = self.got = self.missed = 0

    @rule(
        through=st.sampled_from(["", "10.0.0.3", "10.0.0.4", "10.0.0.5"]),
        host=st.integers(1, 40),
        number=st.sampled_from([1, 7, 90, 600]),
    )
    def tell(self, through: str, host: int, number: int) -> None:
        quiet = {name: held for name, held in self.shares().items() if held <= MAX_HELD // 4}
        name = f"10.1.0.{host}"
        events = [event(name, len(self.told) + n) for n in range(number)]
        self.ring.append(events, through=through)
        self.told += [one.id for one in events]
        after = self.shares()
        for neighbour, held in quiet.items():
            assert after[neighbour] >= held  # whoever has no more than its share loses nothing

    @rule(limit=st.integers(1, 300))
    def read(self, limit: int) -> None:
        read = self.ring.after(self.place, limit)
        assert read.events or self.place == self.ring.last
        self.place, self.got = read.place, self.got + len(read.events)
        self.missed += read.missed

    def shares(self) -> dict[str, int]:
        return dict(self.ring._through)

    @invariant()
    def adds_up(self) -> None:
        held = self.ring.after(0, 10_000)
        assert len(held.events) == min(MAX_HELD, len(self.told))
        assert sum(self.shares().values()) == len(held.events)
        assert self.got + self.missed == self.place
        ids = {one.id for one in held.events}
        assert [one.id for one in held.events] == [one for one in self.told if one in ids]
        if self.told:
            assert held.events[-1].id == self.told[-1]
            assert self.ring.place(held.events[-1].id) == self.ring.last


TestFairRing = FairRing.TestCase
TestFairRing.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
