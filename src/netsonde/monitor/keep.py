"""What a monitor keeps for the next one: its tasks and their windows, in a file beside its socket.

The one idea: each task says up to which epoch of which table it is whole, so whoever reads it knows
what is missing since. It is replaced whole or not at all. `/run` ends with the boot, as pins do.
Counting goes on whatever becomes of the file: one that cannot be read stays as it is, and then
nothing is kept; a task in it that cannot be is set aside.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import msgspec
import structlog
from msgspec import Meta

from netsonde.daemon.directories import prepared
from netsonde.daemon.files import Directory
from netsonde.daemon.rights import Account
from netsonde.model import encoded
from netsonde.model.checks import check_tasks
from netsonde.model.errors import BadField, NetsondeError, Unavailable
from netsonde.model.evidence import MAX_NAMED, ClockStep
from netsonde.model.number import MAX_TICK, Count, Tick
from netsonde.model.task import MAX_COUNTERS, MAX_TASKS, Task
from netsonde.model.text import Text80
from netsonde.recorder.seen import Seen
from netsonde.sketch import _abi
from netsonde.sketch.kept import MAX_KEPT_BYTES, KeptWindow

_VERSION = 2
SCHEMA = f"{_VERSION}-{crc32(repr(_abi.ENTRY).encode()):08x}"
"""Of the file; counts are kept as they lie in memory, so their layout is part of it."""
MAX_FILE_BYTES = 2 * MAX_KEPT_BYTES
"""Windows and what else is kept of their tasks."""
MAX_ASIDE = 1
"""Files of what was set aside; they lie in memory where `/run` does."""
PAUSE_S = 1.0
"""Least time between two writings; a killed monitor loses up to that, and its answers say so."""
MAX_LOOKED_INTO = 1000
"""Tasks of a file that are looked into one by one; one with more is set aside whole."""
_SHARE_OF_TIME = 0.01
_STEM, _FILE, _LOCK = "monitor", "monitor.kept", "monitor.lock"
_MOST = (1 << 63) - 1

_log = structlog.get_logger()


class KeptSpan(msgspec.Struct, frozen=True, kw_only=True):
    """The ticks that a task or counter counted."""

    key_type: Text80 | None
    """None: the task's own."""
    since_tick: Tick
    missed_ticks: Count
    seen: Seen = Seen()
    """What the host saw in it."""
    clock_steps: Annotated[tuple[ClockStep, ...], Meta(max_length=MAX_NAMED)] = ()


class KeptTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task and its counts."""

    task: Task
    epoch: Count
    """The last epoch that is in its counts."""
    tick: Tick
    """When that ended."""
    spans: Annotated[tuple[KeptSpan, ...], Meta(max_length=MAX_COUNTERS + 1)]
    window: KeptWindow


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor's memory."""

    schema: Text80 = SCHEMA
    load_id: int
    """Of the table that was counted into, as `Notebook` has it; 0 for one that has none."""
    tasks: Annotated[tuple[KeptTask, ...], Meta(max_length=MAX_TASKS)]

    def for_another_table(self) -> Kept:
        """Leave out what a flow table with another hash key or size cannot go on with."""
        windows = [(one, one.window.for_another_table()) for one in self.tasks]
        tasks = (msgspec.structs.replace(one, window=window) for one, window in windows if window)
        return msgspec.structs.replace(self, tasks=tuple(tasks))


