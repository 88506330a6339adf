"""Events of a fleet reach its root, each once, however connections come and go."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
from fleet import POLL_S, Agent, Fleet, event, id_of, with_fleet

from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import MAX_HELD, EventRing
from netsonde.model.detector import MAX_EVIDENCE, Event
from netsonde.overlay.events import BURST, CHILD_BURST, CHILD_PER_S, PER_S, identified
from netsonde.wire import peer


async def ids(agent: Agent, number: int) -> list[str]:
    """Ids of an agent's events, once there are so many."""
    async with asyncio.timeout(10):
        while True:
            reply = await agent.client.get("/v1/events", params={"limit": 1000})
            if len(found := [e["id"] for e in reply.json()["events"]]) >= number:
                return found
            await asyncio.sleep(POLL_S)


async def chain(fleet: Fleet) -> list[Agent]:
    """Root 2 over 3 over 4."""
    agents = await fleet.start(2, 3, 4)
    await agents[0].ask("add leaf agent", agent_addr="127.0.0.3")
    await agents[1].ask("add leaf agent", agent_addr="127.0.0.4")
    return agents


@with_fleet
async def test_the_root_has_the_events_of_everyone_below(fleet: Fleet) -> None:
    agents = await chain(fleet)
    assert all(agent.address in agent.monitor.names for agent in agents)
    for agent in agents:
        agent.monitor.happen(event(agent.address, 1))
    all_ids = sorted(id_of(f"127.0.0.{n}", 1) for n in (2, 3, 4))
    assert sorted(await ids(agents[0], 3)) == all_ids
    assert sorted(await ids(agents[1], 2)) == all_ids[1:]
    assert await ids(agents[2], 1) == all_ids[2:]


@with_fleet
async def test_a_root_that_was_away_gets_what_happened_once(fleet: Fleet) -> None:
    root, inner, leaf = await chain(fleet)
    leaf.monitor.happen(event(leaf.address, 1))
    await ids(root, 1)
    await root.kill()
    leaf.monitor.happen(event(leaf.address, 2))
    await ids(inner, 2)
    await root.start()
    assert await ids(root, 2) == [id_of("127.0.0.4", n) for n in (1, 2)]
    await inner.kill()
    await inner.start()
    assert await ids(inner, 2) == [id_of("127.0.0.4", n) for n in (1, 2)]
    leaf.monitor.happen(event(leaf.address, 3))
    assert (await ids(root, 3))[2:] == [id_of("127.0.0.4", 3)]


