"""What is fuzzed: daemons that listen, each input on a connection of its own.

Each target runs for real, on loopback and unix sockets: whole agents with their HTTP server, a
monitor's server over tables in memory. Only the kernel is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import zstandard
from fleet import Agent, Fleet, TableMonitor, event, series_of, summary_of
from target import Target
from test_agent_metrics import STATUS

from netsonde.agent import monitor_link
from netsonde.model.coverage import Coverage
from netsonde.model.errors import NetsondeError
from netsonde.model.evidence import Evidence
from netsonde.model.task import Filter, Question, Task
from netsonde.model.window import Window
from netsonde.sketch import part
from netsonde.wire import monitor, peer
from netsonde.wire.frame import HEADER

PATIENCE_S = 10.0
OWN, STRANGER = "127.0.0.2", "127.0.0.3"


class _OfAgent(Target):
    async def start(self) -> None:
        self.fleet = Fleet(self.directory)
        (self.agent,) = await self.fleet.start(2)
        self.agent.monitor.status = STATUS

    async def exchange(self, port: int, sent: bytes, enough: Callable[[bytes], bool]) -> bytes:
        """Send on a new connection; gives what comes until it is enough, or the end."""
        reader, writer = await asyncio.open_connection(OWN, port, local_addr=(STRANGER, 0))
        came = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(sent)
                while not enough(came) and (data := await reader.read(1 << 16)):
                    came += data
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return came


def _never(_: bytes) -> bool:
    return False


_ROUTES: tuple[tuple[str, str], ...] = (
    ("POST", "/"),
    ("POST", "/v1/questions"),
    ("POST", "/v1/tasks"),
    ("PUT", "/v1/tasks/1"),
    ("PUT", "/v1/detectors/fuzz"),
    ("PUT", "/v1/webhooks/fuzz"),
)


class HttpBody(_OfAgent):
    """Bodies of every route that takes one; the first byte says which."""

    decode = staticmethod(msgspec.json.decode)
    encode = staticmethod(msgspec.json.encode)
    head_bytes = 1
    seeds = (
        b'0{"type":"config sketch","proto":"tcp","src":"10.0.0.0/24"}',
        b'0{"type":"query sketch","sketch_id":1,"counter_key_type":"src","counter_key":"key_num"}',
        b'0{"type":"query delay","src":"127.0.0.2","dst":"127.0.0.9"}',
        b'1{"ask":"top","by":"src_dst","k":9,"window":"last 1s","filter":{"proto":6,"dport":1}}',
        b'1{"ask":"change","by":"dst","against":"before","window":"last 100ms"}',
        b'1{"ask":"series","step":"1s","window":"last 10s"}',
        b'1{"ask":"distribution","by":"sport","quantiles":[0.5]}',
        b'2{"filter":{"src":"10.0.0.1"},"counters":[{"by":"src","increment":"bytes"}]}',
        b'3{"filter":{"flow":"attempt"},"counters":[],"scope":"host"}',
        b'4{"measure":"count","by":"src","threshold":5,"window":"5s","sentence":"{key}"}',
        b'5{"url":"http://192.0.2.1/","detectors":["port_scan"]}',
    )

    async def take(self, data: bytes) -> None:
        method, path = _ROUTES[(data[0] if data else 0) % len(_ROUTES)]
        body = data[1:]
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {OWN}\r\nConnection: close\r\nIf-Match: *\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        came = await self.exchange(self.fleet.http_port, head.encode() + body, _never)
        _check_status(came)


class HttpQuery(_OfAgent):
    """Query strings and paths of every route that is read."""

    decode = staticmethod(lambda data: data.decode().split("&"))
    encode = staticmethod(lambda parts: "&".join(map(str, parts)).encode())
    seeds = (
        b"events?after=x&limit=10&detector=port_scan&state=raised",
        b"questions/stream?q=%7B%22ask%22:%22count%22%7D&every=1s",
        b"tasks?x=1",
        b"tasks/1",
        b"host",
        b"members",
        b"events/stream",
    )

    async def take(self, data: bytes) -> None:
        path = bytes(one for one in data if one > 32)[:4000]
        request = b"GET /v1/" + path + b" HTTP/1.1\r\nHost: " + OWN.encode() + b"\r\n\r\n"
        came = await self.exchange(self.fleet.http_port, request, bool)
        _check_status(came)


class HttpBytes(_OfAgent):
    """Whatever bytes, as a connection brings them."""

    seeds = (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n" * 2,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\na=b",
        b"HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.2\r\nOrigin: null\r\n\r\n",
    )

    async def take(self, data: bytes) -> None:
        _, writer = await asyncio.open_connection(
            OWN, self.fleet.http_port, local_addr=(STRANGER, 0)
        )
        writer.write(data)
        writer.write_eof()
        await asyncio.sleep(0)
        writer.transport.abort()
        # Somebody else is answered still.
        request = f"GET / HTTP/1.1\r\nHost: {OWN}\r\nConnection: close\r\n\r\n".encode()
        came = await self.exchange(self.fleet.http_port, request, _never)
        assert came.startswith(b"HTTP/1.1 200"), came[:200]


def _check_status(came: bytes) -> None:
    if came:
        status = int(came.split(b" ", 2)[1])
        assert status < 500 or status in (502, 503), came[:500]


_EVIDENCE = Evidence(software={"x": 1}, hooks={"tables": ()}, first_tick=1, last_tick=2, packets=3)
_ABOUT = Question(filter=Filter(), key_type="src", window=Window.last(1))
_STEPS = Question(filter=Filter(), window=Window.range(10, 20), step_ticks=1)
_TASK = Task(series="sketch", id=1, filter=Filter(), since_tick=10)
_PART = summary_of(_TASK, _ABOUT, {"10.0.0.1": 3, "10.0.0.9": 1}, (4, 400)).to_bytes()


class PeerFrame(_OfAgent):
    """Frames that another agent sends, after a greeting in order."""

    seeds = tuple(
        msgspec.msgpack.encode(one)
        for one in (
            peer.Adopt(id=1, path=(STRANGER,), tasks=(), budget_ms=100),
            peer.Adopt(
                id=1,
                path=(STRANGER,),
                tasks=(_TASK,),
                budget_ms=100,
            ),
            peer.Query(id=2, question=_ABOUT, budget_ms=100),
            peer.ProbeRun(id=3, kind="echo", src=OWN, dst=STRANGER),
            peer.ProbeOpen(id=4, kind="throughput", max_ms=100, max_bytes=1000),
            peer.ProbeClose(id=5, port=1),
            peer.Hello(software="x", address=STRANGER),
        )
    )

    async def take(self, data: bytes) -> None:
        hello = peer.MESSAGES.encode(peer.Hello(software="x", address=STRANGER))
        frame = HEADER.pack(len(data)) + data
        await self.exchange(self.fleet.peer_port, hello + frame, _has_reply)


def _has_reply(came: bytes) -> bool:
    """Tell whether a frame begins behind the greeting."""
    return len(came) > HEADER.size + int.from_bytes(came[: HEADER.size], "little")


class ChildFrame(_OfAgent):
    """Frames that a child sends to its parent, in reply to being adopted and asked."""

    seeds = tuple(
        msgspec.msgpack.encode(one)
        for one in (
            peer.Adopted(id=1, subtree=(STRANGER,), coverage=Coverage.of(STRANGER)),
            peer.Partial(
                id=2,
                subtree=(STRANGER,),
                coverage=Coverage.of(STRANGER),
                part=_PART,
                evidence=_EVIDENCE,
                wall_ns=1,
                held_ns=1,
            ),
            peer.Happened(id=0, events=(event(STRANGER, 1),), dropped=0),
            peer.Refused(id=1, kind="Busy", reason="x"),
        )
    )

    async def start(self) -> None:
        await super().start()
        self._data = b""
        self._adopted = False
        self._server = await asyncio.start_server(self._serve, STRANGER, self.fleet.peer_port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a child: adopted in order, then whatever the input says, in reply to a question."""
        try:
            writer.write(peer.MESSAGES.encode(peer.Hello(software="x", address=STRANGER)))
            while True:
                size = peer.MESSAGES.body_bytes(await reader.readexactly(HEADER.size))
                asked = peer.MESSAGES.decode(await reader.readexactly(size))
                if isinstance(asked, peer.Adopt):
                    adopted = peer.Adopted(
                        id=asked.id, subtree=(STRANGER,), coverage=Coverage.of(STRANGER)
                    )
                    writer.write(peer.MESSAGES.encode(adopted))
                    self._adopted = True
                elif isinstance(asked, peer.Query):
                    writer.write(_answering(self._data, asked.id))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._adopted = False
            writer.close()

    async def take(self, data: bytes) -> None:
        self._data = data
        if not self._adopted:
            await self.agent.post(type="add leaf agent", agent_addr=STRANGER)
        await _check_question(self.agent)


