"""`/v1/questions`: every kind of question asked of a network, and what is refused."""

import asyncio
import json
import threading

import msgspec
import pytest
from fleet import POLL_S, Agent, Fleet, with_fleet

from netsonde.agent import questions
from netsonde.model.answer import Answer
from netsonde.model.coverage import Refusal
from netsonde.model.errors import BadField
from netsonde.model.task import Increment
from netsonde.model.window import Window
from netsonde.sketch.answers import answered
from netsonde.wire import monitor

TABLE = {"127.0.0.9": 2, "127.0.0.8": 6}


async def network(fleet: Fleet) -> Agent:
    """Root 2 over 3 over 4, each with the same traffic."""
    agents = await fleet.start(2, 3, 4)
    for agent in agents:
        agent.monitor.tables = {"src": dict(TABLE)}
        agent.monitor.totals = (8, 800)
    await agents[0].ask("add leaf agent", agent_addr="127.0.0.3")
    await agents[1].ask("add leaf agent", agent_addr="127.0.0.4")
    return agents[0]


async def asked(agent: Agent, **question: object) -> Answer:
    reply = await agent.client.post("/v1/questions", json=question)
    assert reply.status_code == 200, reply.text
    return msgspec.json.decode(reply.content, type=Answer)


@with_fleet
async def test_every_kind_of_question_has_its_answer(fleet: Fleet) -> None:
    root = await network(fleet)
    count = await asked(root, ask="count")
    assert (count.count.estimate, count.certificate.exact) == (24, True)
    assert (await asked(root, ask="count", by="src", key="127.0.0.9")).count.estimate == 6
    octets = await asked(root, ask="count", increment="bytes", filter={"proto": "tcp"})
    assert octets.count.estimate == 2400
    top = await asked(root, ask="top", by="src", k=1)
    assert [(row.key, row.count.estimate) for row in top.rows] == [("127.0.0.8", 18)]
    keys = await asked(root, ask="keys", by="src", limit=1)
    assert ([row.key for row in keys.rows], keys.next) == (["127.0.0.8"], "127.0.0.8")
    rest = await asked(root, ask="keys", by="src", after=keys.next)
    assert ([row.key for row in rest.rows], rest.next) == (["127.0.0.9"], None)
    assert (await asked(root, ask="distinct", by="src")).distinct.estimate == 2
    spread = await asked(root, ask="distribution", by="src")
    assert (spread.keys.estimate, spread.total.estimate) == (2, 24)
    assert (await asked(root, ask="spreaders")).rows[0].key == "127.0.0.8"
    change = await asked(root, ask="change", by="src")
    assert change.total.change.estimate == 0
    series = await asked(root, ask="series", window="last 3s", step="1s")
    assert [point.count.estimate for point in series.points] == [24, 24, 24]


@with_fleet
async def test_the_certificate_names_hosts_hooks_and_clocks(fleet: Fleet) -> None:
    root = await network(fleet)
    certificate = (await asked(root, ask="count")).certificate
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    assert certificate.evidence.hooks == {"tables": hosts}
    assert certificate.evidence.packets == 24
    assert (certificate.coverage.asked, certificate.coverage.answered) == (3, 3)
    assert set(certificate.evidence.skew_ms) == {"127.0.0.3", "127.0.0.4"}
    for offset_ms, error_ms in certificate.evidence.skew_ms.values():
        assert abs(offset_ms) <= error_ms  # one machine, one clock
    await fleet.agents[4].kill()
    certificate = (await asked(root, ask="count")).certificate
    assert list(certificate.coverage.missing) == ["127.0.0.4"]
    assert "127.0.0.4" not in str(certificate.evidence)
    one = (await asked(root, ask="count", scope="host")).certificate
    assert (one.coverage.asked, one.evidence.hooks) == (1, {"tables": ("127.0.0.2",)})


@with_fleet
async def test_a_task_is_asked_by_its_id(fleet: Fleet) -> None:
    root = await network(fleet)
    spec = {"filter": {"proto": "tcp"}, "counters": [{"by": "src", "increment": "bytes"}]}
    await root.client.post("/v1/tasks", json=spec)
    top = await asked(root, ask="top", task=0, by="src", increment="bytes")
    assert top.certificate.task == 0
    assert top.certificate.filter.proto == "tcp"
    question = root.monitor.asked[-1]
    assert (question.series, question.task_id, question.window.kind) == ("sketch", 0, "total")
    await asked(root, ask="top", task=0, by="dport", window="last 30s")
    question = fleet.agents[4].monitor.asked[-1]
    assert (question.series, question.key_type) == (None, "dport")
    assert (question.filter.proto, question.increment) == (6, Increment.PACKETS)
    assert question.window == Window.last(300)


