"""Every part of an agent fails at every wait, and it costs that part alone, for a while."""

import asyncio
import itertools
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from faults import Fault, called, part
from fleet import POLL_S, Agent, Fleet, event, with_fleet
from prometheus_client.parser import text_string_to_metric_families
from test_agent_metrics import STATUS
from test_agent_webhooks import Receiver

from netsonde.agent import child, event_flow, metrics, monitor_link, webhooks
from netsonde.daemon import supervisor

KINDS = {
    "child": part("child"),
    "reading": called("Connection.read"),
    "monitor": part("monitor"),
    "events": part("events"),
    "parent": part("parent"),
    "webhook": part("webhook"),
    "peers": part("peers"),
    "peer": called("PeerServer._serve"),
    "request": called("PeerServer._answer"),
    "idling": called("PeerServer._end_when_idle"),
    "member": called("carried_out.<locals>.one"),
    "message": called("RequestResponseCycle.run_asgi"),
    "stream": called("ASGIStreamingResponse._stream"),
    "door": called("BaseEventLoop.connect_accepted_socket"),
    "http": part("http"),
    "serving": called("Server.serve"),
}
TYPES = [
    ValueError,
    LookupError,
    lambda said: UnicodeDecodeError("idna", b"", 0, 1, said),
    OSError,
    MemoryError,
    RecursionError,
    RuntimeError,
    lambda said: ExceptionGroup(said, [KeyError(said)]),
]
SKETCH = {"sketch_id": 0, "counter_key_type": "src"}
KEY = {**SKETCH, "counter_key": "127.0.0.9"}


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of tests are short, and every scrape is made anew."""
    for module in (supervisor, child, event_flow, monitor_link, webhooks):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(module, "LAST_PAUSE_S", 0.02)
    monkeypatch.setattr(child, "REFUSED_PAUSE_S", 0.02)
    monkeypatch.setattr(metrics, "SHARED_S", 0.0)


class World:
    """A root over one child, each with a monitor, and a webhook at the root."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.fault = Fault(KINDS)
        self.numbers = itertools.count(1)

    @asynccontextmanager
    async def begun(self) -> AsyncIterator["World"]:
        self.fault.install()
        self.fleet.probe_max_ms = 100
        self.root, self.leaf = await self.fleet.start(2, 3)
        for agent in (self.root, self.leaf):
            agent.monitor.status = STATUS
            agent.monitor.tables = {"src": {"127.0.0.9": 1}}
        await self.root.ask("add leaf agent", agent_addr=self.leaf.address)
        await self.root.ask("config sketch")
        await self.root.ask("config sketch counter", **SKETCH)
        async with Receiver() as self.receiver:
            hook = {"url": self.receiver.url}
            await self.root.client.put("/v1/webhooks/mine", json=hook)
            yield self

    async def failures(self) -> Tally[tuple[str, str]]:
        """Tell what failed so far in both agents.

        Not what asyncio forgot, of which an exception out of its middle may make some.
        """
        found: Tally[tuple[str, str]] = Tally()
        for agent in (self.root, self.leaf):
            text = (await agent.client.get("/metrics")).text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == "netsonde_failures_total":
                        found[(sample.labels["part"], sample.labels["type"])] += int(sample.value)
        return Tally({at: n for at, n in found.items() if at[0] != "loop"})

    async def both_answer(self) -> None:
        for agent in (self.root, self.leaf):
            assert (await agent.client.get("/")).status_code == 200

    async def asked(self) -> None:
        """Ask the fleet; both hosts must be in the answer."""
        reply = await self.root.post(type="query sketch", **KEY)
        assert (reply.text, reply.headers.get("X-Netsonde-Coverage")) == ("2", "2/2")

    async def connected_anew(self) -> None:
        """Let the root dial its child again, and the child be adopted."""
        reply = await self.root.post(type="add leaf agent", agent_addr=self.leaf.address)
        assert reply.status_code == 200, reply.text
        await self.asked()

    async def monitored_anew(self) -> None:
        """Restart the root's monitor; it must be asked again, and tell its events."""
        await self.root.monitor.stop()
        self.root.monitor.connected.clear()
        await self.root.monitor.start()
        await asyncio.wait_for(self.root.monitor.connected.wait(), 1)
        await self.asked()

    async def happened(self, agent: Agent) -> None:
        """Let something happen that the root must have, and its webhook be told."""
        number = next(self.numbers)
        said = f"this is number {number}"
        agent.monitor.happen(event(agent.address, number, wall_ns=time.time_ns(), sentence=said))
        async with asyncio.timeout(1):
            while said not in [body["sentence"] for body in self.receiver.bodies]:
                await asyncio.sleep(POLL_S)

    async def watched_anew(self) -> None:
        await self.monitored_anew()
        await self.happened(self.root)

    async def told(self) -> None:
        await self.happened(self.leaf)

    async def streamed(self) -> None:
        """Follow a question and the events for a while, and leave."""
        params = {"q": '{"ask": "count"}', "every": "100ms"}
        asking = self.root.client.stream("GET", "/v1/questions/stream", params=params)
        following = self.root.client.stream("GET", "/v1/events/stream")
        async with asyncio.timeout(2), asking as questions, following as events:
            answered, told = questions.aiter_lines(), events.aiter_lines()
            assert await anext(told) == ": netsonde"
            self.root.monitor.happen(event(self.root.address, next(self.numbers)))
            for lines, kind in ((answered, "answer"), (told, "event"), (answered, "answer")):
                while (line := await anext(lines, "event: end")) != f"event: {kind}":
                    assert not line.startswith("event: "), line

    async def measured(self) -> None:
        """Measure the path between them."""
        path = {"src": self.root.address, "dst": self.leaf.address}
        for kind in ("delay", "bw"):
            assert (await self.root.post(type=f"query {kind}", **path)).status_code == 200

    async def entered(self) -> None:
        """Ask by a connection of its own."""
        reader, writer = await asyncio.open_connection(self.root.address, self.fleet.http_port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.2\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()

    async def served_anew(self) -> None:
        await self.both_answer()
        await self.connected_anew()


async def until(works: Callable[[], Awaitable[None]]) -> None:
    """Try until it works."""
    async with asyncio.timeout(10):
        while True:
            with suppress(AssertionError, TimeoutError, httpx.TransportError):
                await works()
                return
            await asyncio.sleep(POLL_S)


@dataclass(frozen=True)
class Searched:
    """What makes tasks of a kind wait, and what is known of its failures."""

    once: Callable[[World], Awaitable[None]]
    counted_as: str
    """Its part; `loop` where nobody waits for it, and the loop notes it once it is forgotten."""
    foreseen: tuple[type[Exception], ...] = ()
    """Types that it knows, and need not count."""
    kind: str = ""
    every: bool = True
    """False where most waits are one: then the first, the second, the third, the fifth, ..."""
    first: int = 1
    """0 where the kind is there always: then the wait under way is the first to raise."""

    def waits(self) -> Iterator[int]:
        """Give the waits at which it fails, one after the other."""
        wait, more = self.first, 1
        while True:
            yield wait
            wait, more = wait + (1 if self.every else more), wait


SEARCHED = {
    "child": Searched(World.connected_anew, "child", (OSError,), first=0),
    "reading": Searched(World.connected_anew, "child", (OSError,), first=0),
    "monitor": Searched(World.monitored_anew, "monitor", (OSError,), first=0),
    "events": Searched(World.watched_anew, "events", (OSError,), first=0),
    "parent": Searched(World.told, "parent", (), first=0),
    "webhook": Searched(World.told, "webhook", (OSError, ValueError), first=0),
    "peers": Searched(World.served_anew, "peers", (), first=0),
    "peer": Searched(World.connected_anew, "peer", (OSError,), first=0),
    "request": Searched(World.connected_anew, "answer"),
    "idling": Searched(World.connected_anew, "peer", (OSError,)),
    "member": Searched(World.asked, "answer"),
    "message": Searched(World.asked, "answer"),
    "http": Searched(World.served_anew, "http", (), first=0),
    "door": Searched(World.entered, "loop"),
    "stream": Searched(World.streamed, "stream"),
    "probe": Searched(World.measured, "answer", (OSError, ValueError), kind="message", every=False),
    "serving": Searched(World.served_anew, "http", (), first=0),
}


@pytest.mark.parametrize("kind", SEARCHED)
def test_a_part_that_fails_at_any_wait_is_counted_and_comes_back(kind: str, tmp_path: Path) -> None:
    @with_fleet
    async def story(fleet: Fleet) -> None:
        async with World(fleet).begun() as world:
            searched = SEARCHED[kind]
            once = partial(searched.once, world)
            await until(once)
            for wait in searched.waits():
                before = await world.failures()
                error = TYPES[wait % len(TYPES)]("from a wait")
                world.fault.arm(searched.kind or kind, wait, error)
                with suppress(AssertionError, TimeoutError, httpx.TransportError):
                    await once()
                if not world.fault.disarm():
                    break
                await until(world.both_answer)
                await until(once)
                after = await world.failures()
                new = {at: n - before[at] for at, n in after.items() if n != before[at]}
                leaf = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                told = {(searched.counted_as, type(leaf).__name__): 1}
                not_yet = isinstance(error, searched.foreseen) or searched.counted_as == "loop"
                assert new == told or (not_yet and not new), wait
            assert wait > searched.first
            assert world.fault.unknown == set(), "parts that nobody searches"

    story(tmp_path)
