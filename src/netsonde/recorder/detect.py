"""Detectors: ticks in, events out; the same in a monitor and over a capture.

The one idea: every tick, each detector asks its sliding window which keys reach the threshold. A
key is raised once and stays raised until it was well below for a while, so an attack is one alarm
however it wavers. A clock that was set back begins all windows anew. Of time without traffic only
those ticks are gone through in which something leaves a window or an alarm may end: an hour of it
costs no more than what came before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from netsonde.model.detector import (
    MAX_ACTIVE,
    Detector,
    DetectorState,
    Event,
    check_all,
)
from netsonde.model.key import KeyType
from netsonde.model.window import TICK_NS
from netsonde.recorder.hidden import Hidden
from netsonde.recorder.measure import Measure, Reading, measure
from netsonde.recorder.telling import Shown, seconds, sentence, shown
from netsonde.sketch.tick import Tick

_MAX_WINDOW_TICKS = 600
_NO_EVIDENCE = Shown()


@dataclass(slots=True)
class _Alarm:
    raised_tick: int
    peak: Reading
    below_since: int | None = None
    """First tick of those in a row in which it was low enough to be cleared."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What becomes an event."""

    watch: _Watch
    state: Literal["raised", "cleared"]
    key: bytes
    reading: Reading
    alarm: _Alarm
    tick: int
    sentence: str
    evidence: Shown = _NO_EVIDENCE


@dataclass(slots=True)
class _Watch:
    """One detector at work."""

    detector: Detector
    hidden: Hidden
    began_tick: int
    active: dict[bytes, _Alarm] = field(default_factory=dict)
    raised: int = 0
    suppressed: int = 0
    suppressed_most: int = 0
    cpu_ns: int = 0
    idle: bool = False
    """Whether nothing is raised or remembered, so that an empty tick changes nothing."""
    broken: bool = False
    """Whether it failed, and begins anew with the next tick."""
    measure: Measure = field(init=False)

    def __post_init__(self) -> None:
        self.begin(self.began_tick)

    def begin(self, tick: int) -> None:
        """Begin the window anew with a tick."""
        self.idle = self.broken = False
        self.began_tick = tick
        self.measure = measure(self.detector, self.hidden, tick)
        for alarm in self.active.values():
            alarm.below_since = None

    def absorb(self, tick: int, records: bytes) -> list[_Told]:
        """Let the window end with a tick; gives what is to be told."""
        if self.broken:
            self.begin(tick)
        self.measure.absorb(tick, records)
        told = [*self._cleared(tick), *self._raised(tick, records)]
        self.idle = not self.active and not any(self.measure.held())
        return told

    def _cleared(self, tick: int) -> list[_Told]:
        told = []
        for key, alarm in list(self.active.items()):
            reading = self.measure.reading(key)
            if reading.count.estimate > alarm.peak.count.estimate:
                alarm.peak = reading
            if reading.count.estimate >= self.detector.clear_ratio * self.detector.threshold:
                alarm.below_since = None
                continue
            if alarm.below_since is None:
                alarm.below_since = tick
            if tick - alarm.below_since + 1 >= self.detector.clear_ticks:
                told.append(self.over(key, reading, tick))
        return told

    def over(self, key: bytes, reading: Reading, tick: int) -> _Told:
        """End an alarm."""
        alarm = self.active.pop(key)
        lasted = seconds(tick - alarm.raised_tick + 1)
        text = sentence(self.detector, key, alarm.peak, self.detector.window_ticks)
        return _Told(self, "cleared", key, reading, alarm, tick, f"over after {lasted}: {text}")

    def _raised(self, tick: int, records: bytes) -> list[_Told]:
        keys, number = self.measure.reached()
        told = []
        for key in keys:
            if key in self.active or len(self.active) == MAX_ACTIVE:
                continue
            reading = self.measure.reading(key)
            alarm = self.active[key] = _Alarm(tick, reading)
            ticks = tick - self.measure.first_tick() + 1
            text = sentence(self.detector, key, reading, ticks)
            evidence = shown(self.measure.flows(key, records))
            told.append(_Told(self, "raised", key, reading, alarm, tick, text, evidence))
        self.raised += len(told)
        self.suppressed = number - sum(key in self.active for key in keys)
        self.suppressed_most = max(self.suppressed_most, self.suppressed)
        return told

    def silence_tells(self) -> bool:
        """Tell whether a tick without traffic may end an alarm, or raise one by what is missing."""
        return bool(self.active) or (self.detector.measure == "change" and not self.idle)

    def next_tick(self, after: int, traffic: deque[int]) -> int | None:
        """Give the next tick without traffic that may change anything; None: there is none.

        `traffic`: the ticks that held any, as far back as two windows, in order.
        """
        if self.idle:
            return None
        if self.broken:
            return after + 1
        length = self.detector.window_ticks
        ticks = [
            one.below_since + self.detector.clear_ticks - 1
            for one in self.active.values()
            if one.below_since is not None
        ]
        for reach in (length, 2 * length)[: 2 if self.detector.measure == "change" else 1]:
            leaving = bisect_right(traffic, after - reach)
            if leaving < len(traffic):
                ticks.append(traffic[leaving] + reach)
        ticks.append(self.began_tick + 2 * length - 1)  # a `change` compares from here on
        return min((tick for tick in ticks if tick > after), default=None)

    def state(self) -> DetectorState:
        """Say how it fares."""
        keys, items = self.measure.held()
        return DetectorState(
            name=self.detector.name,
            active=len(self.active),
            raised=self.raised,
            suppressed=self.suppressed,
            suppressed_most=self.suppressed_most,
            keys=keys,
            items=items,
            first_tick=self.measure.first_tick(),
            cpu_ms=self.cpu_ns // 1_000_000,
        )


