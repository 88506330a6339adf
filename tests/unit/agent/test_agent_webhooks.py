"""Webhooks against a real receiver that takes, refuses, fails and hangs."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from fleet import POLL_S, Agent, Fleet, event, with_fleet

from netsonde.agent import event_ring, webhooks


class Receiver:
    """An HTTP server that answers with the statuses it is given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[dict[str, object]] = []
        self.taking = asyncio.Event()
        self.taking.set()

    async def __aenter__(self) -> "Receiver":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                await self.taking.wait()
                status = self.statuses.pop(0) if self.statuses else 204
                self.bodies += [body] if status == 204 else []
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def now(agent: Agent, number: int, **changes: object) -> object:
    return event(agent.address, number, wall_ns=time.time_ns(), **changes)


async def fares(agent: Agent, holds: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    async with asyncio.timeout(10):
        while True:
            (hook,) = (await agent.client.get("/v1/webhooks")).json()["webhooks"]
            if holds(hook):
                return hook
            await asyncio.sleep(POLL_S)


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of tests are short."""
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_S", 0.01)


@with_fleet
async def test_events_are_sent_in_order_and_only_those_wanted(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    agent.monitor.happen(now(agent, 1))
    async with Receiver() as receiver:
        hook = {"url": receiver.url, "detectors": ["port_scan"]}
        reply = await agent.client.put("/v1/webhooks/mine", json=hook)
        assert reply.json()["webhook"] == hook
        agent.monitor.happen(now(agent, 2), now(agent, 3, detector="other"), now(agent, 4))
        await fares(agent, lambda one: one["delivered"] == 2 and one["waiting"] == 0)
    assert [body["id"][-1] for body in receiver.bodies] == ["2", "4"]


@with_fleet
async def test_a_receiver_that_fails_is_tried_again(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with Receiver(503, 429, 500) as receiver:
        await agent.client.put("/v1/webhooks/mine", json={"url": receiver.url})
        agent.monitor.happen(now(agent, 1))
        hook = await fares(agent, lambda one: one["delivered"] == 1)
    assert (len(receiver.bodies), hook["failed"]) == (1, 0)


@with_fleet
async def test_what_is_refused_or_fails_to_the_end_is_given_up_and_counted(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with Receiver(404, *[500] * webhooks.TRIES) as receiver:
        await agent.client.put("/v1/webhooks/mine", json={"url": receiver.url})
        agent.monitor.happen(now(agent, 1), now(agent, 2), now(agent, 3))
        hook = await fares(agent, lambda one: one["delivered"] == 1)
    assert (hook["failed"], receiver.bodies[0]["id"][-1]) == (2, "3")


@with_fleet
async def test_nobody_there_holds_nobody_up(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with Receiver() as receiver:
        url = receiver.url
    await agent.client.put("/v1/webhooks/mine", json={"url": url})
    agent.monitor.happen(now(agent, 1))
    hook = await fares(agent, lambda one: one["failed"] == 1)
    assert hook["delivered"] == 0


@with_fleet
async def test_a_slow_receiver_misses_the_oldest_and_that_is_counted(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_ring, "MAX_HELD", 50)
        (agent,) = await fleet.start(2)
        async with Receiver() as receiver:
            receiver.taking.clear()
            await agent.client.put("/v1/webhooks/mine", json={"url": receiver.url})
            agent.monitor.happen(*(now(agent, n) for n in range(1, 61)))
            agent.monitor.happen(*(now(agent, n) for n in range(61, 121)))
            await fares(agent, lambda one: one["waiting"] == 50)
            receiver.taking.set()
            hook = await fares(agent, lambda one: one["waiting"] == 0)
    assert hook["dropped"] > 0
    assert hook["delivered"] + hook["dropped"] == 120


@with_fleet
async def test_webhooks_outlive_the_agent_and_end_when_deleted(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    async with Receiver() as receiver:
        await agent.client.put("/v1/webhooks/mine", json={"url": receiver.url})
        await agent.kill()
        await agent.start()
        agent.monitor.happen(now(agent, 1))
        await fares(agent, lambda one: one["delivered"] == 1)
        assert (await agent.client.delete("/v1/webhooks/mine")).status_code == 204
        assert (await agent.client.get("/v1/webhooks")).json() == {"webhooks": []}
        assert (await agent.client.delete("/v1/webhooks/mine")).status_code == 404


@with_fleet
async def test_bad_ones_are_refused(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for spec, field in [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({"url": "http://x:99999999/"}, "url"),
        ({}, "url"),
        ({"url": "http://x", "detectors": ["A"]}, "detectors[0]"),
    ]:
        reply = await agent.client.put("/v1/webhooks/mine", json=spec)
        assert (reply.status_code, reply.json()["field"]) == (400, field), reply.text
    good = {"url": "http://127.0.0.1:9/"}
    for number in range(webhooks.MAX_WEBHOOKS):
        assert (await agent.client.put(f"/v1/webhooks/w{number}", json=good)).status_code == 200
    assert (await agent.client.put("/v1/webhooks/more", json=good)).status_code == 400
