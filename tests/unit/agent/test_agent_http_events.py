"""`/v1/events`: pages, streams that go on, and clients that read slowly or go away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from fleet import POLL_S, Agent, Fleet, event, id_of, with_fleet

from netsonde.agent.event_ring import MAX_HELD
from netsonde.agent.http import accept, streams
from netsonde.agent.http.app import GREETING

STREAM = "/v1/events/stream"


async def happened(agent: Agent, *numbers: int, **changes: object) -> None:
    """Let events happen, and wait until the agent has them."""
    agent.monitor.happen(*(event(agent.address, n, **changes) for n in numbers))
    wanted = id_of(agent.address, numbers[-1], **changes)
    async with asyncio.timeout(10):
        while wanted not in (await agent.client.get("/v1/events?limit=1000")).text:
            await asyncio.sleep(POLL_S)


async def frames(reply: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The frames of a stream, by field; comments are under the empty name."""
    fields: dict[str, str] = {}
    async for line in reply.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif fields:
            yield fields
            fields = {}


@with_fleet
async def test_pages_follow_each_other(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    assert (await agent.client.get("/v1/events")).json() == {
        "events": [],
        "next": None,
        "dropped": 0,
    }
    await happened(agent, 1, 2, 3)
    await happened(agent, 4, state="cleared")
    first = (await agent.client.get("/v1/events?limit=3")).json()
    assert [e["id"].split("-")[2] for e in first["events"]] == ["1", "2", "3"]
    rest = (await agent.client.get("/v1/events", params={"after": first["next"]})).json()
    assert [e["id"].split("-")[2] for e in rest["events"]] == ["4"]
    assert rest["next"] == rest["events"][-1]["id"]
    end = (await agent.client.get("/v1/events", params={"after": rest["next"]})).json()
    assert (end["events"], end["next"]) == ([], rest["next"])
    cleared = (await agent.client.get("/v1/events?state=cleared")).json()
    assert [e["id"].split("-")[2] for e in cleared["events"]] == ["4"]
    none = (await agent.client.get("/v1/events?detector=other")).json()
    assert (none["events"], none["next"]) == ([], rest["next"])  # those were looked at too


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=x", "limit"), ("state=up", "state")]
)
def test_bad_queries_are_problems(query: str, field: str, tmp_path) -> None:
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)
        reply = await agent.client.get(f"/v1/events?{query}")
        assert (reply.status_code, reply.json()["field"]) == (400, field)

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]


