"""Who becomes whose child, and what is left of it: nothing of one's own is lost."""

import asyncio
import os

import pytest
from fleet import POLL_S, Agent, Fleet, with_fleet
from liar import Liar, Stranger, partial

from netsonde.agent import tasks
from netsonde.model.coverage import Coverage
from netsonde.model.detector import Choice, Detector
from netsonde.model.task import Filter, Question, Task
from netsonde.wire import peer

SRC = {"sketch_id": 0, "counter_key_type": "src"}
KEY = {**SRC, "counter_key": "127.0.0.9"}


async def fleet_of(fleet: Fleet, *numbers: int) -> list[Agent]:
    """Start agents that each hold 1 of the same key."""
    agents = await fleet.start(*numbers)
    for agent in agents:
        agent.monitor.tables = {"src": {"127.0.0.9": 1}}
    return agents


def poison(own: str) -> peer.Adopt:
    """Give what would take an agent over: its sketch 0, and its detectors off."""
    off = Detector(name="port_scan", measure="count", by="src", threshold=1 << 50)
    return peer.Adopt(
        id=1,
        path=(own,),
        tasks=(Task(series="sketch", id=0, filter=Filter(src="1.2.3.4/32"), since_tick=1),),
        detectors=(Choice(detector=off, enabled=False),),
        budget_ms=500,
    )


async def enabled(agent: Agent) -> dict[str, bool]:
    body = (await agent.client.get("/v1/detectors")).json()
    return {one["name"]: one["spec"]["enabled"] for one in body["detectors"]}


async def restart(agent: Agent, parent: str) -> None:
    """Start an agent again with another setting."""
    await agent.kill()
    agent.parent = parent
    await agent.start()


@with_fleet
async def test_a_root_by_setting_is_taken_over_by_nobody(fleet: Fleet) -> None:
    """Attack: a stranger's Adopt, with a task of the root's id and a detector switched off."""
    root, leaf = await fleet_of(fleet, 2, 3)
    await restart(root, "none")
    await root.ask("add leaf agent", agent_addr=leaf.address)
    await root.ask("config sketch")
    await root.ask("config sketch counter", **SRC)
    stranger = await Stranger.greets(fleet, root.address, "127.0.0.7")
    refused = await stranger.call(poison("127.0.0.7"))
    assert isinstance(refused, peer.Refused)
    assert "root by its setting" in refused.reason
    asked = await stranger.call(peer.Query(id=2, question=Question(), budget_ms=100))
    assert isinstance(asked, peer.Refused)
    assert await root.ask("query sketch", **KEY) == "2"
    assert all((await enabled(leaf)).values())
    stranger.close()


@with_fleet
async def test_a_branch_is_stolen_by_nobody_while_its_parent_restarts(fleet: Fleet) -> None:
    """Attack: Adopt again and again at a branch whose setting names its parent."""
    root, branch, leaf = await fleet_of(fleet, 2, 3, 4)
    await restart(branch, root.address)
    await root.ask("add leaf agent", agent_addr=branch.address)
    await branch.ask("add leaf agent", agent_addr=leaf.address)
    await root.ask("config sketch")
    await root.ask("config sketch counter", **SRC)
    await root.kill()
    thief = await Stranger.greets(fleet, branch.address, "127.0.0.7")
    for _ in range(75):
        refused = await thief.call(poison("127.0.0.7"))
        assert isinstance(refused, peer.Refused)
    await root.start()
    await root.until(lambda reply: reply.text == "3", type="query sketch", **KEY)
    thief.close()


@with_fleet
async def test_who_was_taken_over_before_is_itself_again_once_its_setting_says_so(
    fleet: Fleet,
) -> None:
    (root,) = await fleet_of(fleet, 2)
    await root.ask("config sketch")
    stranger = await Stranger.greets(fleet, root.address, "127.0.0.7")
    assert isinstance(await stranger.call(poison("127.0.0.7")), peer.Adopted)
    stranger.close()
    assert not (await enabled(root))["port_scan"]
    await restart(root, "none")
    assert (await enabled(root))["port_scan"]
    assert (await root.client.get("/v1/host")).status_code in (200, 503)
    assert [task.id for task in root.monitor.tasks] == [0]


