"""Batches: ticks on their way to whoever folds all of them, joined to seconds.

The one idea: every tick has a position, the number of ticks before it, and whoever folds keeps the
position up to which it has. It gets whole batches where it stands at the beginning of one, single
ticks where it stands within, so it can stop and go on at any tick and misses or doubles none.
Where everybody will get a batch as a whole, its ticks are let go. Nothing is thinned here: folding
batches is folding their ticks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from netsonde.sketch.merge import Merging
from netsonde.sketch.tick import Tick

MAX_BYTES = 4 << 20
"""A batch ends early rather than hold more: in a flood every tick holds megabytes."""
MAX_TICKS = 256
"""Questions close ticks before their time, so a second may have many."""
JOIN_PIECES = 4
ALL = 1 << 24
"""Room for the records of any batch, in a merged tick."""


def held_bytes(tick: Tick) -> int:
    """Give about how much memory a tick takes."""
    absent = tick.absent.table.nbytes if tick.absent else 0
    return len(tick.records) + len(tick.ranks) + absent + 2048


@dataclass(slots=True)
class Batch:
    """Ticks in a row."""

    begin: int
    """Position of the first."""
    ticks: list[Tick]
    """Empty once they were let go."""
    ends_second: bool = False
    joined: Tick | None = None
    """All of them as one; None until somebody has joined them."""
    _partly: Merging | None = field(default=None, init=False)
    """The first `_done` of them added up, until then."""
    _done: int = field(default=0, init=False)
    _let_go: int = field(default=0, init=False)
    """Ticks that it no longer has."""
    closed_bytes: int = field(default=0, init=False)
    """Of its ticks, when it was closed."""

    @property
    def end(self) -> int:
        """Position after the last."""
        return self.begin + self._let_go + len(self.ticks)

    @property
    def is_whole(self) -> bool:
        """Whether it can be had as a whole alone."""
        return self._let_go > 0

    def join_some(self) -> None:
        """Do one of JOIN_PIECES pieces of what `join` does; the work of some milliseconds."""
        size = -(-len(self.ticks) // JOIN_PIECES)
        if self.joined is None and 1 < size < len(self.ticks) - self._done:
            self._add(size)

    def join(self) -> Tick:
        """Make one tick of them, without loss."""
        if self.joined is None:
            self.joined = self.ticks[0] if len(self.ticks) == 1 else self._add().tick(ALL)
            self._partly = None
        return self.joined

    def let_go(self) -> None:
        """Keep what is joined alone."""
        self._let_go += len(self.ticks)
        self.ticks = []

    def _add(self, most: int | None = None) -> Merging:
        """Add up the next of them, at most so many."""
        merging = self._partly
        if merging is None:
            merging = Merging(max(len(tick.records) for tick in self.ticks))
        for tick in self.ticks[self._done :][:most]:
            merging.add(tick)
            self._done += 1
        self._partly = merging
        return merging


class Batches:
    """Ticks that somebody has yet to fold."""

    readers: Callable[[], Iterable[tuple[int, bool]]]
    """Gives the position of everyone who folds, and whether it takes ticks one by one."""

    def __init__(self) -> None:
        self.readers = tuple
        self._closed: deque[Batch] = deque()
        self._open = Batch(0, [])
        self._open_bytes = 0
        self._closed_bytes = 0

    @property
    def end(self) -> int:
        """Position after the last tick."""
        return self._open.end

    @property
    def waiting_bytes(self) -> int:
        """Memory of the batches that somebody has yet to fold."""
        return self._closed_bytes

    @property
    def joined_until(self) -> int:
        """Position up to which ticks are joined."""
        done = self._closed[0].begin if self._closed else self._open.begin
        for batch in self._closed:
            if batch.joined is None:
                break
            done = batch.end
        return done

    def add(self, tick: Tick) -> Batch | None:
        """Take the next tick; gives the batch that it would have made too large, now closed."""
        size_bytes = held_bytes(tick)
        held = len(self._open.ticks)
        full = held >= MAX_TICKS or (held > 0 and self._open_bytes + size_bytes > MAX_BYTES)
        closed = self.close() if full else None
        self._open.ticks.append(tick)
        self._open_bytes += size_bytes
        return closed

    def close(self, *, ends_second: bool = False) -> Batch | None:
        """Begin a new batch, and give the one that ended; None when there is none."""
        closed, size_bytes = self._open, self._open_bytes
        if not closed.ticks:
            return None
        closed.ends_second = ends_second
        closed.closed_bytes = size_bytes
        self._open, self._open_bytes = Batch(closed.end, []), 0
        if any(True for _ in self.readers()):
            self._closed.append(closed)
            self._closed_bytes += size_bytes
        return closed

    def join(self, batch: Batch) -> None:
        """Join a closed batch, and let its ticks go where nobody can need one of them."""
        batch.join()
        within = range(batch.begin + 1, batch.end)
        if not any(
            position in within or (singly and position < batch.end)
            for position, singly in self.readers()
        ):
            batch.let_go()

    def follow(self) -> None:
        """Let go of what every reader has folded; of everything where there is none."""
        least = min((position for position, _ in self.readers()), default=None)
        while self._closed and (least is None or self._closed[0].end <= least):
            self._closed_bytes -= self._closed.popleft().closed_bytes

    def after(self, position: int, *, single: bool = False) -> Iterator[tuple[int, Tick]]:
        """Give what comes after a position, each with the position after it.

        `single`: ticks one by one, for those whose filter looks at single ticks. Raises LookupError
        for ticks that were let go: whoever takes them is one of `readers`.
        """
        for batch in (*self._closed, self._open):
            if batch.end <= position:
                continue
            if batch.begin >= position and batch.joined is not None and not single:
                yield batch.end, batch.joined
                continue
            if batch.is_whole:
                raise LookupError(f"ticks {batch.begin} to {batch.end} were let go")
            for number, tick in enumerate(batch.ticks, batch.begin + 1):
                if number > position:
                    yield number, tick
