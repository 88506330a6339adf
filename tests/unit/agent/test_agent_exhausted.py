"""A host that has no descriptor, no thread or no memory to give: what asked fails, the agent lives.

The limits are the kernel's own, set while it runs and taken back.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import exhausted
import httpx
from fleet import POLL_S, event, free_port
from process import Process

from netsonde.agent import questions

PATH = {"src": "127.0.0.2", "dst": "127.0.0.3"}
MANY = {f"10.{n >> 8}.{n & 255}.1": 1 for n in range(questions.MOST_KEYS_AT_ONCE + 1)}


LIMITS = {"NOFILE": "Max open files", "NPROC": "Max processes", "AS": "Max address space"}


@asynccontextmanager
async def without(what: str, *processes: Process) -> AsyncIterator[None]:
    """Let processes have no more of a resource for a while."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        for process in processes:
            before = limit(process, what)
            os.kill(process.pid, number)
            async with asyncio.timeout(10):
                while limit(process, what) == before:
                    await asyncio.sleep(POLL_S)
        if number == signal.SIGUSR1:
            yield


def limit(process: Process, what: str) -> str:
    """Read a limit of a process."""
    lines = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(LIMITS[what]))


def story(what: str, use: Callable[[Process, Process], Awaitable[None]]) -> list[str]:
    """Run a story about a root over one child; gives what both wrote."""
    ports, program = (free_port(), free_port()), [exhausted.__file__, what]

    async def run() -> None:
        async with agents[0].running(), agents[1].running():
            reply = await post(agents[0], type="add leaf agent", agent_addr=PATH["dst"])
            assert reply.status_code == 200, reply.text
            await asyncio.wait_for(use(*agents), 50)

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        agents = [Process(number, Path(name), ports, program) for number in (2, 3)]
        asyncio.run(run())
    return [line for agent in agents for line in agent.said.splitlines()]


COVERAGE = "X-Netsonde-Coverage"


async def post(agent: Process, **fields: object) -> httpx.Response:
    return await agent.client.post("/", json=fields)


async def asked(agent: Process, **question: object) -> None:
    """Ask until it is answered."""
    async with asyncio.timeout(20):
        while (await agent.client.post("/v1/questions", json=question)).status_code != 200:
            await asyncio.sleep(POLL_S)


async def answers(agent: Process, **fields: object) -> None:
    """Ask until it is answered."""
    async with asyncio.timeout(20):
        while (await post(agent, **fields)).status_code != 200:
            await asyncio.sleep(POLL_S)


def test_no_descriptor_is_a_sentence_to_who_needs_one() -> None:
    async def use(root: Process, child: Process) -> None:
        await root.client.put("/v1/webhooks/w", json={"url": "http://127.0.0.1:9/"})
        await root.client.get("/")  # so that the connection stands
        async with without("NOFILE", root):
            for kind in ("delay", "bw"):
                reply = await post(root, type=f"query {kind}", **PATH)
                assert (reply.status_code, "oo many open files" in reply.text) == (503, True), (
                    reply.text
                )
            back = {"src": PATH["dst"], "dst": PATH["src"]}
            assert (await post(child, type="query delay", **back)).status_code == 503
            reply = await post(root, type="add leaf agent", agent_addr=child.address)
            assert (reply.status_code, "oo many open files" in reply.text) == (503, True), (
                reply.text
            )
            root.monitor.happen(event(root.address, 1, wall_ns=time.time_ns()))
            await root.monitor.stop()
            await root.monitor.start()
            root.monitor.path.chmod(0o777)
            assert (await root.client.get("/v1/host")).status_code == 503
        await answers(root, type="query delay", **PATH)
        await answers(root, type="config counter")
        async with asyncio.timeout(20):  # the child is dialled again after a pause
            while (await post(root, type="query counter")).headers.get(COVERAGE) != "2/2":
                await asyncio.sleep(POLL_S)

    assert not any("Traceback" in line for line in story("NOFILE", use))


def test_no_thread_is_a_sentence_to_who_needs_one() -> None:
    async def use(root: Process, child: Process) -> None:
        root.monitor.tables = {"src": MANY}
        keys = {"ask": "keys", "by": "src"}
        async with without("NPROC", root):
            reply = await root.client.post("/v1/questions", json=keys)
            assert (reply.status_code, "no thread" in reply.text) == (503, True), reply.text
            for path in (PATH, {"src": PATH["dst"], "dst": PATH["src"]}):
                reply = await post(root, type="query bw", **path)
                assert (reply.status_code, "no thread" in reply.text) == (503, True), reply.text
            await answers(root, type="query delay", **PATH)
        await asked(root, **keys)
        for path in (PATH, {"src": PATH["dst"], "dst": PATH["src"]}):
            await answers(root, type="query bw", **path)

    story("NPROC", use)


def test_an_agent_starts_where_there_is_no_thread() -> None:
    async def use(root: Process, child: Process) -> None:
        for agent in (root, child):
            await answers(agent, type="config counter")

    assert not any("Traceback" in line for line in story("NPROC!", use))


def test_no_memory_is_a_sentence_to_who_needs_it() -> None:
    async def use(root: Process, child: Process) -> None:
        root.monitor.tables = {"src": {f"10.{n >> 8}.{n & 255}.1": 1 for n in range(60_000)}}
        keys = {"ask": "keys", "by": "src"}
        await root.client.get("/")
        async with without("AS", root):
            for _ in range(5):  # one may be late on a busy machine before it is short of memory
                reply = await root.client.post("/v1/questions", json=keys)
                assert reply.status_code in (500, 503), reply.text
        await asked(root, **keys)
        text = (await root.client.get("/metrics")).text
        assert ',type="MemoryError"}' in text

    story("AS", use)
