"""A fleet for tests: whole agents on loopback addresses, each with a monitor made of tables.

Agents run as `netsonde-agent` composes them; only the process and the kernel data path are left
out. `kill` ends one as SIGKILL would: its connections break, it says nothing.
"""

import asyncio
import functools
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import numpy as np

from netsonde.agent import main
from netsonde.daemon import rights
from netsonde.model.bound import Bound
from netsonde.model.coverage import Refusal
from netsonde.model.detector import Detector, Event
from netsonde.model.errors import BadField
from netsonde.model.evidence import Evidence
from netsonde.model.key import KeyType
from netsonde.model.task import Question, Task
from netsonde.overlay.events import identified
from netsonde.sketch.part import Part
from netsonde.sketch.series import Series
from netsonde.sketch.summary import KEY_DTYPE, Summary
from netsonde.wire import monitor
from netsonde.wire.frame import HEADER

DEADLINE_S = 30
POLL_S = 0.01


def free_port() -> int:
    """Give a port that nobody listens on and that no connection is given by the kernel."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.2", port)):
            return port


class TableMonitor:
    """A monitor that counts nothing: for each key type it holds the counts it is asked for."""

    def __init__(self, path: Path, tables: dict[str, dict[str, int]]) -> None:
        self.path = path
        self.tables = tables
        self.totals = (0, 0)
        self.schema = 1
        self.devices: tuple[str, ...] = ()
        """Those it views; it tells the same of them as of the host."""
        self.late_ticks = 0
        self.missed_ticks = 0
        self.id = secrets.token_hex(16)
        self.status: monitor.Status | None = None
        self.refusal: monitor.Failed | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.connected = asyncio.Event()
        """Set once an agent has applied its tasks."""
        self.tasks: tuple[Task, ...] = ()
        self.detectors: tuple[Detector, ...] = ()
        self.names: list[str] = []
        """As which hosts agents have greeted."""
        self.happened: list[Event] = []
        self._watchers: list[asyncio.StreamWriter] = []
        self.asked: list[Question] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._watchers.clear()
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                size = monitor.REQUESTS.body_bytes(await reader.readexactly(HEADER.size))
                request = monitor.REQUESTS.decode(await reader.readexactly(size))
                await self.answering.wait()
                if isinstance(request, monitor.Watch):
                    self._watched(request, writer)
                    continue
                writer.write(monitor.REPLIES.encode(self._reply(request)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def happen(self, *events: Event) -> None:
        """Tell the agent of events."""
        self.happened += events
        for writer in self._watchers:
            writer.write(monitor.REPLIES.encode(monitor.Events(events=events)))

    def _watched(self, watch: monitor.Watch, writer: asyncio.StreamWriter) -> None:
        known = [event.id for event in self.happened]
        begin = known.index(watch.after) + 1 if watch.after in known else 0
        events = monitor.Events(events=tuple(self.happened[begin:]))
        writer.write(monitor.REPLIES.encode(events))
        self._watchers.append(writer)

    def _reply(self, request: monitor.Request) -> monitor.Reply:
        if isinstance(request, monitor.Hello):
            self.names.append(request.host)
            return monitor.Welcome(schema=self.schema, software="test", hook="tables", since_tick=0)
        if self.refusal:
            return self.refusal
        if isinstance(request, monitor.Apply):
            self.tasks, self.detectors = request.tasks, request.detectors
            self.connected.set()
            return monitor.Applied(tasks=len(self.tasks))
        if isinstance(request, monitor.AskStatus):
            return self.status or monitor.Failed(kind="Busy", reason="no status")
        assert isinstance(request, monitor.Ask)
        self.asked.append(request.question)
        return self._answer(request.question)

    def _answer(self, question: Question) -> monitor.Reply:
        task = Task(series="sketch", id=-1, filter=question.filter, since_tick=10)
        if question.series is not None:
            refs = {task.ref: task for task in self.tasks}
            if (question.series, question.task_id) not in refs:
                return monitor.Failed(kind="NotFound", reason=f"no {question.series} here")
            task = refs[question.series, question.task_id]
        device = task.filter.device
        if device is not None and device not in self.devices:
            bad = BadField("interface", device, f"INPUT, {', '.join(self.devices) or 'no device'}")
            return monitor.Failed(kind="BadField", reason=str(bad), refusal=Refusal.of(bad))
        table = self.tables.get(question.key_type or "", {})
        part: Part = summary_of(task, question, table, self.totals)
        if question.step_ticks:
            part = series_of(question, self.totals[0])
        evidence = Evidence(
            software={"test": 1},
            hooks={"tables": ()},
            first_tick=task.since_tick + self.late_ticks,
            last_tick=task.since_tick + self.late_ticks,
            packets=self.totals[0],
            missed_ticks=self.missed_ticks,
            monitor=self.id,
        )
        return monitor.Answer(part=part.to_bytes(), evidence=evidence)


def summary_of(
    task: Task, question: Question, table: dict[str, int], totals: tuple[int, int]
) -> Summary:
    kind = KeyType.parse(question.key_type or "src")
    if question.key is not None:
        wanted = kind.format(question.key)
        table = {key: count for key, count in table.items() if key == wanted}
    keys = [kind.parse_key(key) for key in table]
    counts = np.array(list(table.values()), np.int64)
    counter = task.counter(kind.name)
    share = counter.hitter_threshold if counter else 1.0
    return Summary(
        fingerprint=f"{task.filter}{kind.name}{question.window}",
        total_packets=Bound.exactly(totals[0]),
        total_bytes=Bound.exactly(totals[1]),
        keys=np.array([np.void(key) for key in keys], KEY_DTYPE),
        lower=counts,
        estimate=counts,
        upper=counts,
        heavy=counts > share * counts.sum(),
        absent_upper=0,
        distinct=Bound.exactly(len(keys)),
        first_tick=10,
        last_tick=20,
    )


def series_of(question: Question, count: int) -> Series:
    """Give the same count in every step."""
    window = question.window
    ticks = np.arange(window.first_tick, window.last_tick + 1, question.step_ticks, dtype=np.int64)
    counts = np.full(len(ticks), count, np.int64)
    return Series(
        fingerprint=f"{question.filter}{question.window}",
        step_ticks=question.step_ticks,
        first_ticks=ticks,
        lower=counts,
        estimate=counts,
        upper=counts,
        counted=np.ones(len(ticks), np.bool_),
        hosts=np.ones(len(ticks), np.int64),
    )


def event(host: str, number: int, **changes: object) -> Event:
    """Give an alarm of a host."""
    alarm = Event(
        id=f"{host}-boot-{number}",
        detector="port_scan",
        state="raised",
        host=host,
        key_type="src",
        key="127.0.0.9",
        count=Bound.exactly(100),
        peak=100,
        threshold=50,
        first_tick=1,
        last_tick=50,
        raised_tick=50,
        wall_ns=1_700_000_000_000_000_000,
        sentence="127.0.0.9 contacted 100 ports",
    )
    return msgspec.structs.replace(alarm, **changes)


def id_of(host: str, number: int, **changes: object) -> str:
    """Give the id that agents give to that event."""
    return identified(event(host, number, **changes)).id


class Agent:
    """One running agent."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        self.address = f"127.0.0.{number}"
        self.directory = fleet.directory / str(number)
        self.directory.mkdir()
        self.parent = ""
        """Its setting."""
        self.monitor = TableMonitor(self.directory / "m.sock", {})
        self._fleet = fleet
        self.client = httpx.AsyncClient(
            base_url=f"http://{self.address}:{fleet.http_port}", timeout=10, trust_env=False
        )

    async def start(self, *, monitored: bool = True) -> None:
        if monitored:
            self.monitor.connected.clear()
        config = main.Settings(
            listen=f"{self.address}:{self._fleet.http_port}",
            peer_port=self._fleet.peer_port,
            monitor_socket=str(self.monitor.path),
            state_dir=str(self.directory),
            webhook_allow=("127.0.0.0/8",),
            query_deadline_ms=self._fleet.query_deadline_ms,
            probe_max_ms=self._fleet.probe_max_ms,
            parent=self.parent,
        )
        at = main.place(config)
        self._task = asyncio.create_task(self._serve(config, at))
        greeted = asyncio.create_task(self.client.get("/"))
        await asyncio.wait({greeted, self._task}, return_when=asyncio.FIRST_COMPLETED)
        assert not self._task.done(), self._task.exception()
        await greeted
        if monitored:
            await self.monitor.connected.wait()

    async def _serve(self, config: main.Settings, at: main.Place) -> None:
        listeners = main.listen(at)
        with listeners.http, listeners.peers:
            with_state = functools.partial(main.prepare, config.state_dir, rights.own())
            await main.serve(config, at.own, listeners, with_state)

    async def until(self, holds: Callable[[httpx.Response], bool], **fields: object) -> None:
        """Send a message until its reply is as wanted."""
        async with asyncio.timeout(10):
            while not holds(await self.post(**fields)):
                await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def post(self, **fields: object) -> httpx.Response:
        return await self.client.post("/", json=fields)

    async def ask(self, kind: str, **fields: object) -> str:
        reply = await self.post(type=kind, **fields)
        assert reply.status_code == 200, reply.text
        return reply.text


class Fleet:
    """Agents of one test, by the last part of their address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http_port, self.peer_port = free_port(), free_port()
        self.query_deadline_ms = 1000
        self.probe_max_ms = main.Settings().probe_max_ms
        self.agents: dict[int, Agent] = {}

    async def start(self, *numbers: int, monitored: bool = True) -> list[Agent]:
        """Start agents; with their monitors connected unless told otherwise."""
        for number in numbers:
            agent = self.agents[number] = Agent(self, number)
            if monitored:
                await agent.monitor.start()
            await agent.start(monitored=monitored)
        return [self.agents[number] for number in numbers]

    async def stop(self) -> None:
        await asyncio.gather(*(agent.kill() for agent in self.agents.values()))
        for agent in self.agents.values():
            await agent.client.aclose()
            if hasattr(agent.monitor, "_server"):
                await agent.monitor.stop()


def with_fleet(story: Callable[[Fleet], Awaitable[None]]) -> Callable[[Path], None]:
    """Make a test of a story about a fleet."""

    @functools.wraps(story, assigned=("__name__", "__doc__", "__module__"), updated=())
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            fleet = Fleet(tmp_path)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await story(fleet)
            finally:
                await fleet.stop()

        asyncio.run(run())

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would look for its parameters
    return test
