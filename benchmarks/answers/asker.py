"""Asks some questions again and again at a rate, at random, and says how long each answer took.

Run as a program in the network namespace of the host that is asked: `asker http URL COUNT RATE` or
`asker monitor SOCKET COUNT RATE`; prints
`{"took_ms": [...], "seconds": ...}`. A question is due at its time whether
or not the one before was answered in time, and its wait counts (no coordinated omission). What
reading an answer takes the asker does not.
"""

from __future__ import annotations

import asyncio
import json
import random
import selectors
import sys
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from netsonde.model.task import Filter, Question
from netsonde.model.window import Window
from netsonde.wire import monitor
from netsonde.wire.frame import HEADER, SCHEMA

CONNECTIONS = 4
_KEY_TYPES = ("src_dst", "src", "dport", "src/24", "src_dst_sport_dport_proto")
_BODIES = [
    *({"ask": "top", "by": by, "window": "last 1s"} for by in _KEY_TYPES),
    {"ask": "top", "by": "src", "window": "last 1s", "filter": {"proto": "udp", "sport": 1024}},
]
_QUESTIONS = [
    *(Question(key_type=by, window=Window.last(10), limit=1000) for by in _KEY_TYPES),
    Question(
        key_type="src",
        window=Window.last(10),
        limit=1000,
        filter=Filter(proto=17, sport="1024"),
    ),
]

Ask = Callable[[int], Awaitable[float]]
"""Asks question number n; gives when its answer had come, by the monotonic clock in s."""


async def over_http(url: str) -> Ask:
    """Open a connection that asks `POST /v1/questions`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def ask(number: int) -> float:
        body = json.dumps(_BODIES[number % len(_BODIES)])
        head = f"POST /v1/questions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answer_head = await reader.readuntil(b"\r\n\r\n")
        lines = answer_head.decode().lower().split("\r\n")
        size = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        answer = await reader.readexactly(size)
        came_s = time.monotonic()
        if " 200 " not in lines[0] and not lines[0].endswith("200 ok"):
            raise RuntimeError(f"{lines[0]}: {answer!r:.300}")
        return came_s

    return ask


async def of_monitor(path: str) -> Ask:
    """Open a connection to the monitor's socket."""
    reader, writer = await asyncio.open_unix_connection(path)

    async def receive() -> bytes:
        (size,) = HEADER.unpack(await reader.readexactly(HEADER.size))
        return await reader.readexactly(size)

    async def ask(number: int) -> float:
        question = _QUESTIONS[number % len(_QUESTIONS)]
        writer.write(monitor.REQUESTS.encode(monitor.Ask(question=question)))
        answer, came_s = await receive(), time.monotonic()
        reply = monitor.REPLIES.decode(answer)
        if not isinstance(reply, monitor.Answer):
            raise RuntimeError(f"{reply!r:.300}")
        return came_s

    writer.write(monitor.REQUESTS.encode(monitor.Hello(schema=SCHEMA, software="benchmark")))
    await receive()
    return ask


async def run(kind: str, where: str, count: int, rate: float) -> list[float]:
    """Ask `count` questions, `rate` a second on average, over a few connections; give ms each."""
    connect = over_http if kind == "http" else of_monitor
    free: asyncio.Queue[Ask] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await connect(where))
    took_ms: list[float] = []

    async def one(number: int, due_s: float) -> None:
        ask = await free.get()
        took_ms.append((await ask(number) - due_s) * 1000)
        free.put_nowait(ask)

    due_s, draw = time.monotonic(), random.Random(1)
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due_s += draw.expovariate(rate)  # else they would keep step with the ticks
            await asyncio.sleep(max(0, due_s - time.monotonic()))
            group.create_task(one(number, due_s))
    return took_ms


def precise() -> asyncio.SelectorEventLoop:
    """Give a loop that wakes by the microsecond: epoll's rounds up to a millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    _, kind, where, count, rate = sys.argv
    begin_s = time.monotonic()
    with asyncio.Runner(loop_factory=precise) as runner:
        took_ms = runner.run(run(kind, where, int(count), float(rate)))
    print(json.dumps({"took_ms": took_ms, "seconds": time.monotonic() - begin_s}))