@with_fleet
async def test_a_stream_begins_now_and_goes_on_after_a_break(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    await happened(agent, 1)
    async with agent.client.stream("GET", STREAM) as reply:
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        came = frames(reply)
        assert (await anext(came)) == {"": "netsonde"}
        await happened(agent, 2)
        frame = await anext(came)
    assert (frame["event"], frame["id"]) == ("event", id_of(agent.address, 2))
    assert json.loads(frame["data"])["sentence"] == "127.0.0.9 contacted 100 ports"
    await happened(agent, 3, 4)
    async with agent.client.stream("GET", STREAM, headers={"Last-Event-ID": frame["id"]}) as reply:
        came = frames(reply)
        ids = [(await anext(came)).get("id") for _ in range(3)]
    assert ids == [None, id_of(agent.address, 3), id_of(agent.address, 4)]


@with_fleet
async def test_silence_is_shown_to_be_life(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "HEARTBEAT_S", 0.05)
        (agent,) = await fleet.start(2)
        async with agent.client.stream("GET", STREAM) as reply:
            came = frames(reply)
            assert [await anext(came) for _ in range(3)] == [
                {"": "netsonde"},
                {"": "alive"},
                {"": "alive"},
            ]


@with_fleet
async def test_streams_are_few_and_end_with_their_clients(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    open_ones, comings = [], []
    async with another(agent, 41) as one, another(agent, 42) as other:
        for client in (agent.client, one):
            for _ in range(streams.OF_ONE):
                request = client.build_request("GET", STREAM)
                reply = await client.send(request, stream=True)
                open_ones.append(reply)
                comings.append(frames(reply))
                assert (await anext(comings[-1])) == {"": "netsonde"}
            refused = await client.get(STREAM)
            assert refused.status_code == 503
            assert f"{streams.OF_ONE} streams of 127.0.0" in refused.json()["detail"]
            assert refused.headers["retry-after"] == "1"
        refused = await other.get(STREAM)
        assert refused.status_code == 503
        assert f"all {streams.MAX_STREAMS}" in refused.json()["detail"]
        for reply in open_ones:
            await reply.aclose()
    async with asyncio.timeout(10):
        while True:
            async with agent.client.stream("GET", STREAM) as reply:
                if reply.status_code == 200:
                    break
            await asyncio.sleep(POLL_S)


@with_fleet
async def test_of_streams_asked_for_at_once_too_many_are_refused_before_they_begin(
    fleet: Fleet,
) -> None:
    """Whoever has a 200 has a stream."""
    (agent,) = await fleet.start(2)
    together = [await asyncio.open_connection(agent.address, fleet.http_port) for _ in range(30)]
    request = f"GET {STREAM} HTTP/1.1\r\nHost: {agent.address}\r\n\r\n".encode()
    for _, writer in together:
        writer.write(request)
    begun = 0
    for reader, _ in together:
        status = (await reader.readline()).split()[1]
        await reader.readuntil(b"\r\n\r\n")
        if status == b"200":
            begun += 1
            assert b": netsonde" in await reader.readuntil(b"netsonde\n")
        else:
            assert status == b"503"
    assert begun == streams.OF_ONE
    for _, writer in together:
        writer.close()


def another(agent: Agent, number: int) -> httpx.AsyncClient:
    """Give a client of another address."""
    return httpx.AsyncClient(
        base_url=agent.client.base_url,
        transport=httpx.AsyncHTTPTransport(local_address=f"127.0.0.{number}"),
    )


@with_fleet
async def test_a_slow_reader_misses_the_oldest_and_is_told_how_many(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    await happened(agent, 1)
    slow, writer = await raw_stream(agent, fleet)
    sentence = "x" * 1500
    for first in range(2, 3 * MAX_HELD, 100):
        await happened(agent, *range(first, first + 100), sentence=sentence)
    missed = 0
    while not missed:
        line = await slow.readline()
        if line == b"event: dropped\n":
            missed = json.loads((await slow.readline()).removeprefix(b"data: "))["dropped"]
    assert 0 < missed < 3 * MAX_HELD
    assert (await agent.client.get("/")).text.startswith(GREETING[:20])
    writer.close()


@with_fleet
async def test_a_client_that_takes_nothing_is_closed_by_the_kernel(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accept, "UNTAKEN_S", 1)
        (agent,) = await fleet.start(2)
        await happened(agent, 1)
        _, writer = await raw_stream(agent, fleet)
        writer.transport.pause_reading()
        for first in range(2, 3 * MAX_HELD, 100):
            await happened(agent, *range(first, first + 100), sentence="x" * 1500)
        async with asyncio.timeout(20):
            while not await are_all_free(agent):
                await asyncio.sleep(POLL_S)
        writer.close()


async def are_all_free(agent: Agent) -> bool:
    """Whether as many streams as one may have can be had."""
    replies = []
    for _ in range(streams.OF_ONE):
        request = agent.client.build_request("GET", STREAM)
        replies.append(await agent.client.send(request, stream=True))
    for reply in replies:
        await reply.aclose()
    return all(reply.status_code == 200 for reply in replies)


async def raw_stream(
    agent: Agent, fleet: Fleet
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream whose client has little room."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (agent.address, fleet.http_port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 14)
    last = id_of(agent.address, 1)
    head = f"GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.2\r\nLast-Event-ID: {last}\r\n\r\n"
    writer.write(head.encode())
    assert b"200" in await reader.readline()
    return reader, writer
