"""Evidence: what hosts know about how they counted; adds up to the certificate of an answer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from netsonde.model.number import (
    Count,
    LastTick,
    Positive,
    Ratio,
    RealMs,
    SignedMs,
    SignedRealMs,
    Tick,
)
from netsonde.model.text import AddressText, Text80, Text200

MAX_NAMED = 64
"""Hosts named in one list of a certificate; the rest is counted."""
MAX_KINDS = 64
"""Kinds of a thing, such as causes of drops; the rest is put together."""
OTHER = "other"

Named = Annotated[tuple[Text200, ...], Meta(max_length=MAX_NAMED)]
"""Hosts, or files of captures."""
Tallies = Annotated[dict[Text80, Count], Meta(max_length=MAX_KINDS)]


class ClockStep(msgspec.Struct, frozen=True, kw_only=True):
    """The host's wall clock was set while it counted."""

    tick: Tick
    """Wall tick it was set to."""
    step_ms: SignedMs
    """How far, forward or (negative) back."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """How the records of a window came about, at one host or at several added up."""

    software: Tallies
    """Version -> hosts."""
    hooks: Annotated[dict[Text80, Named], Meta(max_length=MAX_KINDS)]
    """Where packets were counted -> the hosts, at most MAX_NAMED of each."""
    first_tick: Tick
    """First tick that is really in the answer: the steps of a recorder's past may be coarser."""
    last_tick: LastTick
    packets: Count = 0
    """Packets seen in the window by all hooks, whatever the filter."""
    ip_bytes: Count = 0
    drops: Tallies = {}
    """Packets seen and put into no flow, by cause."""
    spilled_packets: Count = 0
    """Of `packets`, in no record: their flows gave way to others."""
    contended_packets: Count = 0
    thinned_packets: Count = 0
    """Of `packets`, in no record: left out for the sake of CPU or memory."""
    flow_absent_upper: Count = 0
    """E: a five-tuple with more packets than this in the window is certainly in the answer."""
    missed_ticks: Count = 0
    """Most ticks of the window that one host does not hold."""
    clock_steps: Annotated[tuple[ClockStep, ...], Meta(max_length=MAX_NAMED)] = ()
    """At most MAX_NAMED of them, latest last."""
    skew_ms: Annotated[
        dict[AddressText, tuple[SignedRealMs, RealMs]], Meta(max_length=MAX_NAMED)
    ] = {}
    """Host -> its clock against the asker's, and half the round trip it was told in: |error| is at
    most that. Hosts that could not be compared are not in it; of others the MAX_NAMED whose clocks
    are farthest off."""
    cpu_ratio: Ratio = 0.0
    """Most of one CPU that a host's monitor used since it started."""
    rss_bytes: Count = 0
    """Most memory of a host's monitor."""
    tick_ms: Positive = 100
    """Longest tick of a host now."""
    told_one_in: Positive = 1
    """Flows of one in so many buckets are told where it is most; 1: all are."""
    monitor: Text80 = ""
    """Id of the one monitor that counted, drawn anew at each of its starts: 32 hexadecimal digits.
    Empty where several are added up: who adds them knows each by its own part, and an answer does
    not grow with the fleet."""

    @property
    def most(self) -> int:
        """Largest of its numbers that are added to those of others."""
        return max(
            self.packets,
            self.ip_bytes,
            self.spilled_packets,
            self.contended_packets,
            self.thinned_packets,
            self.flow_absent_upper,
            *self.drops.values(),
            *self.software.values(),
        )

    def merged(self, other: Evidence) -> Evidence:
        """Add that of other hosts; associative and commutative but for what is cut at MAX_NAMED."""
        return Evidence(
            software=_added(self.software, other.software),
            hooks={
                name: tuple(sorted({*self.hooks.get(name, ()), *other.hooks.get(name, ())}))[
                    :MAX_NAMED
                ]
                for name in sorted({*self.hooks, *other.hooks})[:MAX_KINDS]
            },
            first_tick=min(self.first_tick, other.first_tick),
            last_tick=max(self.last_tick, other.last_tick),
            packets=self.packets + other.packets,
            ip_bytes=self.ip_bytes + other.ip_bytes,
            drops=_added(self.drops, other.drops),
            spilled_packets=self.spilled_packets + other.spilled_packets,
            contended_packets=self.contended_packets + other.contended_packets,
            thinned_packets=self.thinned_packets + other.thinned_packets,
            flow_absent_upper=self.flow_absent_upper + other.flow_absent_upper,
            missed_ticks=max(self.missed_ticks, other.missed_ticks),
            clock_steps=tuple(
                sorted(self.clock_steps + other.clock_steps, key=lambda s: (s.tick, s.step_ms))
            )[-MAX_NAMED:],
            skew_ms=_farthest(self.skew_ms | other.skew_ms),
            cpu_ratio=max(self.cpu_ratio, other.cpu_ratio),
            rss_bytes=max(self.rss_bytes, other.rss_bytes),
            tick_ms=max(self.tick_ms, other.tick_ms),
            told_one_in=max(self.told_one_in, other.told_one_in),
        )


def _farthest(skew_ms: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    ranked = sorted(skew_ms.items(), key=lambda one: (-abs(one[1][0]), one[0]))
    return dict(sorted(ranked[:MAX_NAMED]))


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Add by name; of more than MAX_KINDS names the least are put together as `other`."""
    sums = {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
    if len(sums) <= MAX_KINDS:
        return sums
    ranked = sorted(sums, key=lambda name: (name == OTHER, -sums[name], name))
    kept = sorted(ranked[: MAX_KINDS - 1])
    return {name: sums[name] for name in kept} | {
        OTHER: sum(sums[name] for name in ranked[MAX_KINDS - 1 :])
    }
