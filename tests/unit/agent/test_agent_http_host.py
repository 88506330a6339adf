"""`/v1/host` and `/v1/members`."""

from fleet import Fleet, with_fleet
from test_agent_metrics import STATUS


@with_fleet
async def test_a_host_tells_how_it_is_and_where_it_stands(fleet: Fleet) -> None:
    root, leaf = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr=leaf.address)
    for agent in (root, leaf):
        agent.monitor.status = STATUS
    told = (await leaf.client.get("/v1/host")).json()
    assert (told["host"], told["parent"], told["hook"]) == ("127.0.0.3", "127.0.0.2", "tables")
    assert told["recorder"]["levels"][0]["step_ms"] == 100
    assert (await root.client.get("/v1/host")).json()["parent"] is None
    await leaf.monitor.stop()
    away = await leaf.client.get("/v1/host")
    assert (away.status_code, away.json()["status"]) == (503, 503)


@with_fleet
async def test_members_are_known_be_they_up_or_down(fleet: Fleet) -> None:
    root, leaf = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr=leaf.address)
    await leaf.kill()
    while not (told := (await root.client.get("/v1/members")).json())["missing"]:
        pass
    assert (told["asked"], told["answered"], list(told["missing"])) == (2, 1, ["127.0.0.3"])