class _Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A file, its tasks not yet looked into."""

    schema: str
    load_id: int
    tasks: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=MAX_LOOKED_INTO)]


class KeptFile:
    """The file, in a directory that is this monitor's alone; None: nothing is kept."""

    def __init__(self, directory: Directory | None) -> None:
        """Lock the directory, after root is given up; raises Busy when another monitor has it."""
        self._directory = directory
        self._failed = False
        if directory is not None:
            try:
                directory.lock(_LOCK)
            except Unavailable as error:
                self._leave_alone(str(error))

    def load(self) -> Kept | None:
        """Read what the former monitor kept; None, and a word in the log, when it is no use."""
        if self._directory is None:
            return None
        try:
            data = self._directory.read(_FILE, MAX_FILE_BYTES)
            return None if data is None else self._read(data, self._directory)
        except Unavailable as error:
            self._leave_alone(str(error))
            return None

    def save(self, kept: Kept) -> float:
        """Replace the file and give the seconds to leave before the next time.

        Writing takes at most 1 % of the time. A failure is logged once and changes nothing.
        """
        begun_s = time.monotonic()
        if self._directory is None:
            return PAUSE_S
        try:
            data = encoded.packed(kept)
            if len(data) > MAX_FILE_BYTES:
                raise Unavailable(f"{len(data)} bytes are over {MAX_FILE_BYTES}")
            self._directory.replace(_FILE, data)
            self._failed = False
        except Unavailable as error:
            if not self._failed:
                _log.warning("counts cannot be kept", reason=str(error))
            self._failed = True
        return max(PAUSE_S, (time.monotonic() - begun_s) / _SHARE_OF_TIME)

    def close(self) -> None:
        """Let it go: another monitor may keep there."""
        if self._directory is not None:
            self._directory.close()
        self._directory = None

    def _read(self, data: bytes, directory: Directory) -> Kept | None:
        where = directory.place(_FILE)
        try:
            whole = msgspec.msgpack.decode(data, type=_Whole)
            if not 0 <= whole.load_id < 1 << 64:  # it is drawn from 64 bits
                raise BadField("load_id", whole.load_id, "0 to 2^64 - 1")
        except (msgspec.DecodeError, BadField, RecursionError, UnicodeDecodeError) as error:
            aside = directory.set_aside(_STEM, data, MAX_ASIDE)
            _log.warning("what was kept cannot be read", aside=aside, reason=str(error))
            return None
        if whole.schema != SCHEMA:
            if _version(whole.schema) > _VERSION:
                raise Unavailable(f"{where} is of a later release ({whole.schema:.40})")
            _log.warning("what was kept is of another release", schema=f"{whole.schema:.40}")
            return None
        tasks, bad = _looked_into(whole.tasks)
        if bad:
            data = encoded.packed(msgspec.structs.replace(whole, tasks=tuple(bad)))
            aside = directory.set_aside(_STEM, data, MAX_ASIDE)
            _log.warning("kept tasks begin anew", aside=aside, tasks=len(bad))
        return Kept(load_id=whole.load_id, tasks=tasks)

    def _leave_alone(self, reason: str) -> None:
        """Go on without the file, which stays as it is."""
        _log.error("counts are not kept", reason=reason)
        self.close()


def beside(socket: Path, owner: Account) -> Directory | None:
    """Make the directory, its owner's alone; None, and a word in the log, when that cannot be."""
    try:
        directory, taken = prepared(socket.with_suffix(".kept"), owner, (_FILE, _LOCK))
    except Unavailable as error:
        _log.error("counts are not kept", reason=str(error))
        return None
    if taken:
        _log.info("what was kept is taken over from a former user", directory=directory.path)
    return directory


def _version(schema: str) -> int:
    number = schema.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


def _looked_into(raws: tuple[msgspec.Raw, ...]) -> tuple[tuple[KeptTask, ...], list[msgspec.Raw]]:
    """Decode each task by itself; gives those that can be, and the rest."""
    good: list[KeptTask] = []
    bad: list[msgspec.Raw] = []
    refs: set[tuple[str, int]] = set()
    for place, raw in enumerate(raws):
        try:
            one = msgspec.msgpack.decode(raw, type=KeptTask)
            check_tasks([one.task])
            _check(one)
            if one.task.ref in refs or len(good) >= MAX_TASKS:
                raise BadField("tasks", one.task.id, f"each once, at most {MAX_TASKS}")
        except (msgspec.DecodeError, NetsondeError, RecursionError, UnicodeDecodeError) as error:
            _log.warning("a task begins anew", place=place, reason=str(error))
            bad.append(raw)
        else:
            good.append(one)
            refs.add(one.task.ref)
    return tuple(good), bad


def _check(one: KeptTask) -> None:
    """Check what types do not say; raises BadField."""
    counters = {counter.key_type for counter in one.task.counters}
    if {span.key_type for span in one.spans} != {None, *counters}:
        raise BadField("spans", len(one.spans), "one of the task and of each counter")
    if set(one.window.tables) != counters or not counters.issuperset(one.window.ranks):
        raise BadField("tables", len(one.window.tables), "one of each counter")
    spans = [(span.missed_ticks, span.seen) for span in one.spans]
    for number in _numbers((one.epoch, one.window, spans)):
        if not 0 <= number <= _MOST:
            raise BadField("count", number, "0 to 2^63 - 1")
    ticks = [one.tick, one.window.first_tick or 0, one.window.last_tick or 0]
    steps = [step for span in one.spans for step in span.clock_steps]
    for tick in (*ticks, *(span.since_tick for span in one.spans), *(step.tick for step in steps)):
        if not 0 <= tick <= MAX_TICK:
            raise BadField("tick", tick, f"0 to {MAX_TICK}")
    if max(len(span.clock_steps) for span in one.spans) > MAX_NAMED:
        raise BadField("clock_steps", len(steps), f"at most {MAX_NAMED}")


def _numbers(thing: Any) -> Iterator[int]:
    """Give every integer in structs, mappings and sequences."""
    if isinstance(thing, int):
        yield thing
    elif isinstance(thing, msgspec.Struct):
        yield from _numbers(list(msgspec.structs.asdict(thing).values()))
    elif isinstance(thing, dict):
        yield from _numbers(list(thing.values()))
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from _numbers(part)
