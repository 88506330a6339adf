"""What happens to a network when its parts come late, go away, come back or do not fit."""

import asyncio
import itertools
import time

import msgspec
from fleet import Fleet, with_fleet

from netsonde.agent.monitor_link import REPLY_S
from netsonde.model.task import Filter
from netsonde.wire import monitor, peer
from netsonde.wire.frame import HEADER

SRC = {"sketch_id": 0, "counter_key_type": "src"}
KEY = {**SRC, "counter_key": "127.0.0.9"}


async def chain(fleet: Fleet, *numbers: int) -> None:
    """Start agents, each the parent of the next, and one sketch that counts 1 at each host."""
    agents = await fleet.start(*numbers)
    for agent in agents:
        agent.monitor.tables = {"src": {"127.0.0.9": 1}}
    for parent, child in itertools.pairwise(agents):
        await parent.ask("add leaf agent", agent_addr=child.address)
    await agents[0].ask("config sketch")
    await agents[0].ask("config sketch counter", **SRC)


@with_fleet
async def test_a_killed_child_is_missing_with_everyone_below(fleet: Fleet) -> None:
    await chain(fleet, 2, 3, 4)
    await fleet.agents[3].kill()
    reply = await fleet.agents[2].post(type="query sketch", **KEY)
    assert (reply.status_code, reply.text) == (200, "1")
    assert reply.headers["X-Netsonde-Coverage"] == "1/3; missing=127.0.0.3,127.0.0.4"
    listed = await fleet.agents[2].post(type="query leaf agents")
    assert listed.headers["X-Netsonde-Coverage"] == "1/3; missing=127.0.0.3,127.0.0.4"


@with_fleet
async def test_a_member_added_below_is_known_at_the_root_at_once(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    (late,) = await fleet.start(4)
    late.monitor.tables = {"src": {"127.0.0.9": 1}}
    await fleet.agents[3].ask("add leaf agent", agent_addr="127.0.0.4")
    assert [t.counters[0].key_type for t in late.monitor.tasks] == ["src"]
    await fleet.agents[2].until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "3/3", type="query leaf agents"
    )
    assert await fleet.agents[2].ask("query sketch", **KEY) == "3"


@with_fleet
async def test_a_child_that_comes_back_gets_what_it_missed(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    root, child = fleet.agents[2], fleet.agents[3]
    await child.kill()
    reply = await root.post(type="config sketch", proto="udp")
    assert (reply.text, reply.headers["X-Netsonde-Coverage"]) == ("1", "1/2; missing=127.0.0.3")
    await child.start()
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "2/2", type="query sketch", **KEY
    )
    assert [task.id for task in child.monitor.tasks] == [0, 1]


@with_fleet
async def test_a_root_that_restarts_keeps_tasks_ids_and_children(fleet: Fleet) -> None:
    await chain(fleet, 2, 3, 4)
    for number in (2, 3):
        await fleet.agents[number].kill()
        await fleet.agents[number].start()
    root = fleet.agents[2]
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "3/3", type="query sketch", **KEY
    )
    assert await root.ask("query sketch", **KEY) == "3"
    assert await root.ask("config sketch") == "1"


