"""What is before the routes: browsers of other pages, the budget, heads without bodies."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from fleet import Agent, Fleet, with_fleet
from hypothesis import given
from hypothesis import strategies as st

from netsonde.agent.http import browsers, budget, front
from netsonde.model.errors import Busy

EVIL = "http://evil.example"
CHANGES = [
    ("POST", "/"),
    ("POST", "/v1/tasks"),
    ("PUT", "/v1/tasks/1"),
    ("DELETE", "/v1/tasks/1"),
    ("PATCH", "/v1/tasks/1"),
    ("POST", "/v1/questions"),
    ("PUT", "/v1/webhooks/evil"),
    ("DELETE", "/v1/detectors/port_scan"),
    ("GET", "/v1/events/stream"),
    ("GET", "/v1/events/stream/"),
    ("GET", "/v1//events//stream//"),
    ("GET", "/v1/questions/stream?q=%7B%22ask%22%3A%22count%22%7D"),
]
READS = ["/", "/v1/members", "/v1/tasks", "/v1/events", "/v1/docs", "/v1/openapi.json", "/metrics"]


def of(agent: Agent, name: str, value: str) -> dict[str, str]:
    return {"Content-Type": "application/json", name: value}


@with_fleet
async def test_a_page_of_another_site_changes_and_starts_nothing(fleet: Fleet) -> None:
    """What a form, a script or an event source of it sends, whatever a browser adds."""
    (agent,) = await fleet.start(2)
    before = (await agent.client.get("/v1/tasks")).json()
    own = str(agent.client.base_url).rstrip("/")
    said = [
        *(("Origin", text) for text in (EVIL, "null", "", own + ".evil.example", own + "1", "x:")),
        *(("Origin", text) for text in (own.rpartition(":")[0], "http://[", "file://")),
        *(("Sec-Fetch-Site", text) for text in ("cross-site", "same-site", "", "Same-Origin")),
    ]
    for method, path in CHANGES:
        for name, value in said:
            reply = await agent.client.request(
                method, path, content=b'{"ask": "count"}', headers={name: value}
            )
            assert reply.status_code == 403, (method, path, name, value)
            assert name in reply.text
            assert not [one for one in reply.headers if one.startswith("access-control")]
    assert (await agent.client.get("/v1/tasks")).json() == before
    metrics = (await agent.client.get("/metrics")).text
    refused = len(CHANGES) * len(said)
    assert f'netsonde_http_refused_total{{cause="origin"}} {refused}.0' in metrics


@with_fleet
async def test_own_pages_and_programs_go_on(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    own = str(agent.client.base_url).rstrip("/")
    for headers in (
        {},
        {"Origin": own, "Sec-Fetch-Site": "same-origin"},
        {"Origin": own.replace("http:", "https:")},
        {"Sec-Fetch-Site": "none"},
    ):
        reply = await agent.client.post("/v1/questions", json={"ask": "count"}, headers=headers)
        assert reply.status_code == 200, reply.text
        reply = await agent.client.post("/", data={"type": "query leaf agents"}, headers=headers)
        assert reply.status_code == 200, reply.text
    for path in READS:  # a link of another page to the documents is no harm
        reply = await agent.client.get(path, headers={"Sec-Fetch-Site": "cross-site"})
        assert reply.status_code == 200, path
        assert reply.headers["x-content-type-options"] == "nosniff"
    page = await agent.client.get("/v1/docs")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


@with_fleet
async def test_a_name_that_is_not_this_host_s_is_refused_everywhere(fleet: Fleet) -> None:
    """A stranger's name may be made to lead here (DNS rebinding), and its page is then of it."""
    (agent,) = await fleet.start(2)
    for path in READS:
        reply = await agent.client.get(path, headers={"Host": "rebind.evil.example:8000"})
        assert reply.status_code == 421, path
        assert "http_names" in reply.text
    put = {"url": "http://10.0.0.1:1/"}
    headers = {"Host": "rebind.evil.example:8000", "Origin": "http://rebind.evil.example:8000"}
    reply = await agent.client.put("/v1/webhooks/evil", json=put, headers=headers)
    assert reply.status_code == 421
    problem = reply.json()
    assert (problem["field"], problem["value"]) == ("Host", "rebind.evil.example:8000")
    assert (await agent.client.get("/v1/webhooks")).json() == {"webhooks": []}


