"""An exception that nobody foresaw ends one answer, one stream or one connection, and says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fleet import POLL_S, Agent, Fleet, event, with_fleet
from prometheus_client.parser import text_string_to_metric_families
from test_agent_metrics import STATUS

from netsonde.agent import metrics, monitor_link
from netsonde.agent.event_flow import EventFlow
from netsonde.agent.event_ring import EventRing
from netsonde.agent.http import tasks
from netsonde.agent.monitor_link import MonitorLink
from netsonde.agent.paths import Paths
from netsonde.overlay.tree import Tree
from netsonde.probe import echo
from netsonde.wire import peer
from netsonde.wire.frame import HEADER

SENTENCE = "this failed inside netsonde (Odd); its log says more"


class Odd(Exception):
    """Nobody foresees this one."""


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scrape is made anew."""
    monkeypatch.setattr(metrics, "SHARED_S", 0.0)


def failing(monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> Callable[[], None]:
    """Let a method raise from now on; gives what mends it."""
    whole = getattr(where, name)

    def fail(*_: Any, **__: Any) -> Any:
        raise Odd

    monkeypatch.setattr(where, name, fail)
    return lambda: monkeypatch.setattr(where, name, whole)


async def failures(agent: Agent) -> dict[tuple[str, str], float]:
    """Tell what failed in an agent so far."""
    agent.monitor.status = STATUS
    text = (await agent.client.get("/metrics")).text
    return {
        (sample.labels["part"], sample.labels["type"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "netsonde_failures_total"
    }


async def family(fleet: Fleet) -> tuple[Agent, Agent]:
    """Start a root over one child."""
    root, child = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr=child.address)
    return root, child


def test_a_request_is_answered_500_with_a_sentence(tmp_path, monkeypatch) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        for where, name in ((tasks.Tasks, "all"), (tasks.Tasks, "add")):
            failing(monkeypatch, where, name)
        message = await agent.post(type="config sketch")
        assert (message.status_code, message.text) == (500, SENTENCE)
        listed = await agent.client.get("/v1/tasks")
        assert (listed.status_code, listed.json()["detail"]) == (500, SENTENCE)
        assert await failures(agent) == {("answer", "Odd"): 2}
        assert (await agent.client.get("/v1/detectors")).status_code == 200

    story(tmp_path)


def test_a_member_that_fails_is_missing_and_says_why(tmp_path, monkeypatch) -> None:
    ask = MonitorLink.ask

    async def fail_below(link: MonitorLink, *question: Any) -> Any:
        if link._hello.host == "127.0.0.3":
            raise Odd
        return await ask(link, *question)

    monkeypatch.setattr(MonitorLink, "ask", fail_below)

    @with_fleet
    async def story(fleet: Fleet) -> None:
        fleet.query_deadline_ms = 10_000
        root, child = await family(fleet)
        reply = await root.client.post("/v1/questions", json={"ask": "count"})
        assert reply.status_code == 200, reply.text
        missing = reply.json()["certificate"]["coverage"]["missing"]
        assert missing == {child.address: SENTENCE}
        assert await failures(root) == {}
        assert await failures(child) == {("answer", "Odd"): 1}

    story(tmp_path)


def test_a_request_between_agents_is_refused_and_the_connection_lives(
    tmp_path, monkeypatch
) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        mend = failing(monkeypatch, Paths, "handle")
        reader, writer = await asyncio.open_connection(
            agent.address, fleet.peer_port, local_addr=("127.0.0.7", 0)
        )

        async def reply() -> peer.Message:
            size = peer.MESSAGES.body_bytes(await reader.readexactly(HEADER.size))
            return peer.MESSAGES.decode(await reader.readexactly(size))

        assert isinstance(await reply(), peer.Hello)
        opening = peer.ProbeOpen(id=7, kind="echo", max_ms=100, max_bytes=1000)
        for message in (peer.Hello(software="x", address="127.0.0.7"), opening):
            writer.write(peer.MESSAGES.encode(message))
        refused = await reply()
        assert isinstance(refused, peer.Refused)
        assert (refused.id, refused.kind, refused.reason) == (7, "Unforeseen", SENTENCE)
        mend()
        writer.write(peer.MESSAGES.encode(opening))
        assert isinstance(await reply(), peer.ProbeOpened)
        writer.close()
        assert await failures(agent) == {("answer", "Odd"): 1}

    story(tmp_path)


@pytest.mark.parametrize(("where", "name"), [(Tree, "learn"), (EventFlow, "take_from_child")])
def test_news_that_cannot_be_taken_cost_that_connection_alone(
    where: type, name: str, tmp_path, monkeypatch
) -> None:
    whole, broken = getattr(where, name), asyncio.Event()

    def take(self: Any, *given: Any) -> Any:
        if broken.is_set() and getattr(self, "own", "") + getattr(self, "_own", "") == "127.0.0.2":
            raise Odd
        return whole(self, *given)

    monkeypatch.setattr(where, name, take)

    @with_fleet
    async def story(fleet: Fleet) -> None:
        root, child = await family(fleet)
        (late,) = await fleet.start(4)
        broken.set()
        child.monitor.happen(event(child.address, 1))
        await child.ask("add leaf agent", agent_addr=late.address)
        async with asyncio.timeout(10):
            while not (await failures(root)).get(("child", "Odd")):
                await asyncio.sleep(POLL_S)
        broken.clear()
        await root.until(
            lambda reply: reply.headers["X-Netsonde-Coverage"] == "3/3", type="query leaf agents"
        )
        async with asyncio.timeout(10):
            while not (await root.client.get("/v1/events")).json()["events"]:
                await asyncio.sleep(POLL_S)

    story(tmp_path)


@pytest.mark.parametrize(
    ("where", "name", "status"), [(echo.Reflector, "handle", 502), (echo.Exchange, "reply", 500)]
)
def test_a_probe_that_fails_at_either_end_fails_once(
    where: type, name: str, status: int, tmp_path, monkeypatch
) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        fleet.probe_max_ms = 100
        root, child = await fleet.start(2, 3)
        path = {"src": root.address, "dst": child.address}
        mend = failing(monkeypatch, where, name)
        assert (await root.post(type="query delay", **path)).status_code == status
        mend()
        assert (await root.post(type="query delay", **path)).status_code == 200
        failed = await failures(root)
        failed.update(await failures(child))
        assert list(failed.values()) == [1]

    story(tmp_path)


def test_a_stream_ends_with_a_problem_and_the_others_go_on(tmp_path, monkeypatch) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        params = {"q": '{"ask": "count"}', "every": "100ms"}
        asking = agent.client.stream("GET", "/v1/questions/stream", params=params)
        following = agent.client.stream("GET", "/v1/events/stream")
        async with asking as questions, following as events:
            answered, told = questions.aiter_lines(), events.aiter_lines()
            assert await anext(told) == ": netsonde"
            mend = failing(monkeypatch, EventRing, "after")
            agent.monitor.happen(event(agent.address, 1))
            said = [line async for line in told]
            assert "event: problem" in said
            assert any(SENTENCE in line for line in said)
            mend()
            for _ in range(2):
                while await anext(answered) != "event: answer":
                    pass
        assert (await failures(agent))[("stream", "Odd")] == 1

    story(tmp_path)


def test_a_family_that_cannot_be_written_is_left_out_and_counted(tmp_path, monkeypatch) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        agent.monitor.status = STATUS
        whole = (await agent.client.get("/metrics")).text
        monkeypatch.setattr(metrics.Served, "open_streams", None, raising=False)
        monkeypatch.setattr(metrics.Webhooks, "all", lambda _: [None])
        cut = (await agent.client.get("/metrics")).text
        names = [
            {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
            for text in (whole, cut)
        ]
        assert names[0] - names[1] == {"netsonde_webhook_events_total", "netsonde_http_streams"}
        failed = await failures(agent)
        assert failed == {("scrape", "AttributeError"): 2, ("scrape", "TypeError"): 2}

    story(tmp_path)


def test_what_the_monitor_sends_and_nobody_foresaw_costs_that_link_alone(
    tmp_path, monkeypatch
) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        mend = failing(monkeypatch, monitor_link._Session, "_take")
        reply = await agent.post(type="config counter")
        assert (reply.status_code, SENTENCE in reply.text) == (503, True), reply.text
        mend()
        await agent.until(lambda reply: reply.status_code == 200, type="config counter")
        failed = await failures(agent)
        assert failed.keys() == {("monitor", "Odd")}

    story(tmp_path)
