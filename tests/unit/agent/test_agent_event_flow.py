"""Events of a fleet reach its root, each once, however connections come and go."""

import asyncio

import msgspec
from fleet import POLL_S, Agent, Fleet, event, with_fleet

from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import EventRing
from netsonde.model.detector import MAX_EVIDENCE
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
    all_ids = sorted(f"127.0.0.{n}-boot-1" for n in (2, 3, 4))
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
    assert await ids(root, 2) == ["127.0.0.4-boot-1", "127.0.0.4-boot-2"]
    await inner.kill()
    await inner.start()
    assert sorted(await ids(inner, 2)) == ["127.0.0.4-boot-1", "127.0.0.4-boot-2"]
    leaf.monitor.happen(event(leaf.address, 3))
    assert (await ids(root, 3))[2:] == ["127.0.0.4-boot-3"]


@with_fleet
async def test_events_from_before_the_agent_started_are_had(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.happen(event(agent.address, 1), event(agent.address, 2))
    await ids(agent, 2)
    await agent.kill()
    agent.monitor.happen(event(agent.address, 3))
    await agent.start()
    assert len(await ids(agent, 3)) == 3


def test_a_child_s_false_events_are_dropped_and_counted(tmp_path) -> None:
    ring = EventRing()
    flow = EventFlow(
        ring=ring, own="10.0.0.2", monitor_socket=tmp_path, software="t", parent=lambda: None
    )
    good = event("10.0.0.3", 1)
    bad = [
        event("10.0.0.9", 1),
        msgspec.structs.replace(good, id="10.0.0.9-boot-1"),
        msgspec.structs.replace(good, sources=("x" * 100,)),
        msgspec.structs.replace(good, ports=tuple(range(MAX_EVIDENCE + 1))),
        msgspec.structs.replace(good, first_tick=-1),
        msgspec.structs.replace(good, sentence="x" * 3000),
    ]
    for one in bad:
        flow.take_from_child(
            "10.0.0.3", peer.Happened(id=0, events=(one,), dropped=0), ("10.0.0.3",)
        )
    assert (ring.last, ring.dropped) == (0, len(bad))
    flow.take_from_child("10.0.0.3", peer.Happened(id=0, events=(good,), dropped=7), ("10.0.0.3",))
    assert (ring.last, ring.dropped) == (1, len(bad) + 7)
