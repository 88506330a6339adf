"""Taking over: what the kernel counted while no monitor ran becomes one long tick.

The one idea: the former monitor noted which epoch it read last, so everything since is in the one
or two epochs that nobody read, and each packet of the time between is in one of them, once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from netsonde.kernel.notebook import Note
from netsonde.kernel.path import CountingPath
from netsonde.kernel.tables import next_epoch
from netsonde.model.window import TICK_NS
from netsonde.sketch import _abi
from netsonde.sketch.tick import Reader, Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The time between two monitors."""

    load_id: int
    """Of the table, as `Notebook` has it."""
    after_epoch: int
    """The last epoch that the former monitor read."""
    first_tick: int
    """Tick in which that epoch ended."""
    epoch: int
    """The last epoch that is in `ticks`."""
    ticks: tuple[Tick, ...]
    """What was counted since; the last one ends now."""
    whole: bool
    """Whether that is all of the host's traffic: no device or address came meanwhile."""

    def missed_after(self, epoch: int, tick: int) -> int:
        """Give the ticks that are lost to whoever holds all up to an epoch, which ended at `tick`.

        They are those that the former monitor read and could not pass on, and the whole gap when
        not all was counted in it. At least 1 where anything is lost.
        """
        lost = 0 if epoch == self.after_epoch else max(1, self.first_tick - tick)
        if not self.whole:
            lost += max(1, self.ticks[-1].id - self.first_tick)
        return lost


def close_gap(path: CountingPath, reader: Reader) -> Gap | None:
    """Close what was counted before this monitor came and read it; None when that is unknown.

    Raises OSError when the kernel refuses the flip.
    """
    if not path.adopted or path.notebook is None:
        return None
    note = path.notebook.read()
    epochs, current = [next_epoch(note.epoch)], path.notebook.current_epoch
    while epochs[-1] != current and len(epochs) < _abi.PARITIES:
        epochs.append(next_epoch(epochs[-1]))
    known = epochs[-1] == current  # else a buffer was used twice
    if note.epoch:
        try:
            reader.resume(note.state)
        except ValueError:
            known = False
    first_tick = note.wall_ns // TICK_NS
    # Unknown or not, each parity is read, so that what only grows is known from here on.
    ticks = [reader.read(epoch, first_tick) for epoch in epochs[:-1]]
    closed = path.flip()
    now_tick = time.time_ns() // TICK_NS
    ticks.append(reader.read(closed, now_tick, first_id=first_tick))
    if not known:
        closed = path.flip()
        reader.read(closed, now_tick)
    path.notebook.write(Note(closed, time.time_ns(), reader.state()))
    if not known:
        return None
    return Gap(
        load_id=path.notebook.load_id,
        after_epoch=note.epoch,
        first_tick=first_tick,
        epoch=closed,
        ticks=tuple(ticks),
        whole=path.whole,
    )
