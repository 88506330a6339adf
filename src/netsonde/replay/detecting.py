"""Detectors over captures, tick by tick, as a monitor runs them on a host."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from netsonde.model.detector import Detector, DetectorState, Event
from netsonde.model.detectors import BUILTIN
from netsonde.model.key import KEY_BYTES
from netsonde.model.task import Filter
from netsonde.model.window import TICK_NS, TICKS_PER_S, wall_text
from netsonde.recorder.detect import Detectors
from netsonde.recorder.seen import Seen
from netsonde.replay.answering import SECRET_BYTES, Progressed
from netsonde.replay.stream import Stream
from netsonde.sketch import _core
from netsonde.sketch.match import match_bytes
from netsonde.sketch.tick import Tick

HOST = "pcap"
"""Whose events these are."""
MAX_EVENTS = 10_000
_SHOWN_PORTS = 5
_EVERY_KEY, _NO_KEY = bytes(2 * KEY_BYTES), bytes(KEY_BYTES)
"""Masks that leave nothing of a key, and what they leave: every record is of it."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one alarm."""

    detector: str
    key_type: str
    key: str
    peak: int
    """The most it reached."""
    raised_tick: int
    cleared_tick: int
    sentence: str
    """Of its peak."""


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What detectors said of captures."""

    events: tuple[Event, ...]
    alarms: tuple[Alarm, ...]
    """One for each that was raised, in the order of that."""
    events_dropped: int
    """Events after the first MAX_EVENTS, which are all that is told."""
    detectors: tuple[DetectorState, ...]
    packets: int
    """Packets in the files."""
    ip_packets: int
    hidden_packets: int
    """Of those, in no record: an alarm that they would have raised may be missing."""
    first_tick: int | None
    last_tick: int | None
    broken: str | None


@dataclass(slots=True)
class _Passed:
    """What has passed so far."""

    seen: Seen = field(default_factory=Seen)
    first_tick: int | None = None
    last_tick: int | None = None

    events: list[Event] = field(default_factory=list)
    dropped: int = 0

    def keep(self, events: list[Event]) -> None:
        room = MAX_EVENTS - len(self.events)
        self.events += events[:room]
        self.dropped += max(0, len(events) - room)

    def add(self, tick: Tick) -> None:
        self.seen += Seen.of(tick)
        self.first_tick = tick.id if self.first_tick is None else self.first_tick
        self.last_tick = tick.id


def run_detectors(
    paths: Sequence[Path],
    progressed: Progressed,
    chosen: Sequence[Detector] = BUILTIN,
    passing: Filter | None = None,
) -> Detection:
    """Run detectors over the flows that pass a filter; raises BadField for what is no capture.

    What is hidden in a tick may be of flows that do not pass, so bounds are as wide as without a
    filter.
    """
    select = None if passing is None else match_bytes(passing)
    stream = Stream(paths, secrets.token_bytes(SECRET_BYTES))
    detectors = Detectors(HOST, "0", time.thread_time_ns)
    passed = _Passed()
    for tick, read_bytes in stream.ticks(1):
        if passed.first_tick is None:
            detectors.apply(tuple(chosen), tick.id, _ends_ns(tick.id))
        passed.add(tick)
        passed.keep(detectors.absorb(_selected(tick, select), _ends_ns(tick.id)))
        progressed("detecting", read_bytes, stream.size_bytes)
    if passed.last_tick is not None:
        passed.keep(detectors.finish(_ends_ns(passed.last_tick)))
    seen = passed.seen
    return Detection(
        events=tuple(passed.events),
        events_dropped=passed.dropped,
        alarms=alarms(passed.events),
        detectors=detectors.states(),
        packets=stream.packets,
        ip_packets=seen.packets,
        hidden_packets=seen.spilled_packets + seen.contended_packets + seen.thinned_packets,
        first_tick=passed.first_tick,
        last_tick=passed.last_tick,
        broken=stream.broken,
    )


def _selected(tick: Tick, match: bytes | None) -> Tick:
    if match is None:
        return tick
    return replace(tick, records=_core.select(tick.records, match, _EVERY_KEY, _NO_KEY))


def event_line(event: Event, first_tick: int) -> str:
    """Say an event in one line: when, what, who, and what shows it."""
    when = wall_text(event.last_tick)[11:-1]
    offset_s = (event.last_tick - first_tick) / TICKS_PER_S
    parts = [f"{when} +{offset_s:.1f}s {event.detector} {event.state}: {event.sentence}"]
    if event.ports:
        more = " ..." if len(event.ports) > _SHOWN_PORTS else ""
        parts.append(f"ports {', '.join(map(str, event.ports[:_SHOWN_PORTS]))}{more}")
    if event.evidence:
        flow = event.evidence[0]
        parts.append(f"e.g. {flow.flow}: {flow.packets} packets, {flow.bytes} bytes")
    return " · ".join(parts)


def alarms(events: Sequence[Event]) -> tuple[Alarm, ...]:
    """Join what was raised with how it ended, in the order of raising."""
    ended = [event for event in events if event.state == "cleared"]
    ended.sort(key=lambda event: event.raised_tick)
    return tuple(
        Alarm(
            detector=event.detector,
            key_type=event.key_type,
            key=event.key,
            peak=event.peak,
            raised_tick=event.raised_tick,
            cleared_tick=event.last_tick,
            sentence=event.sentence.partition(": ")[2] or event.sentence,
        )
        for event in ended
    )


def _ends_ns(tick_id: int) -> int:
    return (tick_id + 1) * TICK_NS
