"""A capture's alarms: its ticks through the detectors of a monitor, in the capture's own time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from netsonde.model.detector import Detector, Event
from netsonde.model.window import TICK_NS
from netsonde.recorder.detect import Detectors
from netsonde.replay.capture import Capture

HOST = "replay"
"""The host that events name."""


def alarms(capture: Capture, detectors: Sequence[Detector]) -> Iterator[tuple[Event, int]]:
    """Count a capture to its end; gives its events, and the bytes of it read so far.

    After its end time goes on until every alarm is over. Raises BadField for detectors that cannot
    run together.
    """
    running, began, offset = Detectors(HOST, "0", time.thread_time_ns), False, 0
    wall_ns = 0
    for tick, offset in capture.ticks(1):
        if not began:
            began = True
            running.apply(detectors, tick.id, 0)
        wall_ns = (tick.id + 1) * TICK_NS
        yield from ((event, offset) for event in running.absorb(tick, wall_ns))
    yield from ((event, offset) for event in running.finish(wall_ns))
