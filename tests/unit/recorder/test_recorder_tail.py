"""The last ticks joined are what they were one by one, and are joined once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.model.window import Window
from netsonde.recorder import tail
from netsonde.recorder.steps import Step
from netsonde.recorder.tail import Tail
from netsonde.sketch import _abi
from netsonde.sketch.tick import Side, Tick
from netsonde.sketch.window import Window as Folded

COUNTER = Counter(key_type="src_dst")
TASK = Task(series="sketch", id=0, filter=Filter(), counters=(COUNTER,), since_tick=0)
QUESTION = Question(key_type="src_dst", window=Window.last(10), limit=1000)


def step(number: int, flows: list[int], era: int = 0) -> Step:
    records = bytearray()
    for flow in flows:
        record = _record(flow)
        records += record
    side = Side(packets=len(flows), ip_bytes=40 * len(flows), drops={})
    empty = Side(packets=0, ip_bytes=0, drops={})
    held = Tick(id=number, records=bytes(records), sides=(side, empty))
    return Step(
        begin=number,
        end=number + 1,
        era=era,
        first_tick=number,
        last_tick=number,
        began_mono_ns=number,
        ended_mono_ns=number + 1,
        held=held,
    )


def _record(flow: int) -> bytes:
    record = np.zeros((), _abi.RECORD)
    record["key"]["src"][10:16] = [255, 255, 10, 0, flow >> 8, flow & 255]
    record["key"]["dst"][10:16] = [255, 255, 10, 0, 0, 5]
    record["key"]["proto"] = 17
    record["packets"], record["bytes"] = 1, 40
    return record.tobytes()


def summed(ticks: list[Tick]) -> dict[bytes, int]:
    window = Folded(TASK)
    for tick in ticks:
        window.absorb(tick)
    return {row.key: row.count.estimate for row in window.summary(QUESTION, COUNTER).rows()}


@given(st.lists(st.lists(st.integers(0, 300), max_size=8, unique=True), min_size=1, max_size=12))
def test_joined_ticks_hold_what_they_held_one_by_one(flows: list[list[int]]) -> None:
    steps = [step(number, some) for number, some in enumerate(flows)]
    joined = list(Tail().ticks(steps))
    assert len(joined) == 1
    assert summed(joined) == summed([one.tick for one in steps])


def test_packed_steps_and_those_before_the_clock_was_set_stay_apart() -> None:
    steps = [step(0, [1]), step(1, [1]), step(2, [2], era=1), step(3, [2], era=1)]
    assert len(list(Tail().ticks(steps))) == 3
    steps[2].pack()
    assert len(list(Tail().ticks(steps))) == 4


def test_ticks_are_joined_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = tail.merged
    monkeypatch.setattr(tail, "merged", lambda t, most: calls.append(len(t)) or real(t, most))
    kept, steps = Tail(), [step(number, [number]) for number in range(12)]
    for _ in range(3):
        list(kept.ticks(steps[:10]))
    assert calls == [10]
    kept.keep_up(steps[:11])
    list(kept.ticks(steps[1:11]))
    assert calls == [10, 10]
    kept.keep_up(steps[:12])
    kept.keep_up(steps[:12])
    assert calls == [10, 10, 10], "nobody has asked since"


def test_more_than_there_is_room_for_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_MOST_BYTES", 3 * _abi.RECORD.itemsize)
    kept, steps = Tail(), [step(number, [1, 2]) for number in range(4)]
    assert len(list(kept.ticks(steps))) == 4
    assert not kept.wanted