@with_fleet
async def test_own_tasks_stay_and_the_host_is_missing_from_the_parent_s_of_their_ids(
    fleet: Fleet,
) -> None:
    root, former = await fleet_of(fleet, 2, 3)
    await root.ask("config sketch")
    await root.ask("config sketch counter", **SRC)
    await former.ask("config sketch", proto="udp")
    await former.ask("config sketch counter", **SRC)
    reply = await root.post(type="add leaf agent", agent_addr=former.address)
    assert "127.0.0.3 (sketch 0 is another task there; remove one of the two)" in reply.text
    assert [task.filter.proto for task in former.monitor.tasks] == [17]
    asked = await root.post(type="query sketch", **KEY)
    assert (asked.text, asked.headers["X-Netsonde-Coverage"]) == ("1", "1/2; missing=127.0.0.3")
    task = (await root.client.get("/v1/tasks/0")).json()
    assert "another task there" in task["coverage"]["missing"]["127.0.0.3"]
    assert await former.ask("query sketch", **KEY) == "1"
    assert (await former.client.delete("/v1/tasks/0")).status_code == 204
    await root.until(lambda reply: reply.text == "2", type="query sketch", **KEY)
    assert [task.filter.proto for task in former.monitor.tasks] == [None]
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "2/2", type="config sketch"
    )


@with_fleet
async def test_a_task_that_a_host_cannot_run_is_named_when_it_is_configured(fleet: Fleet) -> None:
    root, inner, leaf = await fleet_of(fleet, 2, 3, 4)
    await leaf.ask("config sketch", proto="udp")
    await root.ask("add leaf agent", agent_addr=inner.address)
    await inner.ask("add leaf agent", agent_addr=leaf.address)
    reply = await root.post(type="config sketch")
    assert (reply.text, reply.headers["X-Netsonde-Coverage"]) == ("0", "2/3; missing=127.0.0.4")


@with_fleet
async def test_leaving_the_parent_brings_back_what_was_one_s_own(fleet: Fleet) -> None:
    root, inner, leaf = await fleet_of(fleet, 2, 3, 4)
    await inner.ask("config sketch", proto="udp")
    await root.ask("add leaf agent", agent_addr=inner.address)
    await inner.ask("add leaf agent", agent_addr=leaf.address)
    await root.ask("config sketch")
    await root.ask("config sketch")
    await root.client.put(
        "/v1/detectors/port_scan",
        json={"measure": "count", "by": "src", "threshold": 9, "enabled": False},
    )
    assert [task.id for task in leaf.monitor.tasks] == [0, 1]
    left = await inner.post(type="leave parent")
    assert (left.status_code, left.text) == (200, "no longer a leaf agent of 127.0.0.2")
    assert [task.filter.proto for task in inner.monitor.tasks] == [17]
    assert [task.filter.proto for task in leaf.monitor.tasks] == [17]
    assert (await enabled(leaf))["port_scan"]
    again = await inner.post(type="leave parent")
    assert (again.status_code, "127.0.0.3 has none" in again.text) == (400, True)
    # The former parent tries by itself, is refused, and may be brought back by hand.
    await root.until(lambda reply: "missing" in str(reply.headers), type="query leaf agents")
    await inner.kill()
    await inner.start()
    assert [task.filter.proto for task in inner.monitor.tasks] == [17]
    await root.ask("add leaf agent", agent_addr=inner.address)
    assert [task.id for task in inner.monitor.tasks] == [1, 0]