@with_fleet
async def test_events_from_before_the_agent_started_are_had(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.happen(event(agent.address, 1), event(agent.address, 2))
    await ids(agent, 2)
    await agent.kill()
    agent.monitor.happen(event(agent.address, 3))
    await agent.start()
    assert len(await ids(agent, 3)) == 3


def flow(tmp_path: Path, ring: EventRing, clock: Callable[[], float] = lambda: 0.0) -> EventFlow:
    return EventFlow(
        ring=ring,
        own="10.0.0.2",
        monitor_socket=tmp_path,
        software="t",
        parent=lambda: None,
        mono_s=clock,
    )


def happened(*events: Event, dropped: int = 0) -> peer.Happened:
    return peer.Happened(id=0, events=events, dropped=dropped)


def test_a_child_s_false_events_are_dropped_and_counted(tmp_path: Path) -> None:
    ring = EventRing()
    one = flow(tmp_path, ring)
    below = ("10.0.0.3", "10.0.0.2")
    good = event("10.0.0.3", 1)
    bad = [
        event("10.0.0.9", 1),
        event("10.0.0.2", 1),  # this very host, whom a child claims to have below
        msgspec.structs.replace(good, id="10.0.0.9-boot-1"),
        msgspec.structs.replace(good, id="10.0.0.3-boot-\x1b[2J"),
        msgspec.structs.replace(good, sources=("x" * 100,)),
        msgspec.structs.replace(good, ports=tuple(range(MAX_EVIDENCE + 1))),
        msgspec.structs.replace(good, first_tick=-1),
        msgspec.structs.replace(good, sentence="x" * 5000),
    ]
    for lie in bad:
        one.take_from_child("10.0.0.3", happened(lie), below)
    assert (ring.last, ring.dropped, one.refused["bad"]) == (0, len(bad), len(bad))
    one.take_from_child("10.0.0.3", happened(good, dropped=7), below)
    assert (ring.last, ring.dropped) == (1, len(bad) + 7)


def test_an_event_that_is_told_under_another_s_name_before_keeps_nothing_from_being_heard(
    tmp_path: Path,
) -> None:
    """Attack: a child tells the next 64 ids of another host's before they happen."""
    ring = EventRing()
    one = flow(tmp_path, ring)
    real = [event("10.0.0.9", number) for number in range(64)]
    lies = [msgspec.structs.replace(e, state="cleared", sentence="nothing") for e in real]
    one.take_from_child("10.0.0.1", happened(*lies), ("10.0.0.1", "10.0.0.9"))
    one.take_from_child("10.0.0.7", happened(*real), ("10.0.0.7", "10.0.0.9"))
    held = ring.after(0, 1000).events
    assert [e.sentence for e in held if e.state == "raised"] == [e.sentence for e in real]
    assert len({e.id for e in held}) == 128
    # The very same event, told by whomever and however often, is one.
    one.take_from_child("10.0.0.1", happened(*real), ("10.0.0.1", "10.0.0.9"))
    one.take_from_child("10.0.0.7", happened(*held[64:]), ("10.0.0.7", "10.0.0.9"))
    assert ring.last == 128


def test_a_flood_of_forged_events_leaves_the_real_ones_and_is_cut_to_its_rate(
    tmp_path: Path,
) -> None:
    """Attack: 192,384 forged events in 12 s emptied the ring of real ones."""
    ring, now_s = EventRing(), [0.0]
    one = flow(tmp_path, ring, lambda: now_s[0])
    real = [event("10.0.0.7", number) for number in range(90)]
    one.take_from_child("10.0.0.7", happened(*real), ("10.0.0.7",))
    below = ("10.0.0.1", *(f"10.9.{n >> 8}.{n & 255}" for n in range(5000)))
    sent = 0
    for step in range(12_000 // 16):
        now_s[0] = step * 0.016
        many = [event(below[sent + n & 4095], sent + n) for n in range(64)]
        one.take_from_child("10.0.0.1", happened(*many), below)
        sent += len(many)
    held = ring.after(0, 10_000).events
    assert [e.id for e in held if e.host == "10.0.0.7"] == [identified(e).id for e in real]
    assert len(held) == MAX_HELD
    assert ring.last <= 90 + CHILD_BURST + 12 * CHILD_PER_S
    assert one.refused["rate"] == sent - (ring.last - 90)


def test_one_host_s_events_are_taken_at_its_rate_and_no_other_s_are_lost(tmp_path: Path) -> None:
    ring, now_s = EventRing(), [0.0]
    one = flow(tmp_path, ring, lambda: now_s[0])
    below = ("10.0.0.3", "10.0.0.4")
    one.take_from_child("10.0.0.3", happened(*(event("10.0.0.4", n) for n in range(300))), below)
    one.take_from_child("10.0.0.3", happened(*(event("10.0.0.3", n) for n in range(50))), below)
    assert (ring.last, one.refused["rate"]) == (BURST + 50, 200)
    now_s[0] = 5.0
    one.take_from_child("10.0.0.3", happened(*(event("10.0.0.4", n) for n in range(300))), below)
    assert ring.last == BURST + 50 + 5 * PER_S


def test_what_a_child_tells_again_is_known_though_it_is_held_no_more(tmp_path: Path) -> None:
    ring, now_s = EventRing(), [0.0]
    one = flow(tmp_path, ring, lambda: now_s[0])
    told = [event("10.0.0.3", number) for number in range(MAX_HELD)]
    for place in range(0, MAX_HELD, 50):
        now_s[0] += 10
        one.take_from_child("10.0.0.3", happened(*told[place : place + 50]), ("10.0.0.3",))
        own = [event("10.0.0.4", place + n) for n in range(50)]
        one.take_from_child("10.0.0.4", happened(*own), ("10.0.0.4",))
    before = ring.last
    now_s[0] += 1000
    one.take_from_child("10.0.0.3", happened(*told), ("10.0.0.3",))
    assert ring.last == before
    one.forget_child("10.0.0.3")
