"""The link to the monitor ends when it is told to, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netsonde.agent import frames
from netsonde.agent.monitor_link import MonitorLink
from netsonde.wire import monitor


@pytest.mark.parametrize("turns", range(12))
def test_ends_while_the_monitor_goes_away(tmp_path: Path, turns: int) -> None:
    """Cancel the link a few turns of the loop after its connection broke."""
    path, welcome = tmp_path / "monitor.sock", monitor.Welcome(software="t", hook="t", since_tick=1)
    connected: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (welcome, monitor.Applied(tasks=0)):
            await frames.read(reader, monitor.REQUESTS)
            writer.write(monitor.REPLIES.encode(reply))
        await connected.put(writer)

    async def story() -> None:
        async with await asyncio.start_unix_server(serve, path):
            link = MonitorLink(path=path, desired=tuple, software="t")
            running = asyncio.create_task(link.run())
            writer = await asyncio.wait_for(connected.get(), 10)
            while link._away is not None:
                await asyncio.sleep(0)
            writer.transport.abort()
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            done, _ = await asyncio.wait([running], timeout=5)
            assert done

    asyncio.run(story())
