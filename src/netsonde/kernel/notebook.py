"""The notebook: what a monitor leaves beside its control word for the one that takes over.

It lies in the page of the control map that programs never read, so it lives and ends with the
table. Two slots are written in turn and the epoch is published last: a monitor that is killed in
the middle leaves the former note whole.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PAGE_BYTES = 4096
"""Size of the control map: its first word is the control word."""
_EPOCH, _LOAD = 8, 9
"""Indices of 64-bit words; away from the cache line that programs read."""
_SLOTS_AT, _SLOT_BYTES = 1024, 1536
_HEADER = struct.Struct("<qI4x")
MAX_STATE_BYTES = _SLOT_BYTES - _HEADER.size


@dataclass(frozen=True, slots=True)
class Note:
    """What was known when an epoch had been read."""

    epoch: int
    """The last epoch that was read, 0 for none; those after it were not."""
    wall_ns: int
    """When that was; the next epoch had begun just before."""
    state: bytes
    """`sketch.tick.Reader.state()`."""


class Notebook:
    """Notes of one table, in its control map."""

    def __init__(self, page: memoryview) -> None:
        """View a page, PAGE_BYTES long and writable."""
        self._page = page
        self._words = page.cast("Q")

    @property
    def current_epoch(self) -> int:
        """The epoch packets are counted into now."""
        return self._words[0] & 0xFFFFFFFF

    @property
    def load_id(self) -> int:
        """Random number of the table, drawn when it was made."""
        return self._words[_LOAD]

    @load_id.setter
    def load_id(self, number: int) -> None:
        self._words[_LOAD] = number

    def write(self, note: Note) -> None:
        """Keep a note in place of the last but one; raises ValueError for too long a state."""
        if len(note.state) > MAX_STATE_BYTES:
            raise ValueError(f"a state of {len(note.state)} bytes is over {MAX_STATE_BYTES}")
        at = _slot(note.epoch)
        _HEADER.pack_into(self._page, at, note.wall_ns, len(note.state))
        begin = at + _HEADER.size
        self._page[begin : begin + len(note.state)] = note.state
        self._words[_EPOCH] = note.epoch  # one store, hence never torn

    def read(self) -> Note:
        """Give the last note."""
        epoch = self._words[_EPOCH]
        at = _slot(epoch)
        wall_ns, size = _HEADER.unpack_from(self._page, at)
        begin = at + _HEADER.size
        return Note(epoch, wall_ns, bytes(self._page[begin : begin + size]))


def _slot(epoch: int) -> int:
    return _SLOTS_AT + (epoch & 1) * _SLOT_BYTES
