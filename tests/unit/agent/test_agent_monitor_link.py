"""The link to the monitor comes back by itself, and ends when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from netsonde.agent import frames
from netsonde.agent.monitor_link import MonitorLink
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
            link = MonitorLink(path=path, desired=desired, software="t", host="h")
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