@with_fleet
async def test_without_its_monitor_a_host_is_missing_and_alone_answers_503(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    root, child = fleet.agents[2], fleet.agents[3]
    await child.monitor.stop()
    reply = await root.post(type="query sketch", **KEY)
    assert (reply.text, reply.headers["X-Netsonde-Coverage"]) == ("1", "1/2; missing=127.0.0.3")
    alone = await child.post(type="query sketch", **KEY)
    assert alone.status_code == 503
    assert "monitor away" in alone.text
    refused = await child.post(type="config sketch")
    assert refused.status_code == 503
    child.monitor.connected.clear()
    await child.monitor.start()
    await child.monitor.connected.wait()
    assert [task.id for task in child.monitor.tasks] == [0]
    await root.until(lambda reply: reply.text == "2", type="query sketch", **KEY)


@with_fleet
async def test_a_monitor_of_another_schema_is_refused_by_name(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    await agent.ask("config sketch")
    await agent.monitor.stop()
    agent.monitor.schema = 7
    await agent.monitor.start()
    await agent.until(lambda reply: "schema 7" in reply.text, type="config sketch")


@with_fleet
async def test_what_no_host_can_do_is_withdrawn(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.refusal = monitor.Failed(kind="Busy", reason="no room")
    reply = await agent.post(type="config sketch")
    assert reply.status_code == 503
    assert "no room" in reply.text
    agent.monitor.refusal = None
    assert await agent.ask("config sketch", proto="tcp") == "0"
    assert [task.filter.proto for task in agent.monitor.tasks] == [6]


@with_fleet
async def test_a_hanging_host_costs_its_budget_and_no_more(fleet: Fleet) -> None:
    fleet.query_deadline_ms = 300
    await chain(fleet, 2, 3, 4)
    fleet.agents[4].monitor.answering.clear()
    began_mono_s = time.monotonic()
    reply = await fleet.agents[2].post(type="query sketch", **KEY)
    assert time.monotonic() - began_mono_s < REPLY_S / 2  # when the monitor itself is given up
    assert reply.headers["X-Netsonde-Coverage"] == "2/3; missing=127.0.0.4"
    assert reply.text == "2"
    fleet.agents[4].monitor.answering.set()


@with_fleet
async def test_a_host_that_began_late_is_partial(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    fleet.agents[3].monitor.late_ticks = 50
    reply = await fleet.agents[2].post(type="query sketch", **KEY)
    assert reply.headers["X-Netsonde-Coverage"] == "2/2; partial=127.0.0.3"


@with_fleet
async def test_a_host_that_missed_a_single_tick_is_partial(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    fleet.agents[3].monitor.missed_ticks = 1
    total = await fleet.agents[2].post(type="query sketch", **KEY)
    every = {name: value for name, value in KEY.items() if name != "counter_key"}
    recent = await fleet.agents[2].post(type="query real time counter", **every)
    for reply in (total, recent):
        assert reply.headers["X-Netsonde-Coverage"] == "2/2; partial=127.0.0.3"


@with_fleet
async def test_a_task_of_the_same_id_that_counts_something_else_is_not_merged(
    fleet: Fleet,
) -> None:
    await chain(fleet, 2, 3)
    child = fleet.agents[3].monitor
    child.tasks = tuple(msgspec.structs.replace(t, filter=Filter(proto=6)) for t in child.tasks)
    reply = await fleet.agents[2].post(type="query sketch", **KEY)
    assert (reply.text, reply.headers["X-Netsonde-Coverage"]) == ("1", "1/2; missing=127.0.0.3")


@with_fleet
async def test_loops_and_second_parents_are_refused(fleet: Fleet) -> None:
    await chain(fleet, 2, 3, 4)
    (other,) = await fleet.start(5)
    looped = await fleet.agents[4].post(type="add leaf agent", agent_addr="127.0.0.2")
    assert looped.status_code == 400
    second = await other.post(type="add leaf agent", agent_addr="127.0.0.4")
    assert second.status_code == 400
    assert "leaf agent of 127.0.0.3 already" in second.text
    assert await other.ask("query leaf agents") == "[]"
    await fleet.agents[3].kill()
    await other.until(
        lambda reply: reply.status_code == 200, type="add leaf agent", agent_addr="127.0.0.4"
    )
    assert [t.id for t in fleet.agents[4].monitor.tasks] == []


@with_fleet
async def test_adding_a_leaf_agent_twice_changes_nothing(fleet: Fleet) -> None:
    await chain(fleet, 2, 3)
    await fleet.agents[2].ask("add leaf agent", agent_addr="127.0.0.3")
    assert await fleet.agents[2].ask("query leaf agents") == '["127.0.0.3"]'
    assert await fleet.agents[2].ask("query sketch", **KEY) == "2"


@with_fleet
async def test_strangers_cannot_ask_adopt_in_a_false_name_or_send_too_much(fleet: Fleet) -> None:
    await chain(fleet, 2)
    question = fleet.agents[2].monitor.asked

    async def send(*messages: peer.Message, raw: bytes = b"") -> list[peer.Message]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.2", fleet.peer_port, local_addr=("127.0.0.7", 0)
        )
        writer.write(b"".join(peer.MESSAGES.encode(m) for m in messages) + raw)
        replies = []
        try:
            for _ in range(2):
                size = peer.MESSAGES.body_bytes(await reader.readexactly(HEADER.size))
                replies.append(peer.MESSAGES.decode(await reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        return replies

    hello = peer.Hello(software="x", address="127.0.0.7")
    forged = await send(peer.Hello(software="x", address="127.0.0.8"))
    assert isinstance(forged[1], peer.Refused)
    old = await send(peer.Hello(software="x", address="127.0.0.7", schema=9))
    assert isinstance(old[1], peer.Refused)
    assert "schema 9" in old[1].reason
    adopt = peer.Adopt(id=5, path=("127.0.0.8",), tasks=(), budget_ms=100)
    refused = await send(hello, adopt)
    assert isinstance(refused[1], peer.Refused)
    assert refused[1].id == 5
    assert len(await send(hello, raw=b"\xff\xff\xff\x7f")) == 1
    assert len(await send(hello, raw=HEADER.pack(1 << 21))) == 1
    assert len(await send(hello, raw=HEADER.pack(3) + b"abc")) == 1
    assert question == []
    assert await fleet.agents[2].ask("query sketch", **KEY) == "1"
