"""Events go to whoever watches, in order; a slow watcher loses the oldest and is told how many."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from counted import tick

from netsonde.daemon.failures import Failures
from netsonde.model.bound import Bound
from netsonde.model.detector import MAX_EVENTS, Event
from netsonde.monitor.alarms import MAX_WAITING, Alarms
from netsonde.monitor.budget import Budget
from netsonde.monitor.event_log import EventLog
from netsonde.monitor.pace import Pace
from netsonde.monitor.server import Server
from netsonde.monitor.socket_file import bind
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import View, Views
from netsonde.recorder.ring import Recorder
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER

BOOT = "5eed5eed"


def event(number: int, sentence: str = "") -> Event:
    return Event(
        id=f"a-host-{BOOT}-{number}",
        detector="scan",
        state="raised",
        host="a-host",
        key_type="src",
        key="10.0.0.6",
        count=Bound.exactly(number),
        peak=number,
        threshold=1,
        first_tick=1,
        last_tick=1,
        raised_tick=1,
        wall_ns=1,
        sentence=sentence,
    )


@pytest.mark.parametrize(
    ("after", "place"),
    [
        (f"a-host-{BOOT}-3", 3),
        (f"another-name-{BOOT}-2", 2),
        (f"a-host-{BOOT}-999", 5),
        ("a-host-0dd0ff5e-3", 0),
        (f"a-host-{BOOT}-x", 0),
        ("3", 0),
        ("", 0),
    ],
)
def test_an_id_of_this_boot_is_a_place(after: str, place: int) -> None:
    log = EventLog(BOOT)
    log.append([event(number) for number in range(1, 6)])
    assert log.place(after) == place


def test_the_oldest_give_way_and_are_counted() -> None:
    log = EventLog(BOOT)
    for number in range(1, MAX_EVENTS + 11):
        log.append([event(number)])
    place, dropped, numbers = 4, 0, []
    while True:
        events, gone, place = log.after(place)
        if not events:
            break
        dropped += gone
        numbers += [one.count.estimate for one in events]
    assert dropped == 6
    assert numbers == list(range(11, MAX_EVENTS + 11))
    assert log.after(place) == ([], 0, MAX_EVENTS + 10)


class Agent:
    """What an agent does on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: wire.Request) -> wire.Reply:
        self.writer.write(wire.REQUESTS.encode(request))
        return await self.next()

    async def next(self) -> wire.Reply:
        size = wire.REPLIES.body_bytes(await self.reader.readexactly(HEADER.size))
        return wire.REPLIES.decode(await self.reader.readexactly(size))


def serve(path: Path, story: Callable[[EventLog, Server, Callable], Awaitable[None]]) -> None:
    """Run a story beside a server; its last argument opens a connection and says hello."""

    agents: list[Agent] = []

    async def connect() -> Agent:
        agent = Agent(*await asyncio.open_unix_connection(path))
        agents.append(agent)
        assert isinstance(await agent.ask(wire.Hello(software="t")), wire.Welcome)
        return agent

    async def play() -> None:
        failures = Failures()
        alarms, tasks = Alarms(BOOT, failures), Tasks(Recorder(1 << 20))
        ticker = Ticker(None, None, tasks.absorb, Pace(1.0))
        server = Server(
            Views(View("t", tasks, ticker)),
            Upkeep(
                (tasks.work, alarms.work),
                ticker.charge,
                tasks.answering_ahead,
                budget=Budget(1.0),
                failures=failures,
            ),
            alarms,
            allowed_uids=frozenset({os.getuid()}),
            software="t",
            encapsulated="outer",
            monitor="",
            failures=failures,
        )
        listener = bind(path, os.getuid())
        listener.listen()
        running = asyncio.create_task(server.run(listener))
        async with asyncio.timeout(20):
            await story(alarms.log, server, connect)
        for agent in agents:
            agent.writer.close()
        # The server's conversations end by themselves.
        await asyncio.wait(asyncio.all_tasks() - {running, asyncio.current_task()})
        running.cancel()
        await asyncio.wait([running])
        listener.close()

    asyncio.run(play())


def test_events_come_as_they_are_raised(tmp_path: Path) -> None:
    async def story(log: EventLog, server: Server, connect: Callable) -> None:
        log.append([event(1)])
        agent = await connect()
        first = await agent.ask(wire.Watch())
        assert first == wire.Events(events=(event(1),))
        log.append([event(2), event(3)])
        assert await agent.next() == wire.Events(events=(event(2), event(3)))
        later = await connect()
        assert await later.ask(wire.Watch(after=event(2).id)) == wire.Events(events=(event(3),))
        current = await connect()
        assert await current.ask(wire.Watch(after=event(3).id)) == wire.Events(events=())

    serve(tmp_path / "m.sock", story)


def test_a_watcher_that_goes_away_frees_its_place(tmp_path: Path) -> None:
    async def story(log: EventLog, server: Server, connect: Callable) -> None:
        for _ in range(20):  # more than the server takes at a time
            agent = await connect()
            assert await agent.ask(wire.Watch()) == wire.Events(events=())
            agent.writer.close()
            await agent.writer.wait_closed()

    serve(tmp_path / "m.sock", story)


def test_a_slow_watcher_loses_the_oldest(tmp_path: Path) -> None:
    async def story(log: EventLog, server: Server, connect: Callable) -> None:
        agent = await connect()
        assert await agent.ask(wire.Watch()) == wire.Events(events=())
        for number in range(1, 20_001):
            log.append([event(number, "x" * 200)])
            if number % 100 == 0:
                await asyncio.sleep(0)
        seen, dropped = 0, 0
        while seen + dropped < 20_000:
            frame = await agent.next()
            dropped += frame.dropped
            for one in frame.events:
                seen += 1
                assert one.count.estimate == seen + dropped
        assert dropped > 0
        assert seen >= MAX_EVENTS

    serve(tmp_path / "m.sock", story)


def test_detectors_that_fall_behind_are_waited_for() -> None:
    alarms = Alarms(BOOT, Failures())
    for number in range(2 * MAX_WAITING):
        alarms.absorb(tick(number, 1))
    assert len(alarms._waiting) == MAX_WAITING
    alarms.catch_up()
    assert not alarms._waiting