NAMES = ("metrics.example", "Node7")


@pytest.mark.parametrize(
    "authority",
    [
        "10.0.0.2",
        "10.0.0.2:1",
        "203.0.113.5:65535",
        "[::1]:8000",
        "[fe80::1]",
        "[fe80::1%25eth0]:8000",
        "localhost",
        "LOCALHOST:8000",
        "metrics.example",
        "metrics.example.:9",
        "node7",
        socket.gethostname(),
        socket.gethostname().partition(".")[0].upper() + ":8000",
    ],
)
def test_addresses_and_this_host_s_names_are_taken(authority: str) -> None:
    assert browsers.is_of_this_host(authority, NAMES)


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ":8000",
        "evil.example",
        "localhost.evil.example",
        "evil.example:localhost",
        "metrics.example.evil.example",
        "10.0.0.2.evil.example",
        "10.0.0.2@evil.example",
        "evil.example/10.0.0.2",
        "167772162",
        "0x0a000002",
        "10.0.0.2:",
        "::1",
        "[evil.example]",
        "[10.0.0.2]",
        "[::1]evil.example",
        "10.0.0.2 evil.example",
        "10.0.0.2:123456",
        "١٠.0.0.2",
    ],
)
def test_nothing_that_a_stranger_can_own_is_taken(authority: str) -> None:
    if authority != "10.0.0.2:":  # an empty port is one of no name
        assert not browsers.is_of_this_host(authority, NAMES)


@given(st.text(max_size=60))
def test_no_text_at_all_breaks_the_check(text: str) -> None:
    browsers.is_of_this_host(text, NAMES)


@with_fleet
async def test_host_is_given_once_unless_it_is_http_of_1996(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for head, status in (
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\nHost: 127.0.0.2\r\n\r\n", b"400"),
    ):
        reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
        writer.write(head)
        assert (await reader.readline()).split()[1] == status, head
        writer.close()


@with_fleet
async def test_the_head_of_an_answer_is_that_of_the_answer(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    for path in (*READS, "/nowhere", "/v1/nowhere"):
        whole, head = await agent.client.get(path), await agent.client.head(path)
        assert head.status_code == whole.status_code
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]
        if path != "/metrics":
            assert head.headers["content-length"] == whole.headers["content-length"]
    head = await agent.client.head("/v1/events/stream")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert "netsonde_http_streams 0.0" in (await agent.client.get("/metrics")).text
    assert (await agent.client.head("/v1/questions")).status_code == 405


class Clock:
    """Time and work that pass when told."""

    def __init__(self) -> None:
        self.s = 100.0
        self.worked_ns = 0


@given(
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**9), st.booleans()), max_size=60),
)
def test_no_more_is_spent_than_the_budget_in_any_while(
    percent: float, story: list[tuple[float, int, bool]]
) -> None:
    """But for what was begun last."""
    clock = Clock()
    one = budget.Budget(percent, mono_s=lambda: clock.s, worked_ns=lambda: clock.worked_ns)
    begun: list[tuple[float, float]] = []
    for later_s, work_ns, first in story:
        clock.s += later_s
        if one.wait_s(first=first) == 0:
            begun.append((clock.s, work_ns * 1e-9))
            one.spend(work_ns)
    share = percent / 100
    for at, (since_s, _) in enumerate(begun):
        for until, (until_s, last_s) in enumerate(begun[at:], at):
            spent_s = sum(work_s for _, work_s in begun[at : until + 1]) - last_s
            assert spent_s <= share * (until_s - since_s + budget.BURST_S) + 1e-6


