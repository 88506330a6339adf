"""An agent as a process of its own, with a monitor made of tables."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fleet import TableMonitor
from test_agent_metrics import STATUS

AGENT = ("-m", "netsonde.agent.daemon")


class Process:
    """One agent on a loopback address of its own."""

    def __init__(
        self,
        number: int,
        directory: Path,
        ports: tuple[int, int],
        program: Sequence[str] = AGENT,
    ) -> None:
        self.address, self.ports = f"127.0.0.{number}", ports
        self._program = program
        self.directory = directory / str(number)
        self.monitor = TableMonitor(directory / f"{number}.sock", {"src": {"127.0.0.9": 1}})
        self.monitor.status = STATUS
        self.said = ""
        """What it wrote to stderr, once it has ended."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        """Run it until the end of the block; it must then end by itself."""
        self.monitor.connected.clear()
        await self.monitor.start()
        self.monitor.path.chmod(0o777)
        agent = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._program,
            *("--listen", f"{self.address}:{self.ports[0]}", "--peer-port", str(self.ports[1])),
            *("--monitor-socket", str(self.monitor.path), "--state-dir", str(self.directory)),
            *("--probe-max-ms", "100", "--webhook-allow", "127.0.0.0/8"),
            stderr=asyncio.subprocess.PIPE,
        )
        self.pid = agent.pid
        connected = asyncio.create_task(self.monitor.connected.wait())
        ended = asyncio.create_task(agent.wait())
        try:
            await asyncio.wait({connected, ended}, return_when=asyncio.FIRST_COMPLETED)
            assert agent.returncode is None, (await agent.communicate())[1]
            base = f"http://{self.address}:{self.ports[0]}"
            async with httpx.AsyncClient(base_url=base, timeout=10, trust_env=False) as self.client:
                yield self
            agent.terminate()
            self.said = (await agent.communicate())[1].decode()
            assert agent.returncode == 0, self.said
        finally:
            connected.cancel()
            ended.cancel()
            if agent.returncode is None:
                agent.kill()
                self.said = (await agent.communicate())[1].decode()
            await self.monitor.stop()
