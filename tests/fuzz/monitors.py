"""What is fuzzed of a monitor, and of what daemons keep: files read at a start."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import msgspec
from counted import NOW, gap, kept_of_five, restored, tick
from monitor_host import Host
from target import Target

from netsonde.agent import state
from netsonde.agent.state import State, StateFile
from netsonde.daemon.files import Directory
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.detectors import BUILTIN
from netsonde.model.errors import NetsondeError
from netsonde.model.resource import Webhook
from netsonde.model.task import Filter, Question, Task
from netsonde.model.window import REAL_TIME, Window
from netsonde.monitor.keep import KeptFile
from netsonde.monitor.socket_file import bind
from netsonde.overlay.tasks import OwnTask
from netsonde.wire import monitor as wire

_TASK = Task(series="sketch", id=1, filter=Filter(), since_tick=10)


class _File(Target):
    """A file of a directory."""

    name: str

    async def start(self) -> None:
        """Be ready at once."""

    def opened(self, data: bytes) -> Directory:
        """Give the directory with the input as its file."""
        (self.directory / self.name).write_bytes(data)
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        return Directory(descriptor, str(self.directory))


class StateBytes(_File):
    """The agent's state: loaded, and what is loaded is kept again."""

    name = state.FILE
    decode = staticmethod(msgspec.json.decode)
    encode = staticmethod(msgspec.json.encode)
    seeds = (
        msgspec.json.encode(
            State(
                own=(OwnTask(task=_TASK, scope="subtree"),),
                webhooks={"a": Webhook(url="http://192.0.2.1/")},
                path=("10.0.0.2",),
                children={"10.0.0.4": ("10.0.0.4", "10.0.0.5")},
            )
        ),
    )

    async def take(self, data: bytes) -> None:
        """Load it as an agent does."""
        with self.opened(data) as directory, suppress(NetsondeError):
            file = StateFile(directory)
            file.save(file.load())


class KeptBytes(_File):
    """The monitor's counts: loaded, gone on with, and kept again."""

    name = "monitor.kept"
    seeds = (msgspec.msgpack.encode(kept_of_five()),)

    async def take(self, data: bytes) -> None:
        """Load it as a monitor does."""
        with self.opened(data) as directory, suppress(NetsondeError):
            found: Any = KeptFile(directory).load()
            if found is not None:
                restored(found, gap(NOW + 10, tick(NOW + 60, 20, source=2)), NOW + 60).kept(1)


class MonitorFrame(Target):
    """Frames that an agent sends to its monitor, after a greeting in order."""

    seeds = tuple(
        msgspec.msgpack.encode(one)
        for one in (
            wire.Apply(tasks=(_TASK,), detectors=BUILTIN[:1]),
            wire.Ask(question=Question(filter=Filter(), key_type="src", window=Window.last(1))),
            wire.Ask(question=Question(filter=Filter(), window=REAL_TIME)),
            wire.Ask(question=Question(filter=Filter(), window=Window.range(1, 20), step_ticks=1)),
            wire.AskStatus(),
            wire.Watch(after="x"),
            wire.Hello(software="x"),
        )
    )

    async def start(self) -> None:
        """Count, and serve the socket."""
        self._host = Host(self.directory / "m.sock")
        listener = bind(self._host.path, os.getuid())
        listener.listen()
        parts = self._parts = Supervisor(self._host.failures)
        parts.start("server", lambda: self._host.server.run(listener))
        parts.start("upkeep", self._host.upkeep.run)
        parts.start("ticks", self._host.ticker.run)

    async def take(self, data: bytes) -> None:
        """Send it on a connection of its own, and wait for the reply or the end."""
        self._host.table.count(1)
        agent = await self._host.connect()
        try:
            async with asyncio.timeout(10):
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    reply = await agent.ask_raw(data)
                    assert getattr(reply, "kind", "") != "Unforeseen", reply
        finally:
            agent.writer.transport.abort()
            self._host.agents.clear()


TARGETS: dict[str, type[Target]] = {
    "state": StateBytes,
    "kept": KeptBytes,
    "monitor-frame": MonitorFrame,
}
