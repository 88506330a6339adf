"""Upkeep: work and answers give way to each other, and to ticks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from netsonde.daemon.failures import Failures
from netsonde.model.errors import NotFound
from netsonde.model.evidence import Evidence
from netsonde.monitor.budget import Budget
from netsonde.monitor.upkeep import SLICE_NS, Upkeep
from netsonde.recorder.questions import Answered, Answering

ANSWERED = Answered(part=b"x", evidence=Evidence(software={}, hooks={}, first_tick=0, last_tick=0))


def upkeep_of(
    works: Sequence[Callable[[], bool]],
    charge: Callable[[int], None],
    ahead: Callable[[], Answering | None],
    failures: Failures | None = None,
) -> Upkeep:
    return Upkeep(works, charge, ahead, budget=Budget(1.0), failures=failures or Failures())


def busy() -> None:
    """Take the CPU for longer than a slice."""
    end_ns = time.monotonic_ns() + SLICE_NS
    while time.monotonic_ns() <= end_ns:
        pass


def slices(log: list[str], name: str, count: int) -> Answering:
    for _ in range(count):
        busy()
        log.append(name)
        yield
    return ANSWERED


def test_answers_and_work_take_turns() -> None:
    async def story() -> None:
        log: list[str] = []
        costs_ns: list[int] = []
        left = iter([True] * 5 + [False])

        def work() -> bool:
            busy()
            log.append("work")
            return next(left)

        upkeep = upkeep_of((work,), costs_ns.append, lambda: None)
        running = asyncio.create_task(upkeep.run())
        upkeep.wake()
        answers = [upkeep.answer(slices(log, name, 4)) for name in ("a", "b")]
        assert await asyncio.gather(*answers) == [ANSWERED] * 2
        while log.count("work") < 6:
            await asyncio.sleep(0)
        running.cancel()
        assert len(costs_ns) == 6
        assert sum(costs_ns) > 0
        second = log.index("work", log.index("work") + 1)
        assert {"a", "b"} <= set(log[:second]), "both answers go on before the next piece of work"

    asyncio.run(story())


def test_an_answer_that_fails_lets_the_next_one_in() -> None:
    async def story() -> None:
        def fails() -> Answering:
            yield
            raise NotFound("gone")

        upkeep = upkeep_of((lambda: False,), lambda cost_ns: None, lambda: None)
        for _ in range(5):
            with pytest.raises(NotFound):
                await upkeep.answer(fails())
        assert await upkeep.answer(slices([], "a", 1)) == ANSWERED

    asyncio.run(story())


def test_answers_ahead_come_after_work_and_before_the_next() -> None:
    async def story() -> None:
        log: list[str] = []
        todo = ["a", "fails", "b"]

        def fails() -> Answering:
            yield
            raise NotFound("gone")

        def ahead() -> Answering | None:
            name = todo.pop(0) if todo else None
            return None if name is None else fails() if name == "fails" else slices(log, name, 2)

        def work() -> bool:
            log.append("work")
            return False

        upkeep = upkeep_of((work,), lambda cost_ns: None, ahead)
        running = asyncio.create_task(upkeep.run())
        upkeep.wake()
        while "a" not in log:
            await asyncio.sleep(0)
        upkeep.wake()
        while todo or log.count("b") < 2:
            await asyncio.sleep(0)
        running.cancel()
        assert log == ["work", "a", "a", "work", "b", "b"]

    asyncio.run(story())


def test_who_asks_waits_for_no_more_than_a_slice_of_what_is_made_ahead() -> None:
    """A request takes several turns of the loop, and none of them may cost it another slice."""

    async def story() -> None:
        log: list[str] = []
        upkeep = upkeep_of((lambda: False,), lambda cost_ns: None, lambda: slices(log, "ahead", 2))
        running = asyncio.create_task(upkeep.run())
        upkeep.wake()
        meanwhile: list[int] = []
        while len(meanwhile) < 5:
            before = len(log)
            while len(log) == before:
                await asyncio.sleep(0)
            for _ in range(8):
                await asyncio.sleep(0)
            meanwhile.append(len(log) - before - 1)
        running.cancel()
        # A thread that is held up for a millisecond lets another slice in; not five times.
        assert min(meanwhile) == 0

    asyncio.run(story())
