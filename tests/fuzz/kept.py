"""What is fuzzed of what daemons keep: files read at a start."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import msgspec
from counted import NOW, gap, kept_of_five, restored, tick
from target import Target

from netsonde.agent import state
from netsonde.agent.state import State, StateFile
from netsonde.daemon.files import Directory
from netsonde.model.errors import NetsondeError
from netsonde.model.resource import Webhook
from netsonde.model.task import Filter, Task
from netsonde.monitor.keep import KeptFile
from netsonde.overlay.tasks import OwnTask

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


TARGETS: dict[str, type[Target]] = {"state": StateBytes, "kept": KeptBytes}