REFUSED = [
    ({}, 400, "ask", "count, top"),
    ({"ask": "who"}, 400, "ask", "spreaders"),
    ({"ask": "top"}, 400, "by", "increment"),
    ({"ask": "top", "by": "srcs"}, 400, "by", "src_dport"),
    ({"ask": "top", "by": "src", "k": 0}, 400, "k", "a whole number, 1 to 1000"),
    ({"ask": "top", "by": "src", "k": "9"}, 400, "k", "a whole number"),
    ({"ask": "top", "by": "src", "share": 1.5}, 400, "share", "a number, 0 to 1"),
    ({"ask": "top", "by": "src", "window": "yesterday"}, 400, "window", "last 30s"),
    ({"ask": "count", "window": "2900-01-01T00:00Z/2900-01-01T01:00Z"}, 400, "window", "before"),
    ({"ask": "count", "window": "2200-01-01T00:00Z/2200-01-01T01:00Z"}, 400, "window", "begun"),
    ({"ask": "count", "window": "total"}, 400, "window", "task"),
    ({"ask": "count", "task": 7}, 404, None, None),
    ({"ask": "count", "filter": {"src": "10.0.0.300"}}, 400, "src", "address"),
    ({"ask": "count", "filter": {"src": "10.0.0.1", "dst": "fd00::1"}}, 400, "dst", "same family"),
    ({"ask": "spreaders", "by": "src", "of": "src_dst"}, 400, "of", "not in by"),
    ({"ask": "series", "step": "1m"}, 400, "step", "100ms, 10s, 1s"),
    ({"ask": "series", "step": "100ms", "window": "last 24h"}, 400, "window", "whole steps"),
    ({"ask": "count", "scope": "world"}, 400, "scope", "host, subtree"),
]


