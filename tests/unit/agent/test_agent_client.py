"""The public client, and the command over it, against whole agents."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from fleet import Agent, Fleet, event, id_of, with_fleet

from netsonde.client import AsyncClient, Changed, NoSuch, WrongField, task_spec
from netsonde.model.asked import FilterText
from netsonde.model.resource import DetectorSpec

NETSONDE = Path(sys.executable).parent / "netsonde"


def client_of(agent: Agent) -> AsyncClient:
    return AsyncClient(str(agent.client.base_url))


async def command(agent: Agent, *argv: str) -> tuple[int | None, str, str]:
    """Run `netsonde` as a user would; gives its status, stdout and stderr."""
    done = await asyncio.create_subprocess_exec(
        NETSONDE,
        *argv,
        "--url",
        str(agent.client.base_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await done.communicate()
    return done.returncode, printed.decode(), said.decode()


@with_fleet
async def test_tasks_are_added_replaced_under_their_etag_and_removed(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with client_of(agent) as client:
        added = await client.tasks.add(["src", "src_dst:bytes"], proto="tcp", dport="80,443")
        assert added.filter == FilterText(proto="tcp", dport="80,443")
        assert await client.tasks.list() == (await client.tasks.get(added.id),)
        changed = await client.tasks.replace(added.id, task_spec(["dst"]), etag=added.etag)
        assert [counter.by for counter in changed.counters] == ["dst"]
        with pytest.raises(Changed):
            await client.tasks.replace(added.id, task_spec(["src"]), etag=added.etag)
        await client.tasks.remove(added.id, etag=changed.etag)
        with pytest.raises(NoSuch):
            await client.tasks.get(added.id)


@with_fleet
async def test_a_refusal_names_the_field(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with client_of(agent) as client:
        with pytest.raises(WrongField) as raised:
            await client.top("scr")
        assert (raised.value.field, raised.value.value) == ("by", "scr")
        assert "src" in (raised.value.allowed or "")
        with pytest.raises(WrongField, match="'k'"):
            await client.top("src", k=5000)


@with_fleet
async def test_a_task_is_asked_about(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.tables["src"] = {"10.0.0.6": 90, "10.0.0.9": 10}
    async with client_of(agent) as client:
        task = await client.tasks.add(["src"])
        top = await client.top("src", task=task.id)
    assert [(row.key, row.count.estimate) for row in top.rows] == [
        ("10.0.0.6", 90),
        ("10.0.0.9", 10),
    ]
    status, printed, said = await command(agent, "ask", "top", "src", "--task", str(task.id))
    assert printed.splitlines()[1].split()[:2] == ["10.0.0.6", "90"], said
    assert status == 0, said


@with_fleet
async def test_events_are_followed_and_listed(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.happen(event(agent.address, 1))
    async with client_of(agent) as client:
        async with asyncio.timeout(10):
            while not (await client.past_events()).events:
                await asyncio.sleep(0.01)
        first = (await client.past_events()).events[0].id
        agent.monitor.happen(event(agent.address, 2))
        async for said in client.events(after=first):
            assert said.id == id_of(agent.address, 2)
            break
    status, printed, _ = await command(agent, "events", "--json")
    assert status == 0
    assert [json.loads(line)["id"].split("-")[2] for line in printed.splitlines()] == ["1", "2"]


@with_fleet
async def test_detectors_and_webhooks_are_set_and_removed(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with client_of(agent) as client:
        spec = DetectorSpec(measure="count", by="src", threshold=1000, window="1s")
        made = await client.detectors.set("loud", spec)
        assert (made.name, made.builtin, made.spec.threshold) == ("loud", False, 1000)
        assert "loud" in [body.name for body in await client.detectors.list()]
        await client.detectors.remove("loud")
        with pytest.raises(NoSuch):
            await client.detectors.remove("loud")
        hook = await client.webhooks.set("pager", "http://127.0.0.1:1/", detectors=["port_scan"])
        assert await client.webhooks.list() == (hook,)
        await client.webhooks.remove("pager")
    status, printed, said = await command(agent, "detector", "list")
    assert status == 0, said
    assert "port_scan" in printed


@with_fleet
async def test_who_is_there(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with client_of(agent) as client:
        assert (await client.members()).answered == 1
