"""A filter by device in a fleet: who views it answers, who does not is named, nobody is a 400."""

from fleet import Fleet, with_fleet
from test_agent_metrics import STATUS

DEVICE = {"filter": {"interface": "eth0", "proto": "tcp"}, "counters": [{"by": "src"}]}
COUNT = {"ask": "count", "filter": {"interface": "eth0"}}


async def three(fleet: Fleet, *viewing: int):
    agents = await fleet.start(2, 3, 4)
    for number in viewing:
        fleet.agents[number].monitor.devices = ("eth0",)
    for agent in agents:
        agent.monitor.totals = (5, 500)
    for leaf in agents[1:]:
        await agents[0].ask("add leaf agent", agent_addr=leaf.address)
    return agents


@with_fleet
async def test_hosts_without_the_view_are_missing_with_the_reason(fleet: Fleet) -> None:
    root, *_ = await three(fleet, 3, 4)
    answer = (await root.client.post("/v1/questions", json=COUNT)).json()
    assert answer["count"]["estimate"] == 10
    certificate = answer["certificate"]
    assert certificate["filter"]["interface"] == "eth0"
    assert (certificate["coverage"]["asked"], certificate["coverage"]["answered"]) == (3, 2)
    assert "'interface' is 'eth0'" in certificate["coverage"]["missing"]["127.0.0.2"]
    reply = await root.post(type="config counter", interface="eth0")
    assert (reply.status_code, reply.text) == (200, "[10, 1000]")
    assert reply.headers["X-Netsonde-Coverage"] == "2/3; missing=127.0.0.2"


@with_fleet
async def test_a_task_tells_who_counts_for_it(fleet: Fleet) -> None:
    root, *_ = await three(fleet, 3, 4)
    added = await root.client.post("/v1/tasks", json=DEVICE)
    assert added.status_code == 201
    everyone = await root.client.post("/v1/tasks", json={"filter": {"proto": "tcp"}})
    assert everyone.json()["coverage"]["answered"] == 3
    listed = (await root.client.get("/v1/tasks")).json()["tasks"]
    shown = (await root.client.get(f"/v1/tasks/{added.json()['id']}")).json()
    for body in (added.json(), listed[0], shown):
        assert body["filter"]["interface"] == "eth0"
        assert body["coverage"]["answered"] == 2
        assert list(body["coverage"]["missing"]) == ["127.0.0.2"]
    assert listed[1]["coverage"]["answered"] == 3
    root.monitor.status = STATUS
    scraped = (await root.client.get("/metrics")).text
    assert 'netsonde_task_packets_total{series="sketch",task="1"} 5.0' in scraped
    assert 'task="0"' not in scraped  # the root itself does not view it


@with_fleet
async def test_a_device_that_nobody_views_is_a_bad_field_and_no_task(fleet: Fleet) -> None:
    root, *_ = await three(fleet)
    asked = await root.client.post("/v1/questions", json=COUNT)
    added = await root.client.post("/v1/tasks", json=DEVICE)
    for refused in (asked, added):
        assert refused.status_code == 400, refused.text
        problem = refused.json()
        assert (problem["field"], problem["value"]) == ("interface", "eth0")
        assert problem["allowed"] == "INPUT, no device"
    assert (await root.client.get("/v1/tasks")).json()["tasks"] == []
    for kind in ("config sketch", "config counter"):
        reply = await root.post(type=kind, interface="eth0")
        assert reply.status_code == 400, reply.text
        assert "'interface' is 'eth0'" in reply.text


@with_fleet
async def test_hosts_that_view_other_devices_are_told_apart(fleet: Fleet) -> None:
    root, one, _ = await three(fleet)
    one.monitor.devices = ("eth1",)
    refused = (await root.client.post("/v1/questions", json=COUNT)).json()
    assert refused["allowed"] == "INPUT, eth1 (127.0.0.3; others view other devices, or none)"
    task = {"filter": {"interface": "eth1"}}
    at_leaf = await one.client.post("/v1/tasks", json=task)
    assert at_leaf.json()["coverage"] == {"asked": 1, "answered": 1, "missing": {}, "partial": {}}
