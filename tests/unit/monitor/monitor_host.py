"""A monitor without a kernel: a table in memory, real ticks, upkeep, detectors and socket."""

from __future__ import annotations

import asyncio
import os
import secrets
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from packets import Flow, packet

from netsonde.daemon.failures import Failures
from netsonde.daemon.supervisor import Supervisor
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.budget import Budget
from netsonde.monitor.pace import Pace
from netsonde.monitor.server import Server
from netsonde.monitor.socket_file import bind
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.monitor.ticker import Ticker
from netsonde.monitor.upkeep import Upkeep
from netsonde.monitor.views import View, Views, reader_of
from netsonde.recorder.ring import Recorder
from netsonde.sketch import _abi, _core
from netsonde.wire import monitor as wire
from netsonde.wire.frame import HEADER

LG_BUCKETS = 4
PACKET = packet(Flow("10.0.0.6", "10.0.0.5", 1000, 53, 17), 20)


class Table:
    """A flow table in memory, written by the test."""

    hook = "memory"
    cpus = 1
    lg_buckets = LG_BUCKETS
    notebook = None
    sample_shift = _abi.SAMPLE_SHIFT_LEAST

    def __init__(self) -> None:
        self.hash_key = tuple(secrets.randbits(64) for _ in range(8))
        self.table = _core.FlowTable(
            struct.pack("<8Q", *self.hash_key), LG_BUCKETS, self.sample_shift
        )
        self.hot, self.cold, self.slices = self.table.buffers()

    def refresh(self) -> None:
        pass

    def is_untouched(self) -> bool:
        return False

    def flip(self) -> int:
        return self.table.flip(self.sample_shift)

    def count(self, packets: int, direction: int = _abi.IN) -> None:
        for _ in range(packets):
            self.table.count(PACKET, direction)


class Agent:
    """What talks to the server's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: wire.Request) -> wire.Reply:
        self.writer.write(wire.REQUESTS.encode(request))
        return await self.next()

    async def ask_raw(self, body: bytes) -> wire.Reply:
        self.writer.write(HEADER.pack(len(body)) + body)
        return await self.next()

    async def next(self) -> wire.Reply:
        size = wire.REPLIES.body_bytes(await self.reader.readexactly(HEADER.size))
        return wire.REPLIES.decode(await self.reader.readexactly(size))

    async def is_closed(self) -> bool:
        """Wait for the end of the connection."""
        with suppress(ConnectionResetError):
            return await self.reader.read() == b""
        return True


class Host:
    """The parts of a monitor, and a socket to ask it by."""

    def __init__(self, path: Path, *, share: float = 1.0, ticking: bool = True) -> None:
        self.path, self.ticking = path, ticking
        self.failures = Failures()
        self.table = Table()
        self.tasks = Tasks(Recorder(1 << 20), failures=self.failures)
        self.alarms = Alarms("b00t", self.failures)
        self.ticker = Ticker(self.table, reader_of(self.table), self._absorb, Pace(1.0))
        self.budget = Budget(share)
        self.upkeep = Upkeep(
            (self.tasks.work, self.alarms.work),
            self.ticker.charge,
            self.tasks.answering_ahead,
            budget=self.budget,
            failures=self.failures,
        )
        self.views = Views(View("memory", self.tasks, self.ticker))
        self.server = Server(
            self.views,
            self.upkeep,
            self.alarms,
            allowed_uids=frozenset({os.getuid()}),
            software="t",
            encapsulated="outer",
            monitor="0f" * 16,
            failures=self.failures,
        )
        self.agents: list[Agent] = []

    def _absorb(self, closed: Closed) -> None:
        self.tasks.absorb(closed)
        self.alarms.absorb(closed.tick)
        self.upkeep.wake()

    async def connect(self, host: str = "") -> Agent:
        """Open a connection, and greet."""
        agent = await self.open()
        assert isinstance(await agent.ask(wire.Hello(software="t", host=host)), wire.Welcome)
        return agent

    async def open(self) -> Agent:
        agent = Agent(*await asyncio.open_unix_connection(self.path))
        self.agents.append(agent)
        return agent

    async def play(self, story: Callable[[Host], Awaitable[None]]) -> None:
        with bind(self.path, os.getuid()) as listener:
            listener.listen()
            parts = Supervisor(self.failures)
            parts.start("server", lambda: self.server.run(listener))
            parts.start("upkeep", self.upkeep.run)
            if self.ticking:
                parts.start("ticks", self.ticker.run)
            try:
                async with asyncio.timeout(60):
                    await story(self)
            finally:
                for agent in self.agents:
                    agent.writer.close()
                await parts.close()
                await asyncio.sleep(0)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                if others:
                    await asyncio.wait(others, timeout=5)


def serving(
    path: Path,
    story: Callable[[Host], Awaitable[None]],
    *,
    share: float = 1.0,
    ticking: bool = True,
) -> Host:
    """Run a story beside a monitor; gives the monitor."""

    async def run() -> Host:
        host = Host(path / "m.sock", share=share, ticking=ticking)
        await host.play(story)
        return host

    return asyncio.run(run())