@with_fleet
async def test_a_leaf_agent_that_is_removed_is_forgotten_with_everyone_below(
    fleet: Fleet,
) -> None:
    root, inner, leaf, last = await fleet_of(fleet, 2, 3, 4, 5)
    for upper, lower in ((root, inner), (inner, leaf), (leaf, last)):
        await upper.ask("add leaf agent", agent_addr=lower.address)
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "4/4", type="query leaf agents"
    )
    await root.ask("config sketch")
    reply = await inner.post(type="remove leaf agent", agent_addr=leaf.address)
    assert (reply.status_code, reply.text) == (200, "127.0.0.4 is no leaf agent any more")
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "2/2", type="query leaf agents"
    )
    assert await inner.ask("query leaf agents") == "[]"
    async with asyncio.timeout(10):
        while leaf.monitor.tasks or last.monitor.tasks:
            await asyncio.sleep(POLL_S)
    for agent in (root, inner):
        await agent.kill()
        await agent.start()
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "2/2", type="query leaf agents"
    )
    gone = await inner.post(type="remove leaf agent", agent_addr=leaf.address)
    assert gone.status_code == 404
    assert "127.0.0.4" in gone.text
    await inner.ask("add leaf agent", agent_addr=leaf.address)
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "4/4", type="query leaf agents"
    )


@with_fleet
async def test_a_leaf_agent_that_is_away_is_removed_all_the_same(fleet: Fleet) -> None:
    root, leaf = await fleet_of(fleet, 2, 3)
    await root.ask("add leaf agent", agent_addr=leaf.address)
    await leaf.kill()
    reply = await root.post(type="remove leaf agent", agent_addr=leaf.address)
    assert "send it 'leave parent'" in reply.text
    assert (await root.post(type="query leaf agents")).headers["X-Netsonde-Coverage"] == "1/1"


@with_fleet
async def test_another_parent_s_tasks_take_the_place_of_the_former_one_s(fleet: Fleet) -> None:
    one, other, leaf = await fleet_of(fleet, 2, 3, 4)
    await one.ask("config sketch", proto="tcp")
    await other.ask("config counter", proto="udp")
    await one.ask("add leaf agent", agent_addr=leaf.address)
    await one.kill()
    await other.until(
        lambda reply: reply.status_code == 200, type="add leaf agent", agent_addr=leaf.address
    )
    assert [(t.series, t.filter.proto) for t in leaf.monitor.tasks] == [("counter", 17)]


@with_fleet
async def test_a_child_whose_subtree_changes_with_every_frame_does_not_hold_up_the_disk(
    fleet: Fleet,
) -> None:
    (root,) = await fleet_of(fleet, 2)
    child = Liar(fleet, 3, lambda query: partial(1, "127.0.0.3"))
    await child.start()
    await root.ask("add leaf agent", agent_addr=child.address)
    with pytest.MonkeyPatch.context() as patch:
        written: list[int] = []
        patch.setattr(os, "fsync", written.append)
        for number in range(2000):
            below = f"10.0.{number >> 8}.{number & 255}"
            news = peer.Adopted(id=0, subtree=(child.address, below), coverage=Coverage(members=()))
            child.tell(news)
        await root.until(
            lambda reply: reply.headers["X-Netsonde-Coverage"].startswith("2002/2002"),
            type="query leaf agents",
        )
        assert len(written) < 200
    child.stop()


@with_fleet
async def test_who_does_not_take_a_task_in_time_is_missing_and_holds_nobody_up(
    fleet: Fleet,
) -> None:
    root, leaf = await fleet_of(fleet, 2, 3)
    await root.ask("add leaf agent", agent_addr=leaf.address)
    leaf.monitor.answering.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "CONFIG_BUDGET_MS", 200)
        reply = await root.post(type="config sketch")
    assert reply.status_code == 200
    assert reply.headers["X-Netsonde-Coverage"] == "1/2; missing=127.0.0.3"
    leaf.monitor.answering.set()