class Detectors:
    """Every detector of one host."""

    def __init__(
        self,
        host: str,
        boot: str,
        cpu_ns: Callable[[], int],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """`boot`: tells these events from another monitor's; `cpu_ns`: CPU time of this thread.

        `failed` takes what a detector raises, which then begins anew with the next tick; without it
        that is raised.
        """
        self._failed = failed
        self.host = host
        """Whose events these are, from now on."""
        self._boot = boot
        self._cpu_ns = cpu_ns
        self._watches: dict[str, _Watch] = {}
        self._hidden = Hidden(2 * _MAX_WINDOW_TICKS)
        self._tick: int | None = None
        self._traffic: deque[int] = deque()
        """Ticks with records, or with what none holds, that a window may still reach."""
        self._events = 0

    def __len__(self) -> int:
        return len(self._watches)

    def silence_tells(self) -> bool:
        """Tell whether a tick without traffic may be news."""
        return any(watch.silence_tells() for watch in self._watches.values())

    def states(self) -> tuple[DetectorState, ...]:
        """Say how each fares."""
        for watch in self._watches.values():
            if watch.idle and self._tick is not None:
                watch.measure.absorb(self._tick, b"")
        return tuple(watch.state() for watch in self._watches.values())

    def apply(self, detectors: Sequence[Detector], now_tick: int, wall_ns: int) -> list[Event]:
        """Run exactly these from now on; one that stays the same keeps its window and alarms.

        Gives the end of the alarms of those that do not. Raises BadField and changes nothing.
        """
        check_all(detectors)
        begins = now_tick if self._tick is None else max(now_tick, self._tick)
        before, watches = dict(self._watches), {}
        for detector in detectors:
            kept = before.get(detector.name)
            if kept is not None and kept.detector == detector:
                watches[detector.name] = before.pop(detector.name)
            else:
                watches[detector.name] = _Watch(detector, self._hidden, begins)
        self._watches = watches
        return self._events_of(
            [
                watch.over(key, alarm.peak, begins)
                for watch in before.values()
                for key, alarm in list(watch.active.items())
            ],
            wall_ns,
        )

    def absorb(self, tick: Tick, wall_ns: int) -> list[Event]:
        """Take the next tick, or the next part of one; gives what is to be told of it.

        `wall_ns`: now.
        """
        return [event for events in self.absorbing(tick, wall_ns) for event in events]

    def absorbing(self, tick: Tick, wall_ns: int) -> Iterator[list[Event]]:
        """Do what `absorb` does, a detector at a time; nothing else may be done in between."""
        if self._tick is not None and tick.id < self._tick:
            self._hidden = Hidden(2 * _MAX_WINDOW_TICKS)
            for watch in self._watches.values():
                watch.hidden = self._hidden
                watch.begin(tick.id)
            self._tick = None
            self._traffic.clear()
        yield self._pass_empty(tick.id, wall_ns)
        self._tick = tick.id
        self._hidden.add(tick.id, tick)
        self._remember(tick)
        for watch in self._watches.values():
            if tick.records or not watch.idle:
                yield self._absorb(watch, tick.id, tick.records, wall_ns)

    def begin_anew(self) -> None:
        """Let each detector begin anew with the next tick: one was only half taken."""
        for watch in self._watches.values():
            watch.broken, watch.idle = True, False
        self._tick = None
        self._traffic.clear()
        self._hidden = Hidden(2 * _MAX_WINDOW_TICKS)
        for watch in self._watches.values():
            watch.hidden = self._hidden

    def finish(self, wall_ns: int) -> list[Event]:
        """Let time pass without traffic until no alarm is left: the end of a capture."""
        if self._tick is None:
            return []
        longest = max(
            (
                2 * watch.detector.window_ticks + watch.detector.clear_ticks
                for watch in self._watches.values()
            ),
            default=0,
        )
        return self._pass_empty(self._tick + longest + 1, wall_ns + longest * TICK_NS)

    def _pass_empty(self, until_tick: int, wall_ns: int) -> list[Event]:
        """Go through what nothing came in, as long as there is an alarm to clear.

        Ticks in which nothing can change are left out: what is told is the same.
        """
        events: list[Event] = []
        if self._tick is None:
            return events
        tick: int | None = self._tick + 1
        while (
            tick is not None
            and tick < until_tick
            and any(watch.active for watch in self._watches.values())
        ):
            self._tick = tick
            at_wall_ns = wall_ns - (until_tick - self._tick) * TICK_NS
            for watch in self._watches.values():
                if not watch.idle:
                    events += self._absorb(watch, self._tick, b"", at_wall_ns)
            following = [one.next_tick(tick, self._traffic) for one in self._watches.values()]
            tick = min((one for one in following if one is not None), default=None)
        return events

    def _remember(self, tick: Tick) -> None:
        traffic = self._traffic
        while traffic and traffic[0] <= tick.id - 2 * _MAX_WINDOW_TICKS:
            traffic.popleft()
        hides = tick.unread_frames or any(side.hidden_packets for side in tick.sides)
        if (tick.records or hides) and (not traffic or traffic[-1] != tick.id):
            traffic.append(tick.id)

    def _absorb(self, watch: _Watch, tick: int, records: bytes, wall_ns: int) -> list[Event]:
        begun_ns = self._cpu_ns()
        try:
            events = self._events_of(watch.absorb(tick, records), wall_ns)
        except Exception as error:  # the others go on
            if self._failed is None:
                raise
            watch.broken, watch.idle, events = True, False, []
            self._failed(error)
        watch.cpu_ns += self._cpu_ns() - begun_ns
        return events

    def _events_of(self, told: Sequence[_Told], wall_ns: int) -> list[Event]:
        return [self._event(one, wall_ns) for one in told]

    def _event(self, told: _Told, wall_ns: int) -> Event:
        self._events += 1
        detector = told.watch.detector
        return Event(
            id=f"{self.host}-{self._boot}-{self._events}",
            detector=detector.name,
            state=told.state,
            host=self.host,
            key_type=detector.by,
            key=KeyType.parse(detector.by).format(told.key),
            count=told.reading.count,
            peak=told.alarm.peak.count.estimate,
            threshold=detector.threshold,
            first_tick=told.watch.measure.first_tick(),
            last_tick=told.tick,
            raised_tick=told.alarm.raised_tick,
            wall_ns=wall_ns,
            sentence=told.sentence,
            evidence=told.evidence.rows,
            sources=told.evidence.sources,
            ports=told.evidence.ports,
        )
