"""What ticks could not put into records: what the bounds of a sliding window allow for.

Most hosts never hide anything, so only ticks that did are remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from netsonde.sketch.tick import FRAME_BYTES, FRAME_PACKETS, Tick

_MOST_KNOWN = 64


@dataclass(slots=True)
class _At:
    tick: int
    packets: list[int]
    """Of each side."""
    ip_bytes: list[int]
    unread_frames: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """The most that no record holds, over some ticks and sides."""

    flows: int
    """Each hidden packet may be a flow of its own, and so may each frame that nobody could read."""
    packets: int
    ip_bytes: int


class Hidden:
    """Hidden counts of the last so many ticks."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks
        self._held: deque[_At] = deque()
        self._known: dict[tuple[int, int, tuple[int, ...]], Doubt] = {}
        """Of the last tick: many keys of a detector ask the same."""

    def add(self, now_tick: int, tick: Tick) -> None:
        """Take what a tick, or a part of one, hid; ticks never go back."""
        self._known.clear()
        while self._held and self._held[0].tick <= now_tick - self._ticks:
            self._held.popleft()
        packets = [side.hidden_packets for side in tick.sides]
        unread = tick.unread_frames
        if not any(packets) and not unread:
            return
        if not self._held or self._held[-1].tick != now_tick:
            self._held.append(_At(now_tick, [0, 0], [0, 0], 0))
        last = self._held[-1]
        for number, side in enumerate(tick.sides):
            last.packets[number] += side.hidden_packets
            last.ip_bytes[number] += side.hidden_bytes
        last.unread_frames += unread

    def between(self, first_tick: int, last_tick: int, sides: Sequence[int]) -> Doubt:
        """Add up the ticks from one to another, both included."""
        asked = first_tick, last_tick, tuple(sides)
        if asked not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[asked] = self._added_up(first_tick, last_tick, sides)
        return self._known[asked]

    def _added_up(self, first_tick: int, last_tick: int, sides: Sequence[int]) -> Doubt:
        flows = packets = ip_bytes = 0
        for at in self._held:
            if first_tick <= at.tick <= last_tick:
                seen = sum(at.packets[side] for side in sides)
                flows += seen + at.unread_frames
                packets += seen + at.unread_frames * FRAME_PACKETS
                ip_bytes += sum(at.ip_bytes[side] for side in sides)
                ip_bytes += at.unread_frames * FRAME_BYTES
        return Doubt(flows, packets, ip_bytes)
