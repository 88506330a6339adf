"""Webhooks against a real receiver that takes, refuses, fails and hangs."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import pytest
from fleet import POLL_S, Agent, Fleet, event, with_fleet
from receivers import Receiver

from netsonde.agent import event_ring, webhooks


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
        assert reply.json()["signed"] is False
        agent.monitor.happen(now(agent, 2), now(agent, 3, detector="other"), now(agent, 4))
        await fares(agent, lambda one: one["delivered"] == 2 and one["waiting"] == 0)
    assert [body["id"].split("-")[2] for body in receiver.bodies] == ["2", "4"]


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
    assert (hook["failed"], receiver.bodies[0]["id"].split("-")[2]) == (2, "3")


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
        ({"url": "http://x:0/"}, "url"),
        ({"url": "http://b\u00fccher.example/"}, "url"),
        ({"url": "http://xn--/", "secret": "short"}, "secret"),
        ({"url": "http://x", "secret": "a secret with spaces"}, "secret"),
        ({"url": "http://x", "secret": "x" * 201}, "secret"),
        ({}, "url"),
        ({"url": "http://x", "detectors": ["A"]}, "detectors[0]"),
    ]:
        reply = await agent.client.put("/v1/webhooks/mine", json=spec)
        assert (reply.status_code, reply.json()["field"]) == (400, field), reply.text
    good = {"url": "http://127.0.0.1:9/"}
    for number in range(webhooks.MAX_WEBHOOKS):
        assert (await agent.client.put(f"/v1/webhooks/w{number}", json=good)).status_code == 200
    assert (await agent.client.put("/v1/webhooks/more", json=good)).status_code == 400


@with_fleet
async def test_places_that_are_this_hosts_own_are_refused_by_name(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for url in (
        "http://[::1]:7777/admin",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1%25eth0]:8080/",
        "http://0.0.0.0:8001/",
        "http://[64:ff9b::a9fe:a9fe]/",
    ):
        reply = await agent.client.put("/v1/webhooks/mine", json={"url": url})
        problem = reply.json()
        assert (reply.status_code, problem["field"], problem["value"]) == (400, "url", url)
        assert "the setting 'webhook_allow' may name it" in problem["allowed"]
    assert (await agent.client.get("/v1/webhooks")).json() == {"webhooks": []}


@with_fleet
async def test_passwords_are_refused_and_those_of_before_are_used_and_never_listed(
    fleet: Fleet,
) -> None:
    (agent,) = await fleet.start(2)
    async with Receiver() as receiver:
        place = receiver.url.removeprefix("http://")
        refused = await agent.client.put(
            "/v1/webhooks/mine", json={"url": f"http://me:pa55@{place}"}
        )
        assert (refused.status_code, refused.json()["field"]) == (400, "url")
        assert "pa55" not in refused.text
        await agent.kill()
        old = {"schema": 1, "webhooks": {"mine": {"url": f"http://me:pa%355@{place}"}}}
        (agent.directory / "agent.json").write_text(json.dumps(old))
        await agent.start()
        agent.monitor.happen(now(agent, 1))
        await fares(agent, lambda one: one["delivered"] == 1)
        assert receiver.heads[0]["authorization"] == "Basic bWU6cGE1NQ=="
        listed = (await agent.client.get("/v1/webhooks")).json()["webhooks"][0]["webhook"]
        assert listed["url"] == f"http://***@{place}"


@with_fleet
async def test_what_is_sent_is_signed_by_a_secret_that_nobody_reads(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    secret = "0123456789abcdef"
    async with Receiver() as receiver:
        hook = {"url": receiver.url, "secret": secret}
        replies = [await agent.client.put("/v1/webhooks/mine", json=hook)]
        agent.monitor.happen(now(agent, 1))
        await fares(agent, lambda one: one["delivered"] == 1)
        # One without a secret keeps it, over a restart too, and an empty one takes it away.
        del hook["secret"]
        replies.append(await agent.client.put("/v1/webhooks/mine", json=hook))
        await agent.kill()
        await agent.start()
        agent.monitor.happen(now(agent, 2))
        await fares(agent, lambda one: one["delivered"] == 1)
        replies.append(await agent.client.get("/v1/webhooks"))
        assert all(secret not in reply.text for reply in replies)
        assert all('"signed":true' in reply.text for reply in replies)
        await agent.client.put("/v1/webhooks/mine", json={**hook, "secret": ""})
        agent.monitor.happen(now(agent, 3))
        await fares(agent, lambda one: one["delivered"] == 1 and not one["signed"])
    for head, body in zip(receiver.heads[:2], receiver.raw[:2], strict=True):
        seconds, signed = head["x-netsonde-signature"].removeprefix("t=").split(",v1=")
        expected = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
        assert hmac.compare_digest(signed, expected.hexdigest())
        assert abs(time.time() - int(seconds)) < 60
    assert "x-netsonde-signature" not in receiver.heads[2]


@with_fleet
async def test_an_agent_outlives_any_webhook_that_its_state_may_hold(fleet: Fleet) -> None:
    """What older versions took, and died of at the next event and at every start."""
    (agent,) = await fleet.start(2)
    await agent.kill()
    urls = [
        "http://[fe80::1%25..]:80/",
        f"http://[fe80::1%{'z' * 64}]:80/",
        "http://[fe80::1%25eth0]:8080/",
        "http://b\u00fccher.example/",
        "http://xn--/",
        "http://127.0.0.1:0/",
        "http://[/",
        "https://127.0.0.1:1/",
        "http://\ud83d\ude00@[::1]:9/",
    ]
    known = {f"w{number}": {"url": url} for number, url in enumerate(urls)}
    (agent.directory / "agent.json").write_text(json.dumps({"schema": 1, "webhooks": known}))
    await agent.start()
    agent.monitor.happen(now(agent, 1))
    async with asyncio.timeout(20):
        while True:
            listed = (await agent.client.get("/v1/webhooks")).json()["webhooks"]
            if all(hook["failed"] == 1 for hook in listed):
                break
            await asyncio.sleep(POLL_S)
    assert len(listed) == len(urls)
