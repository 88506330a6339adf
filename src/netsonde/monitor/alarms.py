"""The monitor's detectors at work: every tick goes through them, every event into the log.

Also the journal's: each event is a line of the monitor's own log.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence

import structlog

from netsonde.daemon.failures import Failures
from netsonde.model.detector import Detector, DetectorState, Event
from netsonde.monitor.event_log import EventLog
from netsonde.recorder.detect import Detectors
from netsonde.sketch.tick import Tick

MAX_WAITING = 16
"""Ticks that detectors have yet to see; then a tick waits for them."""
_log = structlog.get_logger()


class Alarms:
    """Detectors with a clock and a log; in the event loop's thread."""

    def __init__(self, boot: str, failures: Failures) -> None:
        """`boot`: what tells this monitor's events from those of others on the host."""
        self.log = EventLog(boot)
        self._failures = failures
        self._detectors = Detectors(
            os.uname().nodename,
            boot,
            time.thread_time_ns,
            failed=lambda error: failures.note("detector", error),
        )
        self._waiting: deque[Tick] = deque()
        self._under_way: Iterator[list[Event]] = iter(())

    def call_host(self, host: str) -> None:
        """Name the host in events from now on; an empty name changes nothing."""
        self._detectors.host = host or self._detectors.host

    def apply(self, detectors: Sequence[Detector], now_tick: int) -> None:
        """Run exactly these from now on; raises BadField and changes nothing."""
        self.catch_up()
        self._tell(self._detectors.apply(detectors, now_tick, time.time_ns()))

    def absorb(self, tick: Tick) -> None:
        """Take a closed tick; cheap, unless too many wait."""
        self._waiting.append(tick)
        while len(self._waiting) > MAX_WAITING:
            self.work()

    def work(self) -> bool:
        """Let one detector see one tick, in a millisecond or so; False when none is left.

        Never raises: one that fails begins anew, and where nobody knows which one, all do.
        """
        try:
            return self._work()
        except Exception as error:  # ticks go on
            self._failures.note("detectors", error)
            self._under_way = iter(())
            self._detectors.begin_anew()
            return bool(self._waiting)

    def _work(self) -> bool:
        events = next(self._under_way, None)
        if events is not None:
            self._tell(events)
        elif self._waiting:
            self._under_way = self._detectors.absorbing(self._waiting.popleft(), time.time_ns())
        else:
            return False
        return True

    def silence_tells(self) -> bool:
        """Tell whether an empty tick may end or begin an alarm."""
        return bool(self._waiting) or self._detectors.silence_tells()

    def catch_up(self) -> None:
        """Let them see all that was taken."""
        while self.work():
            pass

    def states(self) -> tuple[DetectorState, ...]:
        """Say how each detector fares."""
        return self._detectors.states()

    def _tell(self, events: Sequence[Event]) -> None:
        self.log.append(events)
        for event in events:
            _log.warning(
                f"alarm {event.state}",
                sentence=event.sentence,
                event_id=event.id,
                detector=event.detector,
                key=event.key,
                lower=event.count.lower,
                upper=event.count.upper,
            )
