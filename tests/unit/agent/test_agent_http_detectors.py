"""`/v1/detectors`: what stands at every host, and who may change it."""

from fleet import Agent, Fleet, with_fleet

from netsonde.model.asking import MAX_CLEAR_S, MAX_WINDOW_S
from netsonde.model.detector import MAX_DETECTORS, MAX_SPREAD
from netsonde.model.detectors import BUILTIN
from netsonde.model.task import Increment

MINE = {"measure": "count", "by": "dst", "increment": "bytes", "threshold": 10**9, "window": "1s"}


async def network(fleet: Fleet) -> tuple[Agent, Agent]:
    """Root 2 over 3."""
    root, leaf = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr="127.0.0.3")
    return root, leaf


def names(agent: Agent) -> list[str]:
    return [detector.name for detector in agent.monitor.detectors]


@with_fleet
async def test_built_in_ones_stand_everywhere_and_are_listed(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    built_in = [detector.name for detector in BUILTIN]
    assert names(root) == names(leaf) == built_in
    listed = (await root.client.get("/v1/detectors")).json()["detectors"]
    assert [one["name"] for one in listed] == built_in
    assert all(one["builtin"] and one["spec"]["enabled"] for one in listed)
    again = await root.client.put(f"/v1/detectors/{built_in[0]}", json=listed[0]["spec"])
    assert again.json() == listed[0]
    assert tuple(leaf.monitor.detectors) == BUILTIN


@with_fleet
async def test_a_detector_of_the_root_stands_in_the_whole_fleet(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    reply = await root.client.put("/v1/detectors/elephant", json=MINE)
    assert (reply.status_code, reply.headers["X-Netsonde-Coverage"]) == (200, "2/2")
    assert (reply.json()["builtin"], reply.json()["spec"]["window"]) == (False, "1s")
    mine = leaf.monitor.detectors[-1]
    assert (mine.name, mine.increment, mine.window_ticks) == ("elephant", Increment.BYTES, 10)
    refused = await leaf.client.put("/v1/detectors/elephant", json=MINE)
    assert refused.status_code == (await leaf.client.delete("/v1/detectors/elephant")).status_code
    assert (refused.status_code, refused.json()["field"]) == (400, "name")
    gone = await root.client.delete("/v1/detectors/elephant")
    assert (gone.status_code, gone.headers["X-Netsonde-Coverage"]) == (204, "2/2")
    assert "elephant" not in names(leaf)
    assert (await root.client.delete("/v1/detectors/elephant")).status_code == 404


@with_fleet
async def test_a_built_in_one_can_be_switched_off_and_is_back_when_deleted(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    (first, *_) = (await root.client.get("/v1/detectors")).json()["detectors"]
    off = {**first["spec"], "enabled": False}
    await root.client.put(f"/v1/detectors/{first['name']}", json=off)
    assert first["name"] not in names(leaf)
    (listed, *_) = (await leaf.client.get("/v1/detectors")).json()["detectors"]
    assert (listed["name"], listed["spec"]["enabled"]) == (first["name"], False)
    await root.client.delete(f"/v1/detectors/{first['name']}")
    assert first["name"] in names(leaf)
    refused = await root.client.delete(f"/v1/detectors/{first['name']}")
    assert (refused.status_code, "PUT" in refused.json()["allowed"]) == (400, True)


@with_fleet
async def test_detectors_outlive_the_agent(fleet: Fleet) -> None:
    root, leaf = await network(fleet)
    await root.client.put("/v1/detectors/elephant", json=MINE)
    for agent in (leaf, root):
        await agent.kill()
        await agent.start()
        assert "elephant" in names(agent)


REFUSED = [
    ("elephant", {**MINE, "threshold": 0}, "threshold", "a whole number, 1 to"),
    ("elephant", {**MINE, "window": "2m"}, "window", "60s"),
    ("elephant", {**MINE, "clear": "soon"}, "clear", "600s"),
    ("elephant", {**MINE, "by": "destination"}, "by", "src_dport"),
    ("elephant", {**MINE, "of": "src"}, "of", "spread"),
    ("elephant", {**MINE, "measure": "spread"}, "of", "spread"),
    ("elephant", {**MINE, "window": f"{MAX_WINDOW_S + 1}s"}, "window", f"{MAX_WINDOW_S}s"),
    ("elephant", {**MINE, "clear": f"{MAX_CLEAR_S + 1}s"}, "clear", f"{MAX_CLEAR_S}s"),
    (
        "elephant",
        {**MINE, "measure": "spread", "of": "src", "threshold": MAX_SPREAD + 1},
        "threshold",
        f"{MAX_SPREAD} for spread",
    ),
    ("elephant", {**MINE, "factor": 2.0}, "factor", "change"),
    ("elephant", {**MINE, "filter": {"dport": "x"}}, "dport", "ports"),
    ("elephant", {**MINE, "treshold": 5}, "treshold", "threshold"),
    ("Elephant", MINE, "name", "regex"),
]


@with_fleet
async def test_bad_ones_are_refused_and_change_nothing(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for name, spec, field, allowed in REFUSED:
        reply = await agent.client.put(f"/v1/detectors/{name}", json=spec)
        said = reply.json()
        assert (reply.status_code, said["field"]) == (400, field), said
        assert allowed in said["allowed"], said
    assert tuple(agent.monitor.detectors) == BUILTIN


@with_fleet
async def test_there_are_so_many_and_no_more(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for number in range(MAX_DETECTORS - len(BUILTIN)):
        reply = await agent.client.put(f"/v1/detectors/mine_{number}", json=MINE)
        assert reply.status_code == 200
    reply = await agent.client.put("/v1/detectors/one_more", json=MINE)
    assert (reply.status_code, str(MAX_DETECTORS) in reply.json()["allowed"]) == (400, True)
    assert len(names(agent)) == MAX_DETECTORS


@with_fleet
async def test_without_a_monitor_nothing_is_set(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2, monitored=False)
    assert (await agent.client.put("/v1/detectors/mine", json=MINE)).status_code == 503
    assert "mine" not in (await agent.client.get("/v1/detectors")).text