@with_fleet
async def test_what_cannot_be_answered_is_refused_with_the_limits(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for question, status, field, allowed in REFUSED:
        reply = await agent.client.post("/v1/questions", json=question)
        said = reply.json()
        assert reply.status_code == status, said
        assert said.get("field") == field, said
        assert allowed is None or allowed in said["allowed"], said
    assert agent.monitor.asked == []


@with_fleet
async def test_without_anybody_who_answers_it_says_why(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2, monitored=False)
    reply = await agent.client.post("/v1/questions", json={"ask": "change", "by": "src"})
    assert (reply.status_code, reply.json()["title"]) == (503, "Service Unavailable")
    assert "127.0.0.2 (monitor away" in reply.json()["detail"]


def busy(retry_after_s: float) -> monitor.Failed:
    """What a monitor says whose answers have used up their share."""
    return monitor.Failed(kind="Busy", reason="answers wait", retry_after_s=retry_after_s)


@with_fleet
async def test_where_all_are_busy_it_says_when_to_come_again(fleet: Fleet) -> None:
    root = await network(fleet)
    by_src = {"sketch_id": 0, "counter_key_type": "src"}
    await root.ask("config sketch")
    await root.ask("config sketch counter", **by_src)
    root.monitor.refusal, fleet.agents[3].monitor.refusal = busy(30), busy(20)
    fleet.agents[4].monitor.refusal = busy(6.5)
    for question in ({"ask": "count"}, {"ask": "change", "by": "src"}, {"ask": "count", "task": 0}):
        reply = await root.client.post("/v1/questions", json=question)
        assert (reply.status_code, reply.headers.get("Retry-After")) == (503, "7"), reply.text
        assert "127.0.0.4 (answers wait)" in reply.json()["detail"]
    reply = await root.post(type="query sketch", **by_src, counter_key="127.0.0.9")
    assert (reply.status_code, reply.headers.get("Retry-After")) == (503, "7")
    alone = await root.client.post("/v1/questions", json={"ask": "count", "scope": "host"})
    assert (alone.status_code, alone.headers.get("Retry-After")) == (503, "30")


@with_fleet
async def test_who_is_busy_is_missing_from_the_others_answer(fleet: Fleet) -> None:
    root = await network(fleet)
    fleet.agents[4].monitor.refusal = busy(7)
    certificate = (await asked(root, ask="count")).certificate
    assert certificate.coverage.missing == {"127.0.0.4": "answers wait"}


def before(begins: str) -> monitor.Failed:
    """What a monitor says of a window before its recorder."""
    error = BadField("window", "last 3600s", f"a range of the past, from {begins} to now")
    return monitor.Failed(kind="BadField", reason=str(error), refusal=Refusal.of(error))


@with_fleet
async def test_a_window_that_every_host_refuses_is_a_bad_field(fleet: Fleet) -> None:
    root = await network(fleet)
    for number, agent in fleet.agents.items():
        agent.monitor.refusal = before(f"12:0{9 - number}")
    for ask, field, value in (
        ({"ask": "count", "window": "last 1h"}, "window", "last 1h"),
        ({"ask": "change", "by": "src", "window": "last 1h"}, "window", "last 1h"),
        ({"ask": "count"}, "window", "last 3600s"),  # a default, as the hosts name it
    ):
        reply = await root.client.post("/v1/questions", json=ask)
        said = reply.json()
        assert reply.status_code == 400, said
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert (said["field"], said["value"]) == (field, value)
        # The farthest that anybody reaches.
        assert said["allowed"] == (
            "a range of the past, from 12:05 to now (127.0.0.4; none of 3 hosts allows more)"
        )
    fleet.agents[3].monitor.refusal = fleet.agents[4].monitor.refusal = before("12:07")
    reply = await root.client.post("/v1/questions", json={"ask": "count", "window": "last 1h"})
    assert reply.json()["allowed"] == "a range of the past, from 12:07 to now"


@with_fleet
async def test_where_some_refuse_the_others_answer_and_it_says_who_did_not(fleet: Fleet) -> None:
    root = await network(fleet)
    fleet.agents[4].monitor.refusal = refusal = before("12:05")
    covered = (await asked(root, ask="count", window="last 1h")).certificate.coverage
    assert (covered.asked, covered.answered) == (3, 2)
    assert covered.missing == {"127.0.0.4": refusal.reason}


@with_fleet
async def test_hosts_that_are_away_do_not_refuse(fleet: Fleet) -> None:
    root = await network(fleet)
    root.monitor.refusal = fleet.agents[3].monitor.refusal = before("12:05")
    await fleet.agents[4].monitor.stop()
    reply = await root.client.post("/v1/questions", json={"ask": "count", "window": "last 1h"})
    assert (reply.status_code, reply.json().get("field")) == (503, None)
    assert "127.0.0.4 (monitor away" in reply.json()["detail"]


@with_fleet
async def test_a_field_that_only_agents_know_is_not_the_managers(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    error = BadField("step_ticks", 7, "0, 1, 10 or 100")
    agent.monitor.refusal = monitor.Failed(
        kind="BadField", reason=str(error), refusal=Refusal.of(error)
    )
    reply = await agent.client.post("/v1/questions", json={"ask": "count"})
    assert (reply.status_code, reply.json().get("field")) == (503, None)
    assert "step_ticks" in reply.json()["detail"]


@with_fleet
async def test_a_stream_asks_again_and_again(fleet: Fleet) -> None:
    root = await network(fleet)
    query = {"q": json.dumps({"ask": "count"}), "every": "100ms"}
    counts, said = [], set()
    async with root.client.stream("GET", "/v1/questions/stream", params=query) as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        async for line in reply.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                said.add(value)
            elif name == "data" and "count" in value:
                counts.append(json.loads(value)["count"]["estimate"])
                root.monitor.totals = (1, 1)
            if len(counts) == 3:
                break
    assert counts == [24, 17, 17]
    assert said <= {"answer", "dropped"}
    asked_so_often = len(root.monitor.asked)
    async with asyncio.timeout(10):
        while asked_so_often != (asked_so_often := len(root.monitor.asked)):
            await asyncio.sleep(0.3)


@with_fleet
async def test_a_stream_goes_on_when_the_monitor_is_back(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    query = {"q": '{"ask": "count"}', "every": "100ms"}
    seen: list[str] = []
    async with agent.client.stream("GET", "/v1/questions/stream", params=query) as reply:
        async for line in reply.aiter_lines():
            name, _, value = line.partition(": ")
            if name != "event" or value == (seen[-1:] or [""])[0]:
                continue
            seen.append(value)
            if seen == ["answer"]:
                await agent.monitor.stop()
            elif seen == ["answer", "problem"]:
                await agent.monitor.start()
            elif value == "answer":
                break
    assert seen[:2] == ["answer", "problem"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "q"),
        ({"q": "{"}, "body"),
        ({"q": '{"ask": "top"}'}, "by"),
        ({"q": '{"ask": "count"}', "every": "1ms"}, "every"),
        ({"q": '{"ask": "count"}', "every": "61s"}, "every"),
        ({"q": '{"ask": "count", "window": "x"}'}, "window"),
    ],
)
def test_a_bad_stream_is_refused_before_it_begins(query, field: str, tmp_path) -> None:
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        reply = await agent.client.get("/v1/questions/stream", params=query)
        assert (reply.status_code, reply.json()["field"]) == (400, field)
        await asyncio.sleep(POLL_S)
        assert agent.monitor.asked == []

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]


def test_an_answer_of_many_keys_is_made_beside_the_event_loop(tmp_path, monkeypatch) -> None:
    made_in = []

    def noted(*arguments):
        made_in.append(threading.current_thread() is threading.main_thread())
        return answered(*arguments)

    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        agent.monitor.tables = {"src": dict(TABLE)}
        few = await asked(agent, ask="keys", by="src")
        monkeypatch.setattr(questions, "MOST_KEYS_AT_ONCE", 1)
        many = await asked(agent, ask="keys", by="src")
        assert made_in == [True, False]
        assert few.rows == many.rows

    monkeypatch.setattr(questions, "answered", noted)
    with_fleet(story)(tmp_path)
