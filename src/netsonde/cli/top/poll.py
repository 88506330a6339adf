"""When to ask what: one question a second, and never two of a kind at once.

The one idea: a second is a turn, and a turn is one question. Most turns ask for the top keys; one
in five asks for the rate of the seconds since. Events are the agent's own and cost no host a thing.
A kind that fails waits longer each time, up to MOST_WAIT_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from netsonde.cli.top.choice import Choice
from netsonde.cli.top.told import NS, Told, same_rate
from netsonde.model.answer import Answer, SeriesAnswer, TopAnswer
from netsonde.model.asked import Asked
from netsonde.model.errors import NetsondeError, ProtocolError
from netsonde.model.resource import EventPage, TaskBody
from netsonde.model.window import TICKS_PER_S

PATIENCE_S = 15.0
"""A request that takes longer is given up."""
MOST_WAIT_S = 8
SERIES_TURNS = 5
"""One turn in so many asks for the rate."""
EVENTS_TURNS = 2
FIRST_SERIES_S = 120
"""Seconds of the past asked for at first."""
MOST_PAGES = 10
"""Pages of events read at a time; the rest waits for the next turn."""
EVENTS_LIMIT = 100


class TaskLister(Protocol):
    """Tasks of an agent."""

    async def list(self) -> tuple[TaskBody, ...]:
        """Give all; raises NetsondeError."""


class Source(Protocol):
    """What is needed of `netsonde.client.AsyncClient`; every call raises NetsondeError alone."""

    @property
    def tasks(self) -> TaskLister:
        """Its tasks."""

    async def ask(self, question: Asked) -> Answer:
        """Answer a question."""

    async def past_events(self, *, after: str | None = None, limit: int = 100) -> EventPage:
        """Give a page of events, oldest first."""


class Poll:
    """Asks for what is due, and puts it into `told`."""

    def __init__(
        self, source: Source, told: Told, clock_mono_ns: Callable[[], int], every_s: float = 1.0
    ) -> None:
        self._source = source
        self._told = told
        self._clock_mono_ns = clock_mono_ns
        self._every_ns = round(every_s * NS)
        self._turn = 0
        self._under_way: dict[str, object] = {}
        self._not_before_ns: dict[str, int] = {}

    @property
    def under_way(self) -> frozenset[str]:
        """Kinds of requests that wait for an answer."""
        return frozenset(self._under_way)

    def due(self, choice: Choice) -> list[str]:
        """Begin a turn, and say which kinds of requests to make in it."""
        now_ns, turn = self._clock_mono_ns(), self._turn
        self._turn += 1
        told = self._told
        rated = told.points_choice is not None and same_rate(told.points_choice, choice)
        wanted = "series" if told.top is not None and not rated else "top"
        if rated and turn % SERIES_TURNS == SERIES_TURNS - 1:
            wanted = "series"
        if wanted == "series" and not self._free("series", now_ns):
            wanted = "top"
        kinds = [wanted, "events"] if turn % EVENTS_TURNS == 0 else [wanted]
        return [kind for kind in kinds if self._free(kind, now_ns)]

    def anew(self) -> None:
        """Forget what is under way and what has failed: something else is wanted now."""
        for kind in ("top", "series"):
            self._under_way.pop(kind, None)
            self._not_before_ns.pop(kind, None)
            self._told.succeed(kind)

    async def ask(self, kind: str, choice: Choice, k: int) -> None:
        """Make one request and keep what comes of it; cancelling it leaves nothing behind."""
        mark = object()
        self._under_way[kind] = mark
        try:
            async with asyncio.timeout(PATIENCE_S):
                await {"top": self._top, "series": self._series, "events": self._events}[kind](
                    choice, k
                )
        except TimeoutError:
            if self._under_way.get(kind) is mark:
                self._failed(kind, f"no answer in {PATIENCE_S:.0f} s")
        except NetsondeError as error:
            if self._under_way.get(kind) is mark:
                self._failed(kind, str(error))
        else:
            if self._under_way.get(kind) is mark:
                self._told.succeed(kind)
                self._not_before_ns.pop(kind, None)
        finally:
            if self._under_way.get(kind) is mark:
                del self._under_way[kind]

    async def tasks(self) -> tuple[TaskBody, ...]:
        """List the tasks that can be looked at; raises NetsondeError."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._source.tasks.list()

    def retry_in_s(self, kind: str) -> int:
        """Give the whole seconds until a kind that failed is asked for again."""
        wait_ns = self._not_before_ns.get(kind, 0) - self._clock_mono_ns()
        return max(0, -(-wait_ns // NS))

    def _free(self, kind: str, now_ns: int) -> bool:
        # A turn that comes a little early (timers do) is still the turn.
        early_ns = self._every_ns // 4
        return kind not in self._under_way and now_ns + early_ns >= self._not_before_ns.get(kind, 0)

    def _failed(self, kind: str, why: str) -> None:
        now_ns = self._clock_mono_ns()
        self._told.fail(kind, why, now_ns)
        times = self._told.troubles[kind].times
        wait_s = min(1 << min(times, 10), MOST_WAIT_S)
        self._not_before_ns[kind] = now_ns + wait_s * NS

    async def _top(self, choice: Choice, k: int) -> None:
        answer = await self._source.ask(choice.top(k))
        if not isinstance(answer, TopAnswer):
            raise ProtocolError("the agent answered another question than that for the top keys")
        self._told.take_top(choice, answer, self._clock_mono_ns())

    async def _series(self, choice: Choice, _k: int) -> None:
        told = self._told
        rated = told.points_choice is not None and same_rate(told.points_choice, choice)
        seconds = FIRST_SERIES_S
        if rated and told.points and told.top is not None:
            behind = told.top.certificate.window.last_tick // TICKS_PER_S - max(told.points)
            seconds = min(max(behind + 2, 2 * SERIES_TURNS), FIRST_SERIES_S)
        answer = await self._source.ask(choice.series(seconds))
        if not isinstance(answer, SeriesAnswer):
            raise ProtocolError("the agent answered another question than that for the rate")
        told.take_series(choice, answer)

    async def _events(self, _choice: Choice, _k: int) -> None:
        for _ in range(MOST_PAGES):
            page = await self._source.past_events(after=self._told.events_after, limit=EVENTS_LIMIT)
            self._told.take_events(page)
            if len(page.events) < EVENTS_LIMIT:
                return
