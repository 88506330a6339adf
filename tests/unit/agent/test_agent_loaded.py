"""Whatever an agent is asked once it serves, it needs no code that is not loaded by then."""

import asyncio
import json
import tempfile
import time
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path

import httpx
import sealed
from fleet import POLL_S, event, free_port
from process import Process

PAGES = ("/", "/metrics", "/nowhere", "/v1/docs", "/v1/docs.js", "/v1/openapi.json")
SKETCH = {"sketch_id": 0, "counter_key_type": "src"}
MESSAGES: list[dict[str, object]] = [
    {"type": "config sketch", "proto": "tcp", "src": "10.0.0.0/8", "dst": "fe80::1"},
    {"type": "config sketch counter", **SKETCH},
    {"type": "query heavy hitters", **SKETCH},
    {"type": "query sketch", **SKETCH, "counter_key": "127.0.0.9"},
    {"type": "query sketch", **SKETCH, "counter_key": "key_num"},
    {"type": "query real time counter", **SKETCH},
    {"type": "config counter"},
    {"type": "query counter"},
    {"type": "query delay", "src": "127.0.0.2", "dst": "127.0.0.3"},
    {"type": "query delay", "src": "127.0.0.3", "dst": "127.0.0.2"},
    {"type": "query bw", "src": "127.0.0.2", "dst": "127.0.0.3"},
    {"type": "query bw", "src": "127.0.0.2", "dst": "127.0.0.77"},
    {"type": "query leaf agents"},
    {"type": "add leaf agent", "agent_addr": "127.0.0.77"},
    {"type": "add leaf agent", "agent_addr": "fe80::1%.."},
    {"type": "config sketch", "proto": "nonsense", "src": "b\u00fccher.example"},
]
ASKED: list[dict[str, object]] = [
    {"ask": "count"},
    {"ask": "top", "key": "src", "window": "last 1s"},
    {"ask": "series", "window": "last 1s", "step": "100ms"},
    {"ask": "distribution", "key": "src", "quantiles": [0.5]},
    {"ask": "entropy", "key": "src"},
    {"ask": "distinct", "key": "src"},
    {"ask": "changes", "key": "src", "against": "last 1s"},
    {"ask": "spreaders", "key": "src"},
    {"ask": "count", "window": "2023-11-14T22:13:20Z/2023-11-14T22:14:20Z"},
    {"ask": "nonsense"},
]


async def use(root: Process, leaf: Process) -> None:
    """Use everything an agent can do."""
    await root.client.post("/", json={"type": "add leaf agent", "agent_addr": leaf.address})
    for page in PAGES:
        await root.client.get(page)
        await root.client.options(page)
    for message in MESSAGES:
        for agent in (root, leaf):
            await agent.client.post("/", json=message)
            await agent.client.post("/", data=message)
    for kind in ("text/plain; charset=utf-16", "multipart/form-data; boundary=x", "", "a/b;;=;"):
        for path in ("/", "/v1/questions", "/v1/tasks"):
            headers = {"Content-Type": kind, "Accept": "text/html;q=0.1", "Accept-Encoding": "br"}
            await root.client.post(path, content=b"\xff" * 70_000, headers=headers)
            await root.client.post(path, content=b"\xff{", headers=headers)
    for asked in ASKED:
        await root.client.post("/v1/questions", json=asked)
    await use_every_path(root)
    await use_streams(root)
    await raw(
        root.address, root.ports[0], b"\x16\x03\x01\x02\x00\x01\xfc", b"GET / HTTP/9.9\r\n\r\n"
    )
    await raw(root.address, root.ports[1], b"\xff" * 100, b"\x00\x00\x00\x01\xc1")
    await root.monitor.stop()
    await root.client.post("/v1/questions", json=ASKED[0])


async def use_every_path(root: Process) -> None:
    """Call every path of the interface with every method, good names and bad, and bad bodies."""
    document = json.loads((resources.files("netsonde.dashboard") / "openapi.json").read_text())
    for path in document["paths"]:
        if path.endswith("/stream"):
            continue
        for name in ("0", "a", "port_scan", "%00", "b%C3%BC"):
            where = path.partition("{")[0] + name if "{" in path else path
            for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "QUERY"):
                await root.client.request(method, where)
                await root.client.request(method, where, json={"filter": {}, "limit": 1})
            await root.client.get(where, params={"limit": "x", "detector": "y"})
    headers = {"If-Match": '"x"'}
    await root.client.put("/v1/tasks/0", json={"filter": {}}, headers=headers)


async def use_streams(root: Process) -> None:
    """Follow both kinds of stream, with webhooks of every kind that is told of an event."""

    async def follow(path: str, wanted: str, **params: str) -> None:
        async with root.client.stream("GET", path, params=params) as answer:
            async for line in answer.aiter_lines():
                if line.startswith(f"event: {wanted}"):
                    return

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        told.set()
        body = b"5\r\nhello\r\n0\r\n\r\n"
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://b\xfccher.example/\r\n"
            b"Content-Encoding: gzip\r\nContent-Type: text/plain; charset=utf-16\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )
        writer.close()

    told = asyncio.Event()
    receiver = await asyncio.start_server(reply, "127.0.0.1", 0)
    port = receiver.sockets[0].getsockname()[1]
    for number, url in enumerate(
        (
            f"http://127.0.0.1:{port}/",
            f"https://127.0.0.1:{port}/",
            f"http://localhost:{port}/",
            "http://b\u00fccher.example/",
            "http://[::1]:9/",
            "http://[fe80::1%25eth0]:9/",
            "http://xn--/",
        )
    ):
        await root.client.put(f"/v1/webhooks/w{number}", json={"url": url})
    following = asyncio.create_task(follow("/v1/events/stream", "event"))
    answered = follow("/v1/questions/stream", "answer", q='{"ask": "count"}', every="100ms")
    await answered
    number = 0
    while not (following.done() and told.is_set()):
        number += 1
        root.monitor.happen(event(root.address, number, wall_ns=time.time_ns()))
        await asyncio.sleep(POLL_S)
    async with asyncio.timeout(10):
        while True:
            hooks = (await root.client.get("/v1/webhooks")).json()["webhooks"]
            if not any(hook["waiting"] for hook in hooks if hook["name"] == "w0"):
                break
            await asyncio.sleep(POLL_S)
    receiver.close()


async def raw(address: str, port: int, *sent: bytes) -> None:
    for data in sent:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(data)
        writer.write_eof()
        await reader.read()
        writer.close()


def test_an_agent_needs_nothing_that_was_not_loaded_at_its_start() -> None:
    ports = free_port(), free_port()
    failed: list[str] = []

    async def keep(reply: httpx.Response) -> None:
        if reply.status_code == 500:
            failed.append(reply.url.path)

    async def story() -> None:
        async with AsyncExitStack() as stack:
            running = [await stack.enter_async_context(one.running()) for one in agents]
            for agent in running:
                agent.client.event_hooks = {"response": [keep]}
            await asyncio.wait_for(use(*running), 50)

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # pytest's own is closed to the user that an agent becomes
        agents = [Process(n, Path(name), ports, [sealed.__file__]) for n in (2, 3)]
        asyncio.run(story())
    said = [line for agent in agents for line in agent.said.splitlines()]
    assert {path.partition("/port_scan")[0] for path in failed} == {"/v1/detectors"}
    assert any("ZeroDivisionError" in line for line in said), "a failure was among what it did"
    assert [line for line in said if line.startswith(sealed.REFUSED)] == []
