"""Seen: what ticks saw and how much of it is in no record, added up; becomes evidence."""

from __future__ import annotations

import msgspec

from netsonde.model.evidence import ClockStep, Evidence, Tallies
from netsonde.model.number import Count
from netsonde.sketch.tick import FRAME_PACKETS, Tick


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over ticks, of both directions, whatever the filter; those of a span are a difference
    of two."""

    packets: Count = 0
    ip_bytes: Count = 0
    drops: Tallies = {}
    spilled_packets: Count = 0
    contended_packets: Count = 0
    thinned_packets: Count = 0
    absent_packets: Count = 0
    """E: the most that a flow may have which is in no record."""

    @classmethod
    def of(cls, tick: Tick) -> Seen:
        """Give what one tick, or several as one, saw."""
        drops: dict[str, int] = {}
        for side in tick.sides:
            for cause, packets in side.drops.items():
                drops[cause] = drops.get(cause, 0) + packets
        sides = tick.sides
        return cls(
            packets=sum(side.packets for side in sides),
            ip_bytes=sum(side.ip_bytes for side in sides),
            drops=drops,
            spilled_packets=sum(side.spilled_packets for side in sides),
            contended_packets=sum(side.contended_packets for side in sides),
            thinned_packets=sum(side.thinned_packets for side in sides),
            absent_packets=sum(side.absent_packets for side in sides)
            + tick.unread_frames * FRAME_PACKETS,
        )

    def __add__(self, other: Seen) -> Seen:
        """Add what other ticks saw."""
        return self._joined(other, 1)

    def __sub__(self, other: Seen) -> Seen:
        """Take away what earlier ticks saw."""
        return self._joined(other, -1)

    def evidence(
        self, first_tick: int, last_tick: int, missed_ticks: int, clock_steps: tuple[ClockStep, ...]
    ) -> Evidence:
        """Make evidence of it; who counted, and at what cost, is the monitor's to add."""
        return Evidence(
            software={},
            hooks={},
            first_tick=first_tick,
            last_tick=last_tick,
            packets=self.packets,
            ip_bytes=self.ip_bytes,
            drops={cause: packets for cause, packets in self.drops.items() if packets},
            spilled_packets=self.spilled_packets,
            contended_packets=self.contended_packets,
            thinned_packets=self.thinned_packets,
            flow_absent_upper=self.absent_packets,
            missed_ticks=missed_ticks,
            clock_steps=clock_steps,
        )

    def _joined(self, other: Seen, sign: int) -> Seen:
        causes = sorted({*self.drops, *other.drops})
        return Seen(
            packets=self.packets + sign * other.packets,
            ip_bytes=self.ip_bytes + sign * other.ip_bytes,
            drops={
                cause: self.drops.get(cause, 0) + sign * other.drops.get(cause, 0)
                for cause in causes
            },
            spilled_packets=self.spilled_packets + sign * other.spilled_packets,
            contended_packets=self.contended_packets + sign * other.contended_packets,
            thinned_packets=self.thinned_packets + sign * other.thinned_packets,
            absent_packets=self.absent_packets + sign * other.absent_packets,
        )
