"""What a monitor keeps for the next one: its tasks and their windows, in a file beside its socket.

The one idea: each task says up to which epoch of which table it is whole, so whoever reads it knows
what is missing since. It is replaced whole or not at all. `/run` ends with the boot, as pins do.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from zlib import crc32

import msgspec
import structlog

from netsonde.model.evidence import ClockStep
from netsonde.model.task import Task
from netsonde.recorder.seen import Seen
from netsonde.sketch import _abi
from netsonde.sketch.kept import KeptWindow

SCHEMA = f"2-{crc32(repr(_abi.ENTRY).encode()):08x}"
"""Of the file; counts are kept as they lie in memory, so their layout is part of it."""
MAX_KEPT_BYTES = 16 << 20
"""Windows beyond it are left out: their tasks begin anew, and their answers say so."""
PAUSE_S = 1.0
"""Least time between two writings; a killed monitor loses up to that, and its answers say so."""
_SHARE_OF_TIME = 0.01
_FILE = "monitor.kept"

_log = structlog.get_logger()


class KeptSpan(msgspec.Struct, frozen=True, kw_only=True):
    """The ticks that a task or counter counted."""

    key_type: str | None
    """None: the task's own."""
    since_tick: int
    missed_ticks: int
    seen: Seen = Seen()
    """What the host saw in it."""
    clock_steps: tuple[ClockStep, ...] = ()


class KeptTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task and its counts."""

    task: Task
    epoch: int
    """The last epoch that is in its counts."""
    tick: int
    """When that ended."""
    spans: tuple[KeptSpan, ...]
    window: KeptWindow


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor's memory."""

    schema: str = SCHEMA
    load_id: int
    """Of the table that was counted into, as `Notebook` has it; 0 for one that has none."""
    tasks: tuple[KeptTask, ...]

    def for_another_table(self) -> Kept:
        """Leave out what a flow table with another hash key or size cannot go on with."""
        windows = [(one, one.window.for_another_table()) for one in self.tasks]
        tasks = (msgspec.structs.replace(one, window=window) for one, window in windows if window)
        return msgspec.structs.replace(self, tasks=tuple(tasks))


class KeptFile:
    """The file, in a directory that the monitor may write once it has given up root."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE
        self._failed = False

    def load(self) -> Kept | None:
        """Read what the former monitor kept; None, and a word in the log, when it is no use."""
        try:
            kept = msgspec.msgpack.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("what was kept cannot be read", file=str(self._path), reason=str(error))
            return None
        if kept.schema != SCHEMA:
            _log.warning("what was kept is of another release", schema=kept.schema, ours=SCHEMA)
            return None
        return kept

    def save(self, kept: Kept) -> float:
        """Replace the file and give the seconds to leave before the next time.

        Writing takes at most 1 % of the time. A failure is logged once and changes nothing.
        """
        begun_s = time.monotonic()
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.msgpack.encode(kept))
            os.replace(fresh, self._path)
        except OSError as error:
            if not self._failed:
                _log.warning("counts cannot be kept", file=str(self._path), reason=str(error))
            self._failed = True
        return max(PAUSE_S, (time.monotonic() - begun_s) / _SHARE_OF_TIME)


def directory_beside(socket: Path, uid: int, gid: int) -> Path:
    """Make the directory, readable by its user alone; raises OSError."""
    directory = socket.with_suffix(".kept")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(directory, uid, gid, follow_symlinks=False)
    return directory
