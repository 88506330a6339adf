"""What an agent keeps on disk, so that it comes back with its tasks and its place in the tree.

The one idea: nothing is lost in silence. The file is replaced whole or not at all; an entry in it
that cannot be used is set aside in a file of its own while the others load; and a file that cannot
be read at all ends the agent with a sentence and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta

from netsonde.agent.webhooks import MAX_WEBHOOKS
from netsonde.daemon.files import Directory
from netsonde.model import address
from netsonde.model.checks import check_choices, check_tasks
from netsonde.model.coverage import MAX_DEPTH, MAX_MEMBERS, Members
from netsonde.model.detector import MAX_DETECTORS, Choice, Name
from netsonde.model.errors import BadField, NetsondeError, Unavailable
from netsonde.model.resource import Webhook
from netsonde.model.task import MAX_TASKS, Task
from netsonde.model.text import AddressText
from netsonde.overlay.tasks import Book, OwnTask
from netsonde.overlay.tree import MAX_CHILDREN, MAX_LEFT
from netsonde.wire.frame import Schema
from netsonde.wire.peer import MAX_REMOVED

SCHEMA = 1
MAX_STATE_BYTES = 16 << 20
MAX_ASIDE = 4
"""Files of entries set aside; the oldest gives way."""
MAX_BAD = 1000
"""Entries that are set aside one by one; a file with more is no agent's."""
LOCK = "agent.lock"
FILE = "agent.json"
KEEPS = (FILE, LOCK, "agent.bad")
"""What may be there from an agent that was another user: `nobody`, or one without an account."""
_STEM = "agent"
_MAX_SHOWN = 8
_FORESEEN = (NetsondeError, msgspec.DecodeError, ValueError, TypeError, RecursionError)
"""What an entry may cause."""

