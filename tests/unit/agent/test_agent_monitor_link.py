"""The link to the monitor comes back by itself, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from netsonde.agent import frames, monitor_link
from netsonde.agent.monitor_link import MAX_WAITING, SENT_AHEAD, MonitorLink
from netsonde.daemon.failures import Failures
from netsonde.model.errors import Busy, ProtocolError, Unavailable
from netsonde.model.evidence import Evidence
from netsonde.model.task import Filter, Question
from netsonde.model.window import Window
from netsonde.wire import monitor

WELCOME = monitor.Welcome(software="t", hook="t", since_tick=1)


def desired() -> monitor.Apply:
    return monitor.Apply(tasks=())


Story = Callable[
    [asyncio.Task[None], Callable[[], Awaitable[asyncio.StreamWriter]]], Awaitable[None]
]


def tell(path: Path, story: Story) -> None:
    """Run a story with a running link; its second argument waits for the next connection."""
    connected: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (WELCOME, monitor.Applied(tasks=0)):
            await frames.read(reader, monitor.REQUESTS)
            writer.write(monitor.REPLIES.encode(reply))
        await connected.put(writer)

    async def play() -> None:
        async with await asyncio.start_unix_server(serve, path), asyncio.timeout(20):
            link = MonitorLink(
                path=path, desired=desired, software="t", host="h", failures=Failures()
            )
            await story(asyncio.create_task(link.run()), connected.get)

    asyncio.run(play())


@pytest.mark.parametrize("turns", range(12))
def test_ends_while_the_monitor_goes_away(tmp_path: Path, turns: int) -> None:
    """Cancel the link a few turns of the loop after its connection broke."""

    async def story(running, connection) -> None:
        (await connection()).transport.abort()
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        assert done

    tell(tmp_path / "monitor.sock", story)


def test_comes_back_after_every_loss(tmp_path: Path) -> None:
    async def story(running, connection) -> None:
        for _ in range(3):
            (await connection()).transport.abort()
        running.cancel()
        await asyncio.wait([running])

    tell(tmp_path / "monitor.sock", story)


class Scripted:
    """A monitor that answers when the test says so."""

    def __init__(self, path: Path) -> None:
        self.link = MonitorLink(
            path=path, desired=desired, software="t", host="h", failures=Failures()
        )
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []
        self.connected: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_unix_server(self._take, self._path)
        self._running = asyncio.create_task(self.link.run())
        self.reader, self.writer = await self.connected.get()
        for reply in (WELCOME, monitor.Applied(tasks=0)):
            await self.read()
            self.tell(reply)
        while True:  # until the link has read that
            try:
                self.first = asyncio.create_task(self.link.status())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not self.first.done():
                    return self
                await self.first
            except Unavailable:
                continue

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, self.first, return_exceptions=True)
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await self.connected.put((reader, writer))

    async def read(self) -> monitor.Request:
        return await frames.read(self.reader, monitor.REQUESTS)

    def tell(self, reply: monitor.Reply) -> None:
        self.writer.write(monitor.REPLIES.encode(reply))


def told(part: bytes) -> monitor.Answer:
    evidence = Evidence(software={}, hooks={}, first_tick=1, last_tick=1)
    return monitor.Answer(part=part, evidence=evidence)


def about(port: int) -> Question:
    return Question(window=Window.last(10), filter=Filter(dport=str(port)), limit=1)


def with_script(path: Path, story: Callable[[Scripted], Awaitable[None]]) -> None:
    async def play() -> None:
        async with asyncio.timeout(20), Scripted(path / "monitor.sock") as scripted:
            await story(scripted)

    asyncio.run(play())


def test_sends_the_next_request_ahead_and_holds_back_the_others(tmp_path: Path) -> None:
    async def story(scripted: Scripted) -> None:
        asked = [asyncio.create_task(scripted.link.ask(about(port))) for port in (1, 2, 3)]
        assert isinstance(await scripted.read(), monitor.AskStatus)
        for port in range(1, SENT_AHEAD):
            assert await scripted.read() == monitor.Ask(question=about(port))
        scripted.tell(monitor.Failed(kind="Busy", reason="so there"))
        with pytest.raises(Busy, match="so there"):
            await scripted.first
        for port in (1, 2, 3):
            scripted.tell(told(b"%d" % port))
            if port + SENT_AHEAD - 1 <= 3:
                expected = monitor.Ask(question=about(port + SENT_AHEAD - 1))
                assert await scripted.read() == expected
        assert [(await one).part for one in asked] == [b"1", b"2", b"3"]

    with_script(tmp_path, story)


def test_who_asks_the_same_shares_what_is_not_sent_yet(tmp_path: Path) -> None:
    """What was sent may be answered from what was counted before the second one asked."""

    async def story(scripted: Scripted) -> None:
        asked = [asyncio.create_task(scripted.link.ask(about(port))) for port in (1, 1, 1, 2, 1)]
        gone = [asyncio.create_task(scripted.link.ask(about(port))) for port in (1, 3)]
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        scripted.tell(monitor.Failed(kind="Busy", reason="so there"))
        requests = [await scripted.read(), await scripted.read()]
        scripted.tell(told(b"sent"))
        requests.append(await scripted.read())
        scripted.tell(told(b"shared"))
        requests.append(await scripted.read())
        scripted.tell(told(b"other"))
        parts = [(await one).part for one in asked]
        assert parts == [b"sent", b"shared", b"shared", b"other", b"shared"]
        asks = [monitor.Ask(question=about(port)) for port in (1, 1, 2)]
        assert requests == [monitor.AskStatus(), *asks]
        with pytest.raises(Busy):
            await scripted.first

    with_script(tmp_path, story)


def test_refuses_more_than_may_wait(tmp_path: Path) -> None:
    async def story(scripted: Scripted) -> None:
        ports = range(1, MAX_WAITING + SENT_AHEAD)
        asked = [asyncio.create_task(scripted.link.ask(about(port))) for port in ports]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await scripted.link.ask(about(1000))
        same = [asyncio.create_task(scripted.link.ask(about(ports[-1]))) for _ in range(2000)]
        await asyncio.sleep(0)
        assert sum(one.done() for one in same) == 2000 - MAX_WAITING + 1
        scripted.writer.transport.abort()
        for one in (*asked, *same, scripted.first):
            with pytest.raises((Busy, Unavailable)):
                await one

    with_script(tmp_path, story)


def test_a_request_too_long_to_send_is_refused_alone(tmp_path: Path) -> None:
    async def story(scripted: Scripted) -> None:
        long = Question(window=Window.last(10), filter=Filter(dport="1," * (5 << 20)), limit=1)
        with pytest.raises(ProtocolError, match="over"):
            await scripted.link.ask(long)
        asked = asyncio.create_task(scripted.link.ask(about(1)))
        scripted.tell(monitor.Failed(kind="Busy", reason="so there"))
        scripted.tell(told(b"1"))
        assert (await asked).part == b"1"

    with_script(tmp_path, story)


@pytest.mark.parametrize(
    "noise",
    [
        monitor.REPLIES.encode(WELCOME) * (SENT_AHEAD + 1),
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xc1",
    ],
)
def test_a_monitor_that_talks_nonsense_is_connected_anew(tmp_path: Path, noise: bytes) -> None:
    async def story(scripted: Scripted) -> None:
        scripted.writer.write(noise)
        with pytest.raises((Unavailable, ProtocolError)):
            await scripted.first
        scripted.reader, scripted.writer = await scripted.connected.get()
        assert isinstance(await scripted.read(), monitor.Hello)

    with_script(tmp_path, story)


def test_a_monitor_that_is_silent_for_too_long_is_connected_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_link, "REPLY_S", 1.0)

    async def story(scripted: Scripted) -> None:
        with pytest.raises(Unavailable, match="monitor away"):
            await scripted.first
        scripted.reader, scripted.writer = await scripted.connected.get()
        assert isinstance(await scripted.read(), monitor.Hello)

    with_script(tmp_path, story)
