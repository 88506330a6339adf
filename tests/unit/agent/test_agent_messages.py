"""Every message of the prototype, asked of a network of three agents over HTTP."""

import ast
import asyncio
import contextlib

import pytest
from fleet import Fleet, with_fleet

from netsonde.agent import paths
from netsonde.agent.http import protocol, replies
from netsonde.agent.http.app import GREETING
from netsonde.model.coverage import Coverage
from netsonde.model.task import MAX_ID
from netsonde.model.window import REAL_TIME

TABLE = {"127.0.0.9": 2, "127.0.0.8": 6}


async def network(fleet: Fleet) -> tuple[str, ...]:
    """Root 2 over 3 over 4; gives their addresses."""
    agents = await fleet.start(2, 3, 4)
    for agent in agents:
        agent.monitor.tables = {"src": dict(TABLE), "src_dst": {"127.0.0.9,127.0.0.8": 5}}
        agent.monitor.totals = (8, 800)
    await agents[0].ask("add leaf agent", agent_addr="127.0.0.3")
    await agents[1].ask("add leaf agent", agent_addr="127.0.0.4")
    return tuple(agent.address for agent in agents)


@with_fleet
async def test_every_passive_message(fleet: Fleet) -> None:
    await network(fleet)
    root = fleet.agents[2]
    assert await root.ask("query leaf agents") == '["127.0.0.3"]'

    reply = await root.post(type="config sketch", interface="INPUT", proto="icmp", target="x")
    assert (reply.text, reply.headers["X-Netsonde-Coverage"]) == ("0", "3/3")
    assert await root.ask("config sketch", dst="10.0.0.0/24") == "1"
    counter = {"sketch_id": 0, "counter_key_type": "src"}
    said = await root.ask("config sketch counter", **counter, hitter_threshold=0.5)
    assert said == "sketch 0 counts packets by src"
    await root.ask("config sketch counter", sketch_id="0", counter_key_type="src_dst")

    reply = await root.post(type="query heavy hitters", **counter)
    assert ast.literal_eval(reply.text) == {"127.0.0.8": 18}
    assert reply.headers["X-Netsonde-Coverage"] == "3/3"
    assert reply.headers["X-Netsonde-Bounds"] == "exact"
    assert reply.headers["X-Netsonde-Window"] == "10-20"
    assert int(await root.ask("query sketch", **counter, counter_key="127.0.0.9")) == 6
    assert int(await root.ask("query sketch", **counter, counter_key="10.9.9.9")) == 0
    assert int(await root.ask("query sketch", **counter, counter_key="key_num")) == 2
    assert int(await root.ask("query sketch", **counter, counter_key="real_time_key_num")) == 2
    assert root.monitor.asked[-1].window == REAL_TIME
    real_time = ast.literal_eval(await root.ask("query real time counter", **counter))
    assert list(real_time.items()) == [("127.0.0.8", 18), ("127.0.0.9", 6)]
    pair = {"sketch_id": 0, "counter_key_type": "src_dst", "counter_key": "127.0.0.9,127.0.0.8"}
    assert int(await root.ask("query sketch", **pair)) == 15

    assert ast.literal_eval(await root.ask("config counter", proto="tcp")) == [24, 2400]
    assert ast.literal_eval(await root.ask("query counter", proto="tcp", target="x")) == [24, 2400]
    assert len([t for t in root.monitor.tasks if t.series == "counter"]) == 1
    await root.ask("config counter", proto="6")
    assert len([t for t in root.monitor.tasks if t.series == "counter"]) == 1


@with_fleet
async def test_scope_decides_between_one_host_and_the_subtree(fleet: Fleet) -> None:
    await network(fleet)
    root, inner = fleet.agents[2], fleet.agents[3]
    await root.ask("config sketch")
    counter = {"sketch_id": 0, "counter_key_type": "src"}
    await root.ask("config sketch counter", **counter)
    key = {**counter, "counter_key": "127.0.0.9"}
    assert await inner.ask("query sketch", **key) == "2"
    assert await inner.ask("query sketch", **key, scope="subtree") == "4"
    assert await root.ask("query sketch", **key, scope="host") == "2"
    assert await root.ask("query sketch", **key) == "6"


@with_fleet
async def test_a_host_s_own_tasks_have_ids_no_root_issues(fleet: Fleet) -> None:
    await network(fleet)
    root, inner, leaf = (fleet.agents[n] for n in (2, 3, 4))
    own = int(await inner.ask("config sketch"))
    assert own >= 1_000_000
    assert [t.id for t in inner.monitor.tasks] == [own]
    assert leaf.monitor.tasks == root.monitor.tasks == ()
    below = int(await inner.ask("config sketch", scope="subtree"))
    assert [t.id for t in leaf.monitor.tasks] == [below]
    assert await root.ask("config sketch") == "0"
    assert {t.id for t in inner.monitor.tasks} == {own, below, 0}
    refused = await inner.post(type="config sketch counter", sketch_id=0, counter_key_type="src")
    assert refused.status_code == 400
    assert "sketch_id" in refused.text


