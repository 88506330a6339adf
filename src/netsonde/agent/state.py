"""What an agent keeps on disk, so that it comes back with its tasks and its place in the tree.

The one idea: the file is replaced whole or not at all, and one that cannot be read is set aside,
never guessed at.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from netsonde.model.detector import Choice, Name
from netsonde.model.errors import NetsondeError, ProtocolError, Unavailable
from netsonde.model.resource import Webhook
from netsonde.model.task import Task
from netsonde.overlay.checks import check_detectors, check_tasks
from netsonde.overlay.tasks import Book, OwnTask
from netsonde.overlay.tree import MAX_CHILDREN

SCHEMA = 1
MAX_STATE_BYTES = 16 << 20

log = structlog.get_logger()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's memory."""

    schema: int = SCHEMA
    own: tuple[OwnTask, ...] = ()
    inherited: tuple[Task, ...] = ()
    own_detectors: tuple[Choice, ...] = ()
    inherited_detectors: tuple[Choice, ...] = ()
    webhooks: dict[Name, Webhook] = {}
    path: tuple[str, ...] = ()
    """Addresses from the root to the parent."""
    children: dict[str, tuple[str, ...]] = {}
    """Child -> everyone at and below it."""

    @property
    def book(self) -> Book:
        """The tasks as a book."""
        return Book(
            own=self.own,
            inherited=self.inherited,
            own_detectors=self.own_detectors,
            inherited_detectors=self.inherited_detectors,
        )


class StateFile:
    """The file `agent.json` in the state directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "agent.json"
        self._last = b""

    def load(self) -> State:
        """Read the state; without a file, and after setting a bad one aside, it is empty."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise Unavailable(f"the state file {self._path} cannot be read: {error}") from None
        try:
            state = _decode(data)
        except NetsondeError as error:
            aside = self._path.with_suffix(".bad")
            self._path.replace(aside)
            log.error("state set aside, starting empty", file=str(aside), reason=str(error))
            return State()
        self._last = data
        return state

    def save(self, state: State) -> None:
        """Replace the file if the state has changed; raises Unavailable and leaves the old one."""
        data = msgspec.json.encode(state)
        if data == self._last:
            return
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise Unavailable(f"the state file {self._path} cannot be written: {error}") from None
        self._last = data


def _decode(data: bytes) -> State:
    if len(data) > MAX_STATE_BYTES:
        raise ProtocolError(f"{len(data)} bytes are over {MAX_STATE_BYTES}")
    try:
        state = msgspec.json.decode(data, type=State)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from None
    if state.schema != SCHEMA:
        raise ProtocolError(f"schema {state.schema} is not {SCHEMA}")
    if len(state.children) > MAX_CHILDREN:
        raise ProtocolError(f"{len(state.children)} children are over {MAX_CHILDREN}")
    check_tasks(state.book.all())
    check_detectors(state.book.detectors(()))
    return state
