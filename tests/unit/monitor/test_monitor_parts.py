"""The parts of a monitor: each fails alone, but for the ticks of the host's own hook."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from monitor_host import Table

from netsonde.model.errors import Unavailable
from netsonde.monitor import parts
from netsonde.monitor.keep import KeptFile
from netsonde.monitor.parts import Monitor, Shares
from netsonde.monitor.socket_file import bind


class Counting(Table):
    """A counting path whose flips fail from some number on."""

    adopted = False
    pin_fault = None

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.flips, self.fails_at = 0, fails_at

    def flip(self) -> int:
        self.flips += 1
        if self.fails_at is not None and self.flips >= self.fails_at:
            raise OSError(5, "the kernel refuses")
        return super().flip()


def monitor_of(path: Counting) -> Monitor:
    opened = SimpleNamespace(path=path, refused={}, stale_filters=0, unpinned=False)
    shares = Shares(recorder_bytes=1 << 20, ticks=1.0, answers=1.0)
    return Monitor(opened, {}, KeptFile(None), shares)


async def run(monitor: Monitor, directory: Path) -> None:
    listener = bind(directory / "m.sock", os.getuid())
    await monitor.run(
        listener, allowed_uids=frozenset(), encapsulated="outer", socket_path="m.sock"
    )


def test_the_end_of_the_host_s_own_ticks_is_the_monitor_s(tmp_path: Path) -> None:
    async def story() -> None:
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable, match=r"counting has ended.*the kernel refuses"):
                await run(monitor_of(Counting(fails_at=3)), tmp_path)

    asyncio.run(story())


def test_every_other_part_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []

    def failing(name: str) -> object:
        async def part(*_: object) -> None:
            failed.append(name)
            raise RuntimeError(name)

        return part

    monkeypatch.setattr(parts.Upkeep, "run", failing("upkeep"))
    monkeypatch.setattr(parts.Server, "run", failing("server"))
    monkeypatch.setattr(parts.Monitor, "_keep_up", failing("keeping"))
    monkeypatch.setattr(parts, "_give_back", failing("memory"))

    async def story() -> None:
        path = Counting()
        running = asyncio.create_task(run(monitor_of(path), tmp_path))
        async with asyncio.timeout(20):
            while min(map(failed.count, ("upkeep", "server", "keeping", "memory"))) < 2:
                await asyncio.sleep(0.01)
            flips = path.flips
            while path.flips < flips + 3:
                await asyncio.sleep(0.01)
        assert not running.done()
        os.kill(os.getpid(), parts.signal.SIGTERM)
        await running

    asyncio.run(story())