log = structlog.get_logger()
_T = TypeVar("_T")


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's memory."""

    schema: Schema = SCHEMA
    own: Annotated[tuple[OwnTask, ...], Meta(max_length=MAX_TASKS)] = ()
    inherited: Annotated[tuple[Task, ...], Meta(max_length=MAX_TASKS)] = ()
    own_detectors: Annotated[tuple[Choice, ...], Meta(max_length=MAX_DETECTORS)] = ()
    inherited_detectors: Annotated[tuple[Choice, ...], Meta(max_length=MAX_DETECTORS)] = ()
    webhooks: Annotated[dict[Name, Webhook], Meta(max_length=MAX_WEBHOOKS)] = {}
    path: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_DEPTH)] = ()
    """Addresses from the root to the parent."""
    children: Annotated[dict[AddressText, Members], Meta(max_length=MAX_CHILDREN)] = {}
    """Child -> everyone at and below it."""
    removed: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_REMOVED)] = ()
    """Who was removed from the subtree on purpose, latest last."""
    left: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_LEFT)] = ()
    """Former parents that were left."""

    @property
    def book(self) -> Book:
        """The tasks as a book."""
        return Book(
            own=self.own,
            inherited=self.inherited,
            own_detectors=self.own_detectors,
            inherited_detectors=self.inherited_detectors,
        )


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the file that could not be used."""

    field: str
    name: str
    """Its place in a list, or its key."""
    reason: str
    entry: msgspec.Raw


class StateFile:
    """The file `agent.json` in a directory that no other agent uses meanwhile."""

    def __init__(self, directory: Directory) -> None:
        """Lock the directory; raises Busy when another agent has it, Unavailable otherwise."""
        directory.lock(LOCK)
        self._directory = directory
        self._last = b""

    def load(self) -> State:
        """Read the state; without a file it is empty.

        What cannot be used of it is set aside and named in the log. Raises Unavailable, and leaves
        the file alone, when it cannot be read, is of a later schema, or nothing can be set aside.
        """
        data = self._directory.read(FILE, MAX_STATE_BYTES)
        if data is None:
            return State()
        where = self._directory.place(FILE)
        state, bad = _decoded(data, where)
        if bad:
            aside = self._directory.set_aside(_STEM, msgspec.json.encode(bad), MAX_ASIDE)
            for one in bad[:_MAX_SHOWN]:
                log.error("kept entry set aside", field=one.field, name=one.name, reason=one.reason)
            log.error("state loaded in part", file=self._directory.place(aside), aside=len(bad))
        else:
            self._last = data
        return state

    def save(self, state: State) -> None:
        """Replace the file if the state has changed.

        Raises Unavailable; the file is then the old or the new one, and whole.
        """
        data = msgspec.json.encode(state)
        if data == self._last:
            return
        if len(data) > MAX_STATE_BYTES:
            raise Unavailable(
                f"the state has {len(data)} bytes; at most {MAX_STATE_BYTES} can be kept"
            )
        self._last = b""
        self._directory.replace(FILE, data)
        self._last = data


def _decoded(data: bytes, where: str) -> tuple[State, list[SetAside]]:
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        schema = msgspec.json.decode(fields.get("schema", b"null"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unavailable(
            f"{where} cannot be read: {error}; mend it, or move it away to begin without it"
        ) from None
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise Unavailable(
            f"{where} is of schema {str(schema)[:20]}, this agent reads up to {SCHEMA}; run the "
            "release that wrote it, or move it away to begin without it"
        )
    loading = _Loading(fields, where)
    return loading.state(), loading.bad


class _Loading:
    """Takes a file apart, entry by entry."""

    def __init__(self, fields: dict[str, msgspec.Raw], where: str) -> None:
        self._fields, self._where = fields, where
        self.bad: list[SetAside] = []

    def state(self) -> State:
        """Give what can be used; the rest is in `bad` afterwards.

        Raises Unavailable at the entry after MAX_BAD that cannot be.
        """
        inherited = self._several("inherited", Task, check_tasks)

        def check_own(own: list[OwnTask]) -> None:
            check_tasks([one.task for one in own])

        own = self._several("own", OwnTask, check_own)
        detectors = self._several("inherited_detectors", Choice, check_choices)
        own_detectors = self._several("own_detectors", Choice, check_choices)
        return State(
            own=tuple(own),
            inherited=tuple(inherited),
            own_detectors=tuple(own_detectors),
            inherited_detectors=tuple(detectors),
            webhooks=dict(self._named("webhooks", Webhook, MAX_WEBHOOKS, _is_webhook)),
            path=self._path(),
            removed=tuple(self._several("removed", str, _addresses(MAX_REMOVED))),
            left=tuple(self._several("left", str, _addresses(MAX_LEFT))),
            children=dict(self._named("children", tuple[str, ...], MAX_CHILDREN, _is_child)),
        )

    def _several(self, field: str, kind: type[_T], check: Callable[[list[_T]], None]) -> list[_T]:
        raws = self._taken(field, list[msgspec.Raw], [])
        with suppress(*_FORESEEN):  # as nearly always: all are good
            whole = [msgspec.json.decode(raw, type=kind) for raw in raws]
            check(whole)
            return whole
        good: list[_T] = []
        for place, raw in enumerate(raws):
            with self._aside(field, str(place), raw):
                more = [*good, msgspec.json.decode(raw, type=kind)]
                check(more)
                good = more
        return good

    def _named(
        self, field: str, kind: type[_T], most: int, check: Callable[[str, _T], None]
    ) -> Iterable[tuple[str, _T]]:
        good: dict[str, _T] = {}
        for name, raw in self._taken(field, dict[str, msgspec.Raw], {}).items():
            with self._aside(field, name, raw):
                if len(good) >= most:
                    raise BadField(field, name, f"at most {most}")
                entry = msgspec.json.decode(raw, type=kind)
                check(name, entry)
                good[name] = entry
        return good.items()

    def _path(self) -> tuple[str, ...]:
        found: tuple[str, ...] = ()
        if "path" in self._fields:
            with self._aside("path", "", self._fields["path"]):
                path = msgspec.json.decode(self._fields["path"], type=tuple[str, ...])
                if len(path) >= MAX_DEPTH:
                    raise BadField("path", len(path), f"at most {MAX_DEPTH - 1} agents above")
                found = tuple(address.host("path", name) for name in path)
        return found

    def _taken(self, field: str, kind: type[_T], empty: _T) -> _T:
        taken = empty
        if field in self._fields:
            with self._aside(field, "", self._fields[field]):
                taken = msgspec.json.decode(self._fields[field], type=kind)
        return taken

    def _aside(self, field: str, name: str, raw: msgspec.Raw) -> _Aside:
        return _Aside(self.bad, self._where, field, name, raw)


class _Aside:
    """Sets aside what is the matter of a block, when it fails."""

    def __init__(
        self, bad: list[SetAside], where: str, field: str, name: str, raw: msgspec.Raw
    ) -> None:
        self._bad, self._where = bad, where
        self._field, self._name, self._raw = field, name, raw

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> Literal[True] | None:
        """Note an error that an entry may cause, and end it there.

        Raises Unavailable where MAX_BAD are noted.
        """
        if not isinstance(error, _FORESEEN):
            return None
        if len(self._bad) >= MAX_BAD:
            raise Unavailable(
                f"{self._where} has more than {MAX_BAD} entries that cannot be used: no agent "
                "wrote it; mend it, or move it away to begin without it"
            ) from None
        reason = str(error)
        self._bad.append(
            SetAside(field=self._field, name=self._name, reason=reason, entry=self._raw)
        )
        return True


def _is_webhook(name: str, _: Webhook) -> None:
    msgspec.convert(name, Name)  # a URL that cannot be is that webhook's failure, and listed as it


def _addresses(most: int) -> Callable[[list[str]], None]:
    def check(names: list[str]) -> None:
        if len(names) > most:
            raise BadField("state", len(names), f"at most {most} addresses")
        for name in names:
            address.host("state", name)

    return check


def _is_child(name: str, below: tuple[str, ...]) -> None:
    if address.host("children", name) != name or below[:1] != (name,):
        raise BadField("children", name, "an address that begins those below it")
    if len(below) > MAX_MEMBERS:
        raise BadField("children", name, f"at most {MAX_MEMBERS} members below it")
    for member in below:
        address.host("children", member)
