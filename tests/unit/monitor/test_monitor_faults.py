"""Whatever is called while ticks are taken may fail: ticks go on, each failure is noted, and
answers afterwards are right, or say what they miss.

The one idea: what is called is counted, and the n-th call raises; for the first and the last call
from each place that calls anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any

import pytest
import structlog
from recording import NOW, tick

from netsonde.daemon.failures import Failures
from netsonde.model.detector import Detector
from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.model.window import REAL_TIME, TICK_NS, TOTAL, Window
from netsonde.monitor.alarms import Alarms
from netsonde.monitor.taken import Closed
from netsonde.monitor.tasks import Tasks
from netsonde.recorder.questions import finished
from netsonde.recorder.ring import Recorder
from netsonde.sketch.summary import Summary

ROOMS = tuple(f"netsonde.{room}" for room in ("monitor", "recorder", "sketch"))
TASKS = [
    Task(series="sketch", id=0, filter=Filter(), counters=(Counter(key_type="src"),), since_tick=1),
    Task(series="counter", id=1, filter=Filter(proto=6), since_tick=1),
]
DETECTORS = [
    Detector(name="many", measure="count", by="src", threshold=5, window_ticks=3),
    Detector(name="wide", measure="spread", by="src", of="dst", threshold=1, window_ticks=3),
]
PACKETS = 7


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class InjectedError(Exception):
    """What nobody foresaw."""


class Injector:
    """Counts calls of our rooms' functions, and raises in the n-th."""

    def __init__(self, number: int) -> None:
        self.number, self.where = number, ""
        self.places: list[tuple[str, int, str]] = []
        """Who called from which line, and what, of each call."""

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        # A generator is also called to be closed, and whatever it raises then reaches nobody.
        if event != "call" or not is_ours(frame) or frame.f_code.co_flags & CO_GENERATOR:
            return
        caller = frame.f_back
        if caller is None or not is_ours(caller):
            return
        called = frame.f_code.co_qualname
        self.places.append((caller.f_code.co_qualname, caller.f_lineno, called))
        if len(self.places) == self.number:
            self.where = called
            raise InjectedError(called)


def chosen(places: list[tuple[str, int, str]]) -> list[int]:
    """Give the numbers of the first and the last call of each place."""
    firsts = {place: number for number, place in reversed(list(enumerate(places, 1)))}
    lasts = {place: number for number, place in enumerate(places, 1)}
    return sorted({*firsts.values(), *lasts.values()})


def is_ours(frame: FrameType) -> bool:
    """What is seen is added up before anything else, and cannot be told if even that fails."""
    room = frame.f_globals.get("__name__", "")
    return room.startswith(ROOMS) and room not in ("netsonde.recorder.seen", "netsonde.sketch.tick")


def injected(number: int, done: Callable[[], object]) -> Injector:
    """Let a call fail in what is done, and give which."""
    injector = Injector(number)
    sys.setprofile(injector)
    try:
        done()
    finally:
        sys.setprofile(None)
    return injector


class Host:
    """Tasks and detectors, and the ticks that come."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.tasks = Tasks(Recorder(1 << 20), failures=self.failures)
        self.alarms = Alarms("b00t", self.failures)
        self.tasks.apply(TASKS, NOW)
        self.alarms.apply(DETECTORS, NOW)
        self.ticks = 0

    def take(self) -> None:
        one = tick(NOW + self.ticks, [(self.ticks % 3, PACKETS)])
        self.ticks += 1
        self.tasks.absorb(Closed(tick=one, mono_ns=(100 + self.ticks) * TICK_NS))
        self.alarms.absorb(one)

    def work(self) -> None:
        while self.tasks.work() or self.alarms.work():
            pass

    def check(self) -> None:
        """Each packet is in an answer, or in the ticks that it says it misses."""
        assert self.tasks.packets == self.ticks * PACKETS, "what was seen is known, come what may"
        for task in TASKS:
            question = Question(series=task.series, task_id=task.id, window=TOTAL)
            answered = finished(self.tasks.answering(question))
            counted = Summary.from_bytes(answered.part).total_packets.estimate
            missed = answered.evidence.missed_ticks
            assert counted == (self.ticks - missed) * PACKETS
            assert answered.evidence.packets == counted
        answered = finished(self.tasks.answering(Question(window=Window.last(self.ticks))))
        counted = Summary.from_bytes(answered.part).total_packets.estimate
        assert counted == (self.ticks - answered.evidence.missed_ticks) * PACKETS
        assert finished(self.tasks.answering(Question(window=REAL_TIME))).evidence.packets > 0


def begun() -> Host:
    host = Host()
    for _ in range(9):
        host.take()
    host.work()
    return host


def act(host: Host) -> None:
    """Go over the end of a second, with all that is then joined and packed."""
    for _ in range(12):
        host.take()
    host.work()


def test_taking_ticks_survives_a_failure_of_every_call() -> None:
    numbers = chosen(injected(0, partial(act, begun())).places)
    assert len(numbers) > 200
    for number in numbers:
        host = begun()
        injector = injected(number, partial(act, host))
        assert injector.where
        for _ in range(15):
            host.take()
            host.work()
        assert host.failures.counts, injector.where
        host.check()
        assert {one.name for one in host.alarms.states()} == {"many", "wide"}


@pytest.mark.parametrize("window", [REAL_TIME, TOTAL, Window.last(20)])
def test_an_answer_may_fail_at_every_call_and_the_next_is_right(window: Window) -> None:
    host = Host()
    for _ in range(25):
        host.take()
    host.work()
    question = Question(series="sketch" if window == TOTAL else None, key_type="src", window=window)
    host.take()
    places = injected(0, partial(finished, host.tasks.answering(question))).places
    host.take()  # nothing is known yet of this one
    failed = 0
    for number in chosen(places):
        try:
            injected(number, lambda: finished(host.tasks.answering(question)))
        except InjectedError:
            failed += 1
        again = finished(host.tasks.answering(question))
        assert again.evidence.last_tick >= host.tasks.last_tick - 1
        host.check()
        host.work()
        host.take()
    assert failed > 10
