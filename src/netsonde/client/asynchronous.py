"""The client: asks one agent, which answers for everyone below it.

async with AsyncClient("http://10.0.0.2:8000") as client:
    print(await client.top("src", window="last 30s", proto="tcp"))
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack

import anyio
import httpx
import msgspec

from netsonde.client import errors, results
from netsonde.client.http import TIMEOUT_S, Http
from netsonde.client.questions import About, question
from netsonde.client.resources import AsyncDetectors, AsyncTasks, AsyncWebhooks
from netsonde.client.sse import Message
from netsonde.model import asked
from netsonde.model.asked import Asked, IncrementName, StepName
from netsonde.model.certificate import Covered
from netsonde.model.detector import Event
from netsonde.model.resource import EventPage, Host, Problem

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
"""Between tries to open a stream again; each is twice as long as the one before."""


class DroppedEvents(UserWarning):
    """Events gave way to later ones before they were read."""


class Dropped(msgspec.Struct, frozen=True):
    """What a stream says when it could not say all."""

    dropped: int


def _warn(dropped: int) -> None:
    warnings.warn(f"{dropped} events gave way to later ones", DroppedEvents, stacklevel=3)


def _raise(refused: errors.Refused) -> None:
    raise refused


State = Literal["raised", "cleared"]
R = TypeVar("R", bound=results.Result)
T = TypeVar("T")


class AsyncClient:
    """Questions to one agent; usable from one event loop.

    Every call raises a `ClientError` (see `netsonde.client.errors`), and nothing else, when it
    has no answer. Every question takes the fields of a filter (`interface`, `family`, `proto`,
    `src`, `dst`, `sport`, `dport`, `flow`) or a `task`, a `window` such as "last 30s", and a
    `scope`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = Http(url, timeout_s, transport)
        self.tasks = AsyncTasks(self._http)
        self.detectors = AsyncDetectors(self._http)
        self.webhooks = AsyncWebhooks(self._http)

    @property
    def url(self) -> str:
        """Of the agent that is asked."""
        return self._http.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls after it raise Closed."""
        await self._http.close()

    async def ask(self, question: Asked) -> results.Result:
        """Ask a question that is written down; the methods below write it."""
        found: results.Result = await self._http.send(
            "POST",
            "/v1/questions",
            results.Result,  # type: ignore[arg-type] # a union is a type to msgspec
            body=question,
        )
        return found

    async def _ask(self, question: Asked, into: type[R]) -> R:
        return await self._http.send("POST", "/v1/questions", into, body=question)

    async def count(
        self,
        key: str | None = None,
        *,
        by: str | None = None,
        increment: IncrementName = "packets",
        **about: Unpack[About],
    ) -> results.CountResult:
        """How much: of everything that passes, or of one `key` of the key type `by`."""
        wanted = question(asked.Count, about, by=by, key=key, increment=increment)
        return await self._ask(wanted, results.CountResult)

    async def top(
        self,
        by: str,
        *,
        increment: IncrementName = "packets",
        k: int | None = None,
        share: float | None = None,
        **about: Unpack[About],
    ) -> results.TopResult:
        """Who has most: the `k` (10) largest keys, or those that may be over a `share` (0 to 1)."""
        wanted = question(asked.Top, about, by=by, increment=increment, k=k, share=share)
        return await self._ask(wanted, results.TopResult)

    async def keys(
        self,
        by: str,
        *,
        increment: IncrementName = "packets",
        limit: int = 1000,
        after: str | None = None,
        **about: Unpack[About],
    ) -> AsyncIterator[results.KeysResult]:
        """All keys in the order of their text, in pages of `limit`, from behind `after` on.

        Each page is a question of its own: give an absolute window, or a task, where the pages
        must be about the same time.
        """
        while True:
            wanted = question(
                asked.Keys, about, by=by, increment=increment, limit=limit, after=after
            )
            page = await self._ask(wanted, results.KeysResult)
            yield page
            if page.next is None:
                return
            after = page.next

    async def distinct(self, by: str, **about: Unpack[About]) -> results.DistinctResult:
        """How many different keys."""
        return await self._ask(question(asked.Distinct, about, by=by), results.DistinctResult)

    async def distribution(
        self,
        by: str,
        *,
        increment: IncrementName = "packets",
        quantiles: tuple[float, ...] = (0.5, 0.9, 0.99),
        **about: Unpack[About],
    ) -> results.DistributionResult:
        """How unequal keys are: histogram and quantiles of their totals, and entropy."""
        wanted = question(
            asked.Distribution, about, by=by, increment=increment, quantiles=quantiles
        )
        return await self._ask(wanted, results.DistributionResult)

    async def spreaders(
        self, by: str = "src", of: str = "dst", *, k: int = 10, **about: Unpack[About]
    ) -> results.SpreadersResult:
        """Who contacts, or is contacted by, most others: distinct `of` for each `by`."""
        wanted = question(asked.Spreaders, about, by=by, of=of, k=k)
        return await self._ask(wanted, results.SpreadersResult)

    async def change(
        self,
        by: str,
        *,
        against: str = "before",
        increment: IncrementName = "packets",
        k: int = 10,
        **about: Unpack[About],
    ) -> results.ChangeResult:
        """What differs from the window `against`, largest difference first."""
        wanted = question(asked.Change, about, by=by, against=against, increment=increment, k=k)
        return await self._ask(wanted, results.ChangeResult)

    async def series(
        self,
        key: str | None = None,
        *,
        by: str | None = None,
        increment: IncrementName = "packets",
        step: StepName = "1s",
        **about: Unpack[About],
    ) -> results.SeriesResult:
        """A count for each `step`, of everything that passes or of one `key` of `by`."""
        wanted = question(asked.Series, about, by=by, key=key, increment=increment, step=step)
        return await self._ask(wanted, results.SeriesResult)

    async def live(
        self,
        question: Asked,
        *,
        every: str = "1s",
        on_problem: Callable[[errors.Refused], None] = _raise,
    ) -> AsyncIterator[results.Result]:
        """Ask again and again, `every` so often, until the iteration ends.

        An answer that could not be given goes to `on_problem`, which raises it unless told
        otherwise; the stream goes on. A slow reader gets fewer answers. Raises Unreachable when
        the stream breaks.
        """
        params = {"q": msgspec.json.encode(question).decode(), "every": every}
        async with self._http.stream("/v1/questions/stream", params) as messages:
            async for message in messages:
                if message.kind == "problem":
                    on_problem(errors.refused(self._read(message, Problem)))
                elif message.kind == "answer":
                    with errors.translated(self.url):
                        found: results.Result = msgspec.json.decode(
                            message.data, type=results.Result
                        )
                    yield found

    async def past_events(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        detector: str | None = None,
        state: State | None = None,
    ) -> EventPage:
        """Give events of the past, oldest first, those after the id `after` where it is given."""
        params = {"after": after, "limit": limit, "detector": detector, "state": state}
        return await self._http.send("GET", "/v1/events", EventPage, params=params)

    async def events(
        self,
        *,
        after: str | None = None,
        detector: str | None = None,
        state: State | None = None,
        patience_s: float = 60.0,
        on_dropped: Callable[[int], None] = _warn,
    ) -> AsyncIterator[Event]:
        """Give events as they are said, and before them those after the id `after`.

        A stream that breaks is opened again where it broke, so that no event is left out or
        given twice; when events had to give way to later ones, `on_dropped` is told how many.
        Raises Unreachable when opening fails for `patience_s` seconds (`math.inf`: never), or
        when there was no stream at all.
        """
        params = {"detector": detector, "state": state}
        opened = False
        pause_s, waited_s = FIRST_PAUSE_S, 0.0
        while True:
            try:
                async with self._http.stream("/v1/events/stream", params, after) as messages:
                    opened, pause_s, waited_s = True, FIRST_PAUSE_S, 0.0
                    async for message in messages:
                        if message.kind == "dropped":
                            on_dropped(self._read(message, Dropped).dropped)
                        elif message.kind == "event":
                            yield self._read(message, Event)
                            after = message.id or after
            except (errors.Unreachable, errors.Away):
                if not opened or waited_s >= patience_s:
                    raise
            await anyio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _read(self, message: Message, into: type[T]) -> T:
        with errors.translated(self.url):
            return msgspec.json.decode(message.data, type=into)

    async def host(self) -> Host:
        """Give the status of the agent's host and of its flight recorder."""
        return await self._http.send("GET", "/v1/host", Host)

    async def members(self) -> Covered:
        """Give who is below the agent, and who of them does not answer."""
        return await self._http.send("GET", "/v1/members", Covered)
