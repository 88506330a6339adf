"""Two probers in one process over loopback, and the control connection between them."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from netsonde.agent import probing
from netsonde.agent.probing import Prober
from netsonde.agent.probing_limits import Limits
from netsonde.wire import peer

SRC, DST, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
SHORT = Limits(max_ms=200)
"""An echo test of 20 probes."""
T = TypeVar("T")


def run(test: Coroutine[object, object, T]) -> T:
    """Run a test in bounded time, and see that its probers left no thread behind."""

    async def in_time() -> T:
        async with asyncio.timeout(20):
            return await test

    result = asyncio.run(in_time())
    for thread in threading.enumerate():
        if thread.name.startswith("probe"):
            thread.join(timeout=5)
            assert not thread.is_alive()
    return result


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@dataclass
class Pair:
    """A prober at each end and the control connection between them."""

    near: Prober
    far: Prober
    replies: list[peer.Message] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    detour: Callable[[int], Awaitable[int]] | None = None
    """Gives the port src is told instead of the receiver's own."""
    true_port: int = 0

    async def call(self, request: peer.Message) -> peer.Message:
        if isinstance(request, peer.ProbeOpen):
            opened = await self.far.open(request, SRC)
            self.true_port = opened.port
            if self.detour is not None:
                opened = msgspec.structs.replace(opened, port=await self.detour(opened.port))
            self.opened.set()
            reply: peer.Message = opened
        else:
            reply = await self.far.close(peer.ProbeClose(id=0, port=self.true_port), SRC)
        self.replies.append(reply)
        return reply

    @property
    def received(self) -> int:
        """What dst said at the end."""
        closed = self.replies[-1]
        assert isinstance(closed, peer.ProbeClosed)
        return closed.received


@contextlib.asynccontextmanager
async def pair(limits: Limits | None = None, far: Limits | None = None) -> AsyncIterator[Pair]:
    near_limits = limits or Limits()
    async with (
        Prober(address=SRC, limits=near_limits) as near_prober,
        Prober(address=DST, limits=far or near_limits) as far_prober,
    ):
        yield Pair(near=near_prober, far=far_prober)


def ask(kind: probing.Kind, max_ms: int = 1000, max_bytes: int = 100_000) -> peer.ProbeOpen:
    return peer.ProbeOpen(id=5, kind=kind, max_ms=max_ms, max_bytes=max_bytes)
