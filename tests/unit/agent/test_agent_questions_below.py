"""What is asked of a network ends no connection in it, whatever time it is about."""

import itertools

from fleet import Fleet, with_fleet

TIMES = (
    *("1970-01-01T00:00:00Z/1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z/1970-01-01T00:00:03Z"),
    *("1969-12-31T23:59:59Z/1970-01-01T00:00:01Z", "2254-12-31T00:00:00Z/2254-12-31T00:00:01Z"),
    *("0001-01-01T00:00:00Z/0001-01-01T00:00:01Z", "9999-12-31T00:00:00Z/9999-12-31T00:00:01Z"),
    *("last 100ms", "last 24h"),
)
ASKS = (
    *({"ask": "count"}, {"ask": "top", "by": "src"}, {"ask": "change", "by": "src"}),
    {"ask": "series", "step": "10s"},
    *({"ask": "change", "by": "src", "against": against} for against in TIMES),
)


@with_fleet
async def test_no_time_ends_the_connections_between_agents(fleet: Fleet) -> None:
    root, child = await fleet.start(2, 3)
    await root.ask("add leaf agent", agent_addr=child.address)
    for ask, window in itertools.product(ASKS, TIMES):
        reply = await root.client.post("/v1/questions", json={**ask, "window": window})
        assert reply.status_code in {200, 400, 503}, reply.text
        assert "lost" not in reply.text, (ask, window, reply.text)
        assert "cannot read" not in reply.text, (ask, window, reply.text)
    bad = await root.client.post(
        "/v1/questions", json={"ask": "change", "by": "src", "window": TIMES[0]}
    )
    assert (bad.status_code, bad.json()["field"]) == (400, "against")
    assert await root.ask("query leaf agents") == f'["{child.address}"]'