def test_what_must_not_wait_has_a_part_of_its_own() -> None:
    clock = Clock()
    one = budget.Budget(50, mono_s=lambda: clock.s, worked_ns=lambda: clock.worked_ns)
    one.spend(400_000_000)
    assert one.wait_s() > 0
    assert one.wait_s(first=True) == 0
    clock.s += one.wait_s() + 1e-9
    assert one.wait_s() == 0


async def steps(clock: Clock, inner: Callable[[], Awaitable[object]]) -> str:
    clock.worked_ns += 5
    for _ in range(3):
        with contextlib.suppress(ValueError):
            await inner()
        clock.worked_ns += 1
    return "done"


async def bad() -> None:
    await asyncio.sleep(0)
    raise ValueError


@pytest.mark.parametrize("inner", [lambda: asyncio.sleep(0.001), bad])
def test_work_is_charged_and_waiting_is_not(inner: Callable[[], Awaitable[object]]) -> None:
    clock = Clock()
    one = budget.Budget(50, worked_ns=lambda: clock.worked_ns)

    async def story() -> None:
        assert await one.metered(steps(clock, inner)) == "done"
        assert one.spent_ns == 8
        hanging = asyncio.create_task(one.metered(steps(clock, asyncio.Event().wait)))
        await asyncio.sleep(0)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging

        async def fails() -> None:
            raise KeyError

        with pytest.raises(KeyError):
            await one.metered(fails())

    asyncio.run(story())


@with_fleet
async def test_over_its_budget_an_agent_says_when_to_come_again(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    with pytest.MonkeyPatch.context() as patch:

        async def never(_: budget.Budget, *, first: bool = False) -> None:
            if not first:
                raise Busy("too much", 2.5)

        patch.setattr(budget.Budget, "admitted", never)
        for reply in (
            await agent.client.post("/", data={"type": "query leaf agents"}),
            await agent.client.post("/v1/questions", json={"ask": "count"}),
        ):
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "3"
            assert "too much" in reply.text
        for path in ("/v1/tasks", "/metrics", "/v1/members"):
            assert (await agent.client.get(path)).status_code == 200
        metrics = (await agent.client.get("/metrics")).text
        assert 'netsonde_http_refused_total{cause="cpu_budget"} 2.0' in metrics


async def flood(client: httpx.AsyncClient) -> AsyncIterator[int]:
    while True:
        yield (await client.post("/v1/questions", json={"ask": "count"})).status_code


@with_fleet
async def test_askers_without_pause_get_the_budget_and_no_more(fleet: Fleet) -> None:
    """What is spent is what the thread worked, so a busy machine changes nothing of it."""
    spent: list[budget.Budget] = []
    with pytest.MonkeyPatch.context() as patch:
        made = front.Budget.__init__

        def small(self: budget.Budget, percent: float) -> None:
            made(self, 2)
            spent.append(self)

        patch.setattr(budget.Budget, "__init__", small)
        (agent,) = await fleet.start(2)
    loop = asyncio.get_running_loop()
    begun_s, before_ns = loop.time(), spent[0].spent_ns
    statuses: set[int] = set()

    async def ask() -> None:
        async for status in flood(agent.client):
            statuses.add(status)

    askers = [asyncio.create_task(ask()) for _ in range(8)]
    while statuses < {200, 503} or loop.time() < begun_s + 2:
        await asyncio.sleep(0.01)
    for asker in askers:
        asker.cancel()
    await asyncio.wait(askers)
    took_s, spent_s = loop.time() - begun_s, (spent[0].spent_ns - before_ns) * 1e-9
    # Refusals cost as well: 64 connections wait a quarter of a second for each.
    assert spent_s <= 0.02 * (took_s + budget.BURST_S) + 0.1
