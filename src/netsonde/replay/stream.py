"""Several captures as one: their ticks one after the other, in the order of the files.

Each file has a flow table of its own, but all share one secret, so their ticks add up in the same
windows as those of one file do; nothing is merged from parts. Ticks that are in two files, where a
capture was rotated in the middle of one, add up as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from netsonde.model.errors import BadField
from netsonde.replay.capture import Capture
from netsonde.sketch.tick import Tick

MAX_FILES = 10_000


class Stream:
    """Captures opened for counting, once, one at a time."""

    def __init__(self, paths: Sequence[Path], secret: bytes) -> None:
        """Look at every file; raises BadField naming one that is no capture.

        A pipe is looked at when its turn comes: what is read from it is gone.
        """
        if not 0 < len(paths) <= MAX_FILES:
            raise BadField("FILE", len(paths), f"1 to {MAX_FILES} files")
        self._paths, self._secret = paths, secret
        self.packets = 0
        self.broken: str | None = None
        """Which files ended before their last packet was whole, and why; None when none did."""
        self.faults: dict[str, str] = {}
        """The same by name of the file."""
        self.size_bytes = 0
        """Size of all on disk; 0 when one is a pipe."""
        sizes = []
        for path in paths[1:]:
            if path.is_fifo():
                sizes.append(0)
                continue
            other = Capture(path, secret)
            other.close()
            sizes.append(other.size_bytes)
        self._first: Capture | None = Capture(paths[0], secret)
        sizes.append(self._first.size_bytes)
        self.size_bytes = sum(sizes) if all(sizes) else 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(str(path) for path in self._paths)

    def ticks(self, most_at_once: int = 0) -> Iterator[tuple[Tick, int]]:
        """Count the files; give their ticks as `Capture.ticks` does, and the bytes read so far."""
        before_bytes = 0
        for path in self._paths:
            capture = self._first or Capture(path, self._secret)
            self._first = None
            before_packets = self.packets
            for tick, read_bytes in capture.ticks(most_at_once):
                self.packets = before_packets + capture.packets
                yield tick, before_bytes + read_bytes
            self.packets = before_packets + capture.packets
            before_bytes += capture.size_bytes
            if capture.broken:
                self.faults[str(path)] = capture.broken
        if self.faults:
            named = len(self._paths) > 1
            self.broken = "; ".join(
                f"{name}: {why}" if named else why for name, why in self.faults.items()
            )
