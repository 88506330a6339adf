"""What children claim of others: in no answer, named, and never counted twice."""

from fleet import Fleet, with_fleet
from liar import Answer, Liar, partial

from netsonde.wire import peer

COUNT = {"type": "query counter", "interface": "both", "scope": "subtree"}


async def tree(fleet: Fleet, answer: Answer) -> Liar:
    """Root 2 over an honest 4 over 5 and 6, and over a liar at 3; each honest one counts 100."""
    root, inner, *leaves = await fleet.start(2, 4, 5, 6)
    for agent in (root, inner, *leaves):
        agent.monitor.totals = (100, 1000)
    await root.ask("add leaf agent", agent_addr="127.0.0.4")
    for leaf in leaves:
        await inner.ask("add leaf agent", agent_addr=leaf.address)
    await root.until(lambda r: r.headers["X-Netsonde-Coverage"] == "4/4", type="query leaf agents")
    liar = Liar(fleet, 3, answer)
    await liar.start()
    await root.ask("add leaf agent", agent_addr=liar.address)
    await root.ask("config counter", interface="both")
    return liar


@with_fleet
async def test_a_child_that_claims_hosts_it_never_reported_is_left_out(fleet: Fleet) -> None:
    others = tuple(f"127.0.0.{n}" for n in (4, 5, 6))
    liar = await tree(
        fleet, lambda query: partial(0, "127.0.0.3", *others, reported=("127.0.0.3",))
    )
    reply = await fleet.agents[2].post(**COUNT)
    assert reply.text == "[400, 4000]"
    assert reply.headers["X-Netsonde-Coverage"] == "4/5; missing=127.0.0.3"
    liar.stop()


@with_fleet
async def test_a_host_that_two_children_claim_is_in_neither_and_nobody_else_is_lost(
    fleet: Fleet,
) -> None:
    def steal(query: peer.Query) -> peer.Message:
        held = {"127.0.0.3", "127.0.0.5"} - set(query.without)
        return partial(7, *sorted(held), reported=("127.0.0.3", "127.0.0.5"))

    liar = await tree(fleet, steal)
    reply = await fleet.agents[2].post(**COUNT)
    assert "127.0.0.5" in reply.headers["X-Netsonde-Coverage"]
    assert liar.asked[-1].without == ("127.0.0.5",)
    assert reply.text == "[300, 3000]"  # a part of the liar's own fingerprint is not merged
    liar.stop()


@with_fleet
async def test_a_child_that_will_not_leave_out_what_it_stole_is_left_out_whole(
    fleet: Fleet,
) -> None:
    held = tuple(f"127.0.0.{n}" for n in (3, 4, 5, 6))
    liar = await tree(fleet, lambda query: partial(0, *held))
    reply = await fleet.agents[2].post(**COUNT)
    assert reply.text == "[100, 1000]"
    assert reply.headers["X-Netsonde-Coverage"] == f"1/5; missing={','.join(held)}"
    liar.stop()


@with_fleet
async def test_one_monitor_behind_two_agents_counts_once(fleet: Fleet) -> None:
    root, one, twin = await fleet.start(2, 3, 4)
    for agent in (root, one, twin):
        agent.monitor.totals = (100, 1000)
    twin.monitor.id = one.monitor.id
    for agent in (one, twin):
        await root.ask("add leaf agent", agent_addr=agent.address)
    await root.ask("config counter", interface="both")
    reply = await root.post(**COUNT)
    assert reply.text == "[200, 2000]"
    assert reply.headers["X-Netsonde-Coverage"] == "2/3; missing=127.0.0.4"
    asked = {"ask": "count", "filter": {"interface": "both"}, "window": "last 1s"}
    body = (await root.client.post("/v1/questions", json=asked)).json()
    assert "127.0.0.3" in body["certificate"]["coverage"]["missing"]["127.0.0.4"]


@with_fleet
async def test_one_monitor_at_different_depths_counts_once(fleet: Fleet) -> None:
    root, inner, twin = await fleet.start(2, 3, 4)
    for agent in (root, inner, twin):
        agent.monitor.totals = (100, 1000)
    twin.monitor.id = root.monitor.id
    await root.ask("add leaf agent", agent_addr=inner.address)
    await inner.ask("add leaf agent", agent_addr=twin.address)
    await root.ask("config counter", interface="both")
    reply = await root.post(**COUNT)
    assert reply.text == "[200, 2000]"
    assert reply.headers["X-Netsonde-Coverage"] == "2/3; missing=127.0.0.4"
