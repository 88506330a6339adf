"""When what is asked: seldom, never twice at once, less often when nobody answers."""

from __future__ import annotations

import asyncio

import pytest
from scripted import Clock, ScriptedSource, event, series_answer

from netsonde.cli.top import poll as module
from netsonde.cli.top.choice import Choice
from netsonde.cli.top.poll import EVENTS_LIMIT, MOST_WAIT_S, Poll
from netsonde.cli.top.told import Told
from netsonde.model.asked import Series, Top
from netsonde.model.errors import Unavailable


class Case:
    def __init__(self, source: ScriptedSource | None = None) -> None:
        self.source, self.told, self.clock = source or ScriptedSource(), Told(), Clock()
        self.poll = Poll(self.source, self.told, self.clock)
        self.choice = Choice()

    async def turn(self) -> list[str]:
        kinds = self.poll.due(self.choice)
        for kind in kinds:
            await self.poll.ask(kind, self.choice, 30)
        self.clock.go_on(1)
        return kinds


def test_a_turn_is_one_question() -> None:
    async def play() -> None:
        case = Case()
        turns = [await case.turn() for _ in range(20)]
        assert turns[0] == ["top", "events"]
        assert turns[1] == ["series"]  # the rate is wanted as soon as there is a page
        questions = [[kind for kind in turn if kind != "events"] for turn in turns]
        assert all(len(turn) == 1 for turn in questions)
        assert questions.count(["series"]) == 5
        assert sum("events" in turn for turn in turns) == 10
        assert len(case.source.asked) == 20

    asyncio.run(play())


def test_the_rate_is_asked_of_the_seconds_since() -> None:
    async def play() -> None:
        case = Case()
        for _ in range(5):
            await case.turn()
        windows = [each.window for each in case.source.asked if isinstance(each, Series)]
        assert windows == ["last 120s", "last 10s"]
        case.choice = case.choice.filtered("tcp")
        case.poll.anew()
        assert "series" in case.poll.due(case.choice)

    asyncio.run(play())


def test_never_two_of_a_kind_at_once() -> None:
    async def play() -> None:
        case = Case(ScriptedSource(hold=True))
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                for kind in case.poll.due(case.choice):
                    group.create_task(case.poll.ask(kind, case.choice, 30))
                await asyncio.sleep(0)
                case.clock.go_on(1)
            assert case.poll.under_way == {"top", "events"}
            case.source.release.set()
        assert case.source.most == {"Top": 1, "events": 1}
        assert case.poll.under_way == frozenset()

    asyncio.run(play())


def test_a_failure_is_kept_and_asked_about_less_and_less() -> None:
    async def play() -> None:
        case = Case()
        await case.turn()
        answer = case.told.top
        case.source.error = Unavailable("nobody there")
        turns = [await case.turn() for _ in range(60)]
        tried = sum("top" in turn or "series" in turn for turn in turns)
        assert tried <= 2 * (60 // MOST_WAIT_S) + 8
        assert "nobody there" in case.told.troubles["top"].why
        assert case.told.top is answer
        assert 0 <= case.poll.retry_in_s("top") <= MOST_WAIT_S
        case.source.error = None
        case.clock.go_on(MOST_WAIT_S)
        while "top" not in await case.turn():
            pass
        assert "top" not in case.told.troubles
        assert case.told.top is not answer

    asyncio.run(play())


def test_an_answer_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)

    async def play() -> None:
        case = Case(ScriptedSource(hold=True))
        await case.turn()
        assert "no answer in" in case.told.troubles["top"].why
        assert case.poll.under_way == frozenset()

    asyncio.run(play())


def test_what_is_no_longer_wanted_changes_nothing() -> None:
    async def play() -> None:
        case = Case(ScriptedSource(hold=True))
        asked = asyncio.create_task(case.poll.ask("top", case.choice, 30))
        await asyncio.sleep(0)
        case.poll.anew()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert not case.told.troubles
        assert "top" in case.poll.due(case.choice)

    asyncio.run(play())


def test_an_answer_to_another_question_is_refused() -> None:
    async def play() -> None:
        source = ScriptedSource(top=lambda _: series_answer([1]))  # type: ignore[arg-type,return-value]
        case = Case(source)
        await case.turn()
        assert case.told.top is None
        assert "another question" in case.told.troubles["top"].why

    asyncio.run(play())


def test_events_are_read_to_the_end_once() -> None:
    async def play() -> None:
        many = [event(n, key=f"k{n}") for n in range(EVENTS_LIMIT + 7)]
        case = Case(ScriptedSource(event_list=many))
        await case.turn()
        assert len(case.told.active) == len(many)
        await case.turn()
        await case.turn()
        assert case.source.after == [None, many[99].id, many[-1].id]

    asyncio.run(play())


def test_rows_are_asked_for_as_many_as_there_is_room() -> None:
    async def play() -> None:
        case = Case()
        await case.poll.ask("top", case.choice, 50)
        assert isinstance(case.source.asked[0], Top)
        assert case.source.asked[0].k == 50

    asyncio.run(play())