def _answering(data: bytes, number: int) -> bytes:
    """Make an input a frame that replies to a request, where it is a message at all."""
    try:
        message = msgspec.msgpack.decode(data)
        message["id"] = number if message.get("id") else 0
        data = msgspec.msgpack.encode(message)
    except (msgspec.DecodeError, TypeError, AttributeError, RecursionError, ValueError):
        pass
    return HEADER.pack(len(data)) + data


class _Odd(TableMonitor):
    """Greets and applies in order, and answers questions with whatever it is given."""

    frame = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        applied = False
        try:
            while True:
                size = monitor.REQUESTS.body_bytes(await reader.readexactly(HEADER.size))
                request = monitor.REQUESTS.decode(await reader.readexactly(size))
                applied = applied or isinstance(request, monitor.Apply)
                if isinstance(request, monitor.Watch) and not self.frame:
                    self._watched(request, writer)
                    continue
                odd = isinstance(request, monitor.Ask | monitor.Watch) and self.frame
                writer.write(self.frame if odd else monitor.REPLIES.encode(self._reply(request)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if applied:
                self.connected.clear()
            writer.close()


class MonitorReply(_OfAgent):
    """Frames that a monitor sends to its agent, in reply to a question or to `Watch`."""

    seeds = tuple(
        msgspec.msgpack.encode(one)
        for one in (
            monitor.Welcome(software="x", hook="tables", since_tick=1),
            monitor.Applied(tasks=0),
            monitor.Answer(part=_PART, evidence=_EVIDENCE),
            monitor.Events(events=(event(OWN, 1),)),
            monitor.Failed(kind="Busy", reason="x"),
        )
    )

    async def start(self) -> None:
        monitor_link.FIRST_PAUSE_S = monitor_link.LAST_PAUSE_S = 0.0
        self.fleet = Fleet(self.directory)
        agent = self.fleet.agents[2] = Agent(self.fleet, 2)
        agent.monitor = _Odd(agent.monitor.path, {})
        agent.monitor.status = STATUS
        await agent.monitor.start()
        await agent.start()
        self.agent, self.odd = agent, agent.monitor

    async def take(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.odd.connected.wait()
        self.odd.frame = HEADER.pack(len(data)) + data
        await _check_question(self.agent)


class PartBytes(Target):
    """A part of an answer: read, and merged with itself."""

    seeds = (_PART, series_of(_STEPS, 5).to_bytes())

    @staticmethod
    def decode(data: bytes) -> Any:
        found = msgspec.msgpack.decode(data)
        packs = {key: zstandard.decompress(value) for key, value in found.items() if _packed(value)}
        return [found | packs, list(packs)]

    @staticmethod
    def encode(node: Any) -> bytes:
        found, packs = node
        compressed = {key: zstandard.compress(found[key]) for key in packs if key in found}
        return msgspec.msgpack.encode(found | compressed)

    async def start(self) -> None:
        """Be ready at once."""

    async def take(self, data: bytes) -> None:
        with suppress(NetsondeError):
            one = part.read(data)
            part.merged([one, one], 10).to_bytes()


def _packed(value: object) -> bool:
    return isinstance(value, bytes) and value.startswith(b"\x28\xb5\x2f\xfd")


async def _check_question(agent: Agent) -> None:
    asked = {"ask": "top", "by": "src", "window": "last 1s"}
    reply = await agent.client.post("/v1/questions", json=asked)
    assert reply.status_code < 500 or reply.status_code in (502, 503), reply.text


TARGETS: dict[str, type[Target]] = {
    "http-body": HttpBody,
    "http-query": HttpQuery,
    "http-bytes": HttpBytes,
    "peer-frame": PeerFrame,
    "child-frame": ChildFrame,
    "monitor-reply": MonitorReply,
    "part": PartBytes,
}