@with_fleet
async def test_form_and_json_say_the_same(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    form = {"type": "config sketch", "queue number": "1", "counter_key_type": "src"}
    assert (await agent.client.post("/", data=form)).text == "0"
    as_form = await agent.client.post(
        "/", content=b'{"type": "config sketch"}', headers={"Content-Type": "text/plain"}
    )
    assert as_form.status_code == 400
    bare = agent.client.build_request("POST", "/", content=b"type=config+sketch")
    assert "content-type" not in bare.headers
    assert (await agent.client.send(bare)).text == "1"


@with_fleet
async def test_active_measurements_run_from_src_whoever_is_asked(fleet: Fleet) -> None:
    await fleet.start(2, 3, 4)
    root = fleet.agents[2]
    paths = [("127.0.0.2", "127.0.0.3"), ("127.0.0.3", "127.0.0.4")]
    here, there, delay, jitter = await asyncio.gather(
        *(root.post(type="query loss", src=src, dst=dst, mode="x") for src, dst in paths),
        root.ask("query delay", src="127.0.0.4", dst="127.0.0.2"),
        root.ask("query jitter", src="127.0.0.4", dst="127.0.0.2"),
    )
    for reply in (here, there):
        assert (reply.status_code, reply.text) == (200, "0"), reply.text
        assert reply.headers["X-Netsonde-Coverage"] == "2/2"
        assert "received=100" in reply.headers["X-Netsonde-Probe"]
    assert float(delay) > 0
    assert float(jitter) >= 0
    assert float(await root.ask("query bw", src="127.0.0.4", dst="127.0.0.3")) > 1
    away = await root.post(type="query bw", src="127.0.0.4", dst="127.0.0.77")
    assert away.status_code == 503
    assert "127.0.0.77" in away.text


BAD = [
    ({"type": "query everything"}, 400, ("type", "query everything", "query heavy hitters")),
    ({"sketch_id": 0}, 400, ("type", "missing")),
    ({"type": "config sketch", "srcc": "10.0.0.1"}, 400, ("srcc", "10.0.0.1", "src, dst")),
    ({"type": "config sketch", "src": "10.0.0.1/24"}, 400, ("src", "10.0.0.1/24", "host bits")),
    ({"type": "config sketch", "src": 5}, 400, ("src", "5")),
    ({"type": "config sketch", "proto": "tpc"}, 400, ("proto", "tpc", "tcp")),
    ({"type": "config sketch", "interface": "eth/0"}, 400, ("interface", "eth/0", "device's name")),
    ({"type": "config sketch", "scope": "all"}, 400, ("scope", "all", "subtree")),
    ({"type": "config sketch counter", "counter_key_type": "src"}, 400, ("sketch_id", "missing")),
    (
        {"type": "config sketch counter", "sketch_id": 9, "counter_key_type": "src"},
        404,
        ("sketch_id", "9", "0"),
    ),
    (
        {"type": "config sketch counter", "sketch_id": 0, "counter_key_type": "srcdst"},
        400,
        ("counter_key_type", "srcdst", "dport"),
    ),
    (
        {
            "type": "config sketch counter",
            "sketch_id": 0,
            "counter_key_type": "dst",
            "hitter_threshold": "2",
        },
        400,
        ("hitter_threshold", "2", "0 to 1"),
    ),
    (
        {
            "type": "config sketch counter",
            "sketch_id": 0,
            "counter_key_type": "dst",
            "increment": "bits",
        },
        400,
        ("increment", "bits", "bytes"),
    ),
    (
        {
            "type": "config sketch counter",
            "sketch_id": 0,
            "counter_key_type": "src",
            "increment": "bytes",
        },
        400,
        ("counter_key_type", "src", "packets"),
    ),
    (
        {"type": "query heavy hitters", "sketch_id": "x", "counter_key_type": "src"},
        400,
        ("sketch_id", "x"),
    ),
    (
        {"type": "query heavy hitters", "sketch_id": 0, "counter_key_type": "dport"},
        404,
        ("counter_key_type", "dport", "src"),
    ),
    (
        {
            "type": "query sketch",
            "sketch_id": 0,
            "counter_key_type": "src",
            "counter_key": "10.0.0.1,10.0.0.2",
        },
        400,
        ("counter_key", "10.0.0.1,10.0.0.2", "1 value"),
    ),
    (
        {"type": "query heavy hitters", "sketch_id": MAX_ID + 1, "counter_key_type": "src"},
        400,
        ("sketch_id", f"0 to {MAX_ID}"),
    ),
    ({"type": "query bw", "src": "10.0.0.1"}, 400, ("dst", "missing")),
    ({"type": "query bw", "src": "10.0.0.1", "dst": "10.0.0.1"}, 400, ("dst", "another host")),
    ({"type": "query bw", "src": "10.0.0.0/8", "dst": "10.0.0.1"}, 400, ("src", "10.0.0.0/8")),
    ({"type": "query loss", "src": "224.0.0.1", "dst": "10.0.0.1"}, 400, ("src", "224.0.0.1")),
    ({"type": "query counter", "proto": "gre"}, 404, ("proto 47", "config counter")),
    ({"type": "add leaf agent", "agent_addr": "127.0.0.2"}, 400, ("agent_addr", "127.0.0.2")),
    ({"type": "add leaf agent", "agent_addr": "127.0.0.99"}, 503, ("127.0.0.99",)),
    ({"type": "add leaf agent", "agent_addr": "h5"}, 400, ("agent_addr", "h5")),
    ({"type": "remove leaf agent"}, 400, ("agent_addr", "missing")),
    ({"type": "remove leaf agent", "agent_addr": "h5"}, 400, ("agent_addr", "h5")),
    ({"type": "remove leaf agent", "agent_addr": "127.0.0.99"}, 404, ("127.0.0.99", "none")),
    ({"type": "leave parent"}, 400, ("leave parent", "has none")),
    ({"type": "leave parent", "agent_addr": "127.0.0.99"}, 400, ("agent_addr",)),
]


@with_fleet
async def test_bad_messages_get_a_sentence_and_change_nothing(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    await agent.ask("config sketch")
    await agent.ask("config sketch counter", sketch_id=0, counter_key_type="src")
    before = agent.monitor.tasks
    for fields, status, words in BAD:
        reply = await agent.post(**fields)
        assert reply.status_code == status, (fields, reply.text)
        assert all(word in reply.text for word in words), (fields, reply.text)
        assert "\n" not in reply.text
    assert agent.monitor.tasks == before
    assert await agent.ask("query leaf agents") == "[]"


@with_fleet
async def test_bad_bodies_get_a_sentence(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    json = {"Content-Type": "application/json"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cases = [
        (b"[1]", json, 400),
        (b'{"type": {"a": 1}}', json, 400),
        (b'{"type": ' + b"[" * 60_000, json, 400),
        (b"\xff\xfe", json, 400),
        (b"no form at all", form, 400),
        (b"type=a&type=b", form, 400),
        (b"", form, 400),
        (b"&".join(b"f%d=1" % i for i in range(40)), form, 400),
        (b'{"a":1' + b" " * 40 + b"}", {"Content-Type": "application/xml"}, 400),
        (b"type=" + b"x" * (64 << 10), form, 413),
        (b'{"type": "' + b"x" * (1 << 20) + b'"}', json, 413),
    ]
    for content, headers, status in cases:
        reply = await agent.client.post("/", content=content, headers=headers)
        assert reply.status_code == status, (content[:40], reply.text)
        assert "allowed: " in reply.text
        assert len(reply.text) < 700
    assert (await agent.client.get("/nowhere")).status_code == 404
    assert (await agent.client.put("/", content=b"x")).status_code == 405
    assert "POST" in (await agent.client.get("/")).text


@with_fleet
async def test_a_request_that_drips_is_cut_off(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "REQUEST_S", 0.1)
        (agent,) = await fleet.start(2)
        reader, writer = await asyncio.open_connection(agent.address, fleet.http_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n")
        await reader.readuntil(GREETING.encode())
        writer.write(b"GET / HT")
        assert await reader.read() == b"\n"
        writer.close()


@pytest.mark.parametrize("chunks", [3, 80])
def test_a_body_without_length_is_bounded_too(chunks: int, tmp_path: object) -> None:
    async def story(fleet: Fleet) -> None:
        (agent,) = await fleet.start(2)

        async def body():
            for _ in range(chunks):
                yield b"x" * 1024

        reply = await agent.client.post("/", content=body())
        assert reply.status_code == (413 if chunks > 64 else 400)

    with_fleet(story)(tmp_path)  # type: ignore[arg-type]


@with_fleet
async def test_only_so_many_measurements_run_at_a_time(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        writer.transport.abort()

    silent = await asyncio.start_server(says_nothing, "127.0.0.99", fleet.peer_port)
    path = {"type": "query delay", "src": agent.address, "dst": "127.0.0.99"}
    replies = await asyncio.gather(*(agent.post(**path) for _ in range(paths.MAX_PROBES + 2)))
    refused = [reply for reply in replies if "measurements are running" in reply.text]
    assert [reply.status_code for reply in refused] == [503, 503]
    assert all(reply.headers["Retry-After"] for reply in refused)
    silent.close()


def test_a_header_of_any_fleet_is_cut_to_its_limit() -> None:
    names = tuple(f"10.0.{n >> 8}.{n & 255}" for n in range(1000))
    told = Coverage(members=names, missing=dict.fromkeys(names, "away"))
    header = replies.listing(names, told).headers["X-Netsonde-Coverage"]
    assert len(header) == replies.MAX_HEADER_CHARS
    assert header.endswith(" ...")
