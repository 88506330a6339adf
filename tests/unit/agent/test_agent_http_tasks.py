"""`/v1/tasks` over HTTP: what a client sees, what hosts then run, and every refusal."""

import pytest
from fleet import Fleet, with_fleet

from netsonde.model.task import Filter, Increment, Interface

WEB = {
    "filter": {"interface": "both", "proto": "tcp", "dport": [443, "8000-8010"]},
    "counters": [{"by": "src", "increment": "bytes"}, {"by": "src/24_dport"}],
}


async def network(fleet: Fleet):
    """Root 2 over 3."""
    root, leaf = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr="127.0.0.3")
    return root, leaf


@with_fleet
async def test_a_task_is_added_everywhere_and_listed(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    reply = await root.client.post("/v1/tasks", json=WEB)
    assert reply.status_code == 201
    assert reply.headers["Location"] == "/v1/tasks/0"
    body = reply.json()
    assert body["filter"]["dport"] == "443,8000-8010"
    assert [c["by"] for c in body["counters"]] == ["src", "src/24_dport"]
    assert (body["scope"], body["coverage"]) == (
        "subtree",
        {"asked": 2, "answered": 2, "missing": {}, "partial": {}},
    )
    assert reply.headers["ETag"] == f'"{body["etag"]}"'
    (task,) = leaf.monitor.tasks
    assert task.filter == Filter(interface=Interface.BOTH, proto=6, dport="443,8000-8010")
    assert task.counters[0].increment is Increment.BYTES
    assert (await root.client.get("/v1/tasks")).json() == {"tasks": [body]}
    shown = await leaf.client.get("/v1/tasks/0")
    assert (shown.status_code, shown.headers["ETag"]) == (200, reply.headers["ETag"])


@with_fleet
async def test_messages_and_v1_speak_of_the_same_tasks(fleet: Fleet) -> None:
    root, _ = await network(fleet)
    assert await root.ask("config sketch", proto="icmp") == "0"
    await root.ask("config sketch counter", sketch_id=0, counter_key_type="src")
    (task,) = (await root.client.get("/v1/tasks")).json()["tasks"]
    assert (task["filter"]["proto"], task["counters"][0]["by"]) == ("icmp", "src")
    added = await root.client.post("/v1/tasks", json={"counters": [{"by": "dst"}]})
    assert added.json()["id"] == 1
    root.monitor.tables = {"dst": {"127.0.0.9": 4}}
    hitters = await root.ask("query heavy hitters", sketch_id=1, counter_key_type="dst")
    assert hitters == '{"127.0.0.9": 4}'


@with_fleet
async def test_a_task_is_changed_only_as_it_was_read(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    first = await root.client.post("/v1/tasks", json=WEB)
    grown = {**WEB, "counters": [*WEB["counters"], {"by": "dst"}]}
    missing = await root.client.put("/v1/tasks/0", json=grown)
    assert missing.status_code == 428
    tag = {"If-Match": first.headers["ETag"]}
    second = await root.client.put("/v1/tasks/0", json=grown, headers=tag)
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]
    assert second.json()["since_tick"] == first.json()["since_tick"]
    assert [c.key_type for c in leaf.monitor.tasks[0].counters] == ["src", "src/24_dport", "dst"]
    late = await root.client.put("/v1/tasks/0", json=WEB, headers=tag)
    assert late.status_code == 412
    assert second.json()["etag"] in late.json()["detail"]
    back = await root.client.put("/v1/tasks/0", json=WEB, headers={"If-Match": "*"})
    assert back.headers["ETag"] == first.headers["ETag"]


@with_fleet
async def test_a_task_that_becomes_the_host_s_own_leaves_the_others(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    await root.client.post("/v1/tasks", json=WEB)
    reply = await root.client.put(
        "/v1/tasks/0", json={**WEB, "scope": "host"}, headers={"If-Match": "*"}
    )
    assert reply.json()["scope"] == "host"
    assert (len(root.monitor.tasks), leaf.monitor.tasks) == (1, ())


@with_fleet
async def test_a_task_is_removed_everywhere(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    await root.client.post("/v1/tasks", json=WEB)
    stale = await root.client.delete("/v1/tasks/0", headers={"If-Match": '"stale"'})
    assert stale.status_code == 412
    assert len(leaf.monitor.tasks) == 1
    parents = await leaf.client.delete("/v1/tasks/0")
    assert (parents.status_code, parents.json()["field"]) == (400, "task")
    unknown = await leaf.client.get("/v1/tasks/9")
    assert "field 'task' is 9" in unknown.json()["detail"]
    gone = await root.client.delete("/v1/tasks/0")
    assert (gone.status_code, gone.content) == (204, b"")
    assert gone.headers["X-Netsonde-Coverage"] == "2/2"
    assert root.monitor.tasks == leaf.monitor.tasks == ()
    assert (await root.client.get("/v1/tasks")).json() == {"tasks": []}
    assert (await root.client.delete("/v1/tasks/0")).status_code == 404


@with_fleet
async def test_a_host_that_is_away_hears_of_a_removal_when_it_is_back(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    await root.client.post("/v1/tasks", json=WEB)
    await leaf.kill()
    gone = await root.client.delete("/v1/tasks/0")
    assert gone.headers["X-Netsonde-Coverage"] == "1/2; missing=127.0.0.3"
    await leaf.start()
    await root.until(
        lambda reply: reply.headers["X-Netsonde-Coverage"] == "2/2", type="query leaf agents"
    )
    assert leaf.monitor.tasks == ()


REFUSED = [
    ({"counters": [{"by": "srcdst"}]}, "by", "srcdst", "src_dport"),
    ({"counters": [{"by": "src"}, {"by": "src"}]}, "by", "src", "one counter"),
    ({"counters": [{}]}, "counters[0].by", None, "hitter_threshold"),
    ({"counters": [{"by": 5}]}, "counters[0].by", "5", "text"),
    ({"counters": [{"by": "src"}] * 17}, "counters", "[{", "length <= 16"),
    (
        {"counters": [{"by": "src", "hitter_threshold": 2}]},
        "counters[0].hitter_threshold",
        "2",
        "1",
    ),
    ({"filter": {"srcc": "10.0.0.1"}}, "filter.srcc", "10.0.0.1", "interface, family, proto"),
    ({"filter": {"src": "10.0.0.1/24"}}, "src", "10.0.0.1/24", "host bits"),
    ({"filter": {"dport": "80-70"}}, "dport", "80-70", "ends before"),
    ({"filter": {"family": 5}}, "filter.family", "5", "4, 6"),
    ({"filter": {"proto": "icmp", "dport": 80}}, "dport", "80", "no ports"),
    ({"scope": "all"}, "scope", "all", "host, subtree"),
    ({"filters": {}}, "filters", "{}", "filter, counters, scope"),
    ([], "body", "[]", "object"),
]


@with_fleet
async def test_refusals_name_field_value_and_what_is_allowed(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for spec, field, value, allowed in REFUSED:
        reply = await agent.client.post("/v1/tasks", json=spec)
        said = reply.json()
        assert reply.status_code == said["status"] == 400, said
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert said["field"] == field, said
        assert value is None or value in said["value"], said
        assert allowed in said["allowed"], said
    assert agent.monitor.tasks == ()


@with_fleet
async def test_requests_that_reach_no_verb_are_problems_too(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    json = {"Content-Type": "application/json"}
    cases = [
        ("GET", "/v1/nothing", b"", {}, 404),
        ("GET", "/v1/tasks/7", b"", {}, 404),
        ("GET", "/v1/tasks/x", b"", {}, 404),
        ("DELETE", "/v1/tasks", b"", {}, 405),
        ("POST", "/v1/tasks", b"{", json, 400),
        ("POST", "/v1/tasks", b"", json, 400),
        ("POST", "/v1/tasks", b"\xff", json, 400),
        ("POST", "/v1/tasks", b"[" * 60_000, json, 400),
        ("POST", "/v1/tasks", b"a=b", {"Content-Type": "text/plain"}, 415),
        ("POST", "/v1/tasks", b" " * (65 << 10), json, 413),
    ]
    for method, path, content, headers, status in cases:
        reply = await agent.client.request(method, path, content=content, headers=headers)
        assert (reply.status_code, reply.json()["status"]) == (status, status), reply.text
        assert reply.headers["Content-Type"] == "application/problem+json"
    refused = await agent.client.delete("/v1/tasks")
    assert "GET" in refused.headers["Allow"]


@with_fleet
async def test_without_a_monitor_nothing_is_added(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2, monitored=False)
    reply = await agent.client.post("/v1/tasks", json=WEB)
    assert reply.status_code == 503
    assert "monitor away" in reply.json()["detail"]
    assert (await agent.client.get("/v1/tasks")).json() == {"tasks": []}


@pytest.mark.parametrize("etag", ["", '"', 'W/"x"', "a" * 4000])
def test_an_odd_etag_is_another_one(etag: str, tmp_path) -> None:
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        await agent.client.post("/v1/tasks", json=WEB)
        reply = await agent.client.put("/v1/tasks/0", json=WEB, headers={"If-Match": etag})
        assert reply.status_code == 412
        assert len(reply.text) < 500

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]
