"""The last ticks joined are what they were one by one, and are joined once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsonde.model.task import Counter, Filter, Question, Task
from netsonde.model.window import Window
from netsonde.recorder import steps as steps_module
from netsonde.recorder.steps import Step
from netsonde.recorder.tail import Tail
from netsonde.sketch import _abi
from netsonde.sketch.merge import Merging
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


def test_longer_steps_and_those_before_the_clock_was_set_stay_apart() -> None:
    steps = [step(0, [1]), step(1, [1]), step(2, [2], era=1), step(3, [2], era=1)]
    assert len(list(Tail().ticks(steps))) == 3
    steps[2].first_tick -= 9
    assert len(list(Tail().ticks(steps))) == 4


def test_what_was_packed_since_it_was_joined_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unpacked: list[int] = []
    real = steps_module.unpack
    monkeypatch.setattr(
        steps_module, "unpack", lambda data, at: unpacked.append(1) or real(data, at)
    )
    kept, steps = Tail(), [step(number, [number]) for number in range(4)]
    steps[0].pack()
    assert summed(list(kept.ticks(steps[:3]))) == summed([one.tick for one in steps[:3]])
    unpacked.clear()
    steps[1].pack()
    list(kept.keep_up(steps))
    assert not unpacked
    kept.let_go()
    assert summed(list(kept.ticks(steps[1:]))) == summed([one.tick for one in steps[1:]])
    assert len(unpacked) == 2, "one by the tail, one by this test"


def test_ticks_are_joined_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    real = Merging.add
    monkeypatch.setattr(
        Merging, "add", lambda into, tick: added.append(tick.id) or real(into, tick)
    )
    kept, steps = Tail(), [step(number, [number]) for number in range(13)]

    def of(tick_ids: range) -> list[int]:
        return [steps[number].tick.id for number in tick_ids]

    def news() -> list[int]:
        told = added.copy()
        added.clear()
        return told

    for _ in range(3):
        list(kept.ticks(steps[:10]))
    assert news() == of(range(10))
    list(kept.keep_up(steps[:11]))
    list(kept.ticks(steps[1:11]))
    assert news() == [*of(range(1, 11)), *of(range(2, 11))], "joined, and the next prepared"
    list(kept.keep_up(steps[:12]))
    assert news() == [*of(range(11, 12)), *of(range(3, 12))], "the newest, and the next prepared"
    list(kept.keep_up(steps))
    assert not news(), "nobody has asked since"
    assert summed(list(kept.ticks(steps[3:]))) == summed([one.tick for one in steps[3:]])


@given(st.lists(st.sampled_from(["ask", "piece", "close", "let go"]), max_size=60))
def test_whatever_comes_between_its_pieces_nothing_is_lost(story: list[str]) -> None:
    kept, steps, pieces = Tail(), [step(number, [number % 7]) for number in range(80)], iter(())
    end = 10
    for event in [*story, "ask"]:
        if event == "ask":
            run = steps[end - 10 : end]
            assert summed(list(kept.ticks(run))) == summed([one.tick for one in run])
        elif event == "piece":
            next(pieces, None)
        elif event == "let go":
            kept.let_go()
        else:
            end += 1
            pieces = kept.keep_up(steps[:end])


def test_more_than_there_is_room_for_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsonde.recorder.tail._MOST_BYTES", 3 * _abi.RECORD.itemsize)
    kept, steps = Tail(), [step(number, [1, 2]) for number in range(4)]
    assert len(list(kept.ticks(steps))) == 4
    assert not kept.wanted
