"""What an agent would answer, for tests of the view: answers made by hand, given when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from netsonde.model.answer import Answer, KeyCount, Point, SeriesAnswer, TopAnswer
from netsonde.model.asked import Asked, FilterText, Series, Top
from netsonde.model.bound import Bound
from netsonde.model.certificate import Certificate, Covered, covered
from netsonde.model.detector import Event
from netsonde.model.errors import NetsondeError
from netsonde.model.evidence import Evidence
from netsonde.model.resource import CounterSpec, EventPage, TaskBody
from netsonde.model.window import wall_text

LAST_TICK = 17_639_000_009
"""End of a whole second."""
WALL_NS = (LAST_TICK + 1) * 100_000_000


def certificate(
    *,
    last_tick: int = LAST_TICK,
    ticks: int = 100,
    coverage: Covered | None = None,
    drops: dict[str, int] | None = None,
    exact: bool = True,
    told_one_in: int = 1,
    spilled: int = 0,
) -> Certificate:
    evidence = Evidence(
        software={"0.1.0": 8},
        hooks={"netfilter": ("10.0.0.2",)},
        first_tick=last_tick - ticks + 1,
        last_tick=last_tick,
        packets=1000,
        drops=drops or {},
        spilled_packets=spilled,
        cpu_ratio=0.012,
        rss_bytes=61_000_000,
        told_one_in=told_one_in,
    )
    return Certificate(
        software="0.1.0",
        task=None,
        filter=FilterText(),
        exact=exact,
        window=covered("last 10s", evidence),
        coverage=coverage or Covered(asked=8, answered=8),
        evidence=evidence,
        spilled_ratio=spilled / 1000,
    )


def between(lower: int, estimate: int, upper: int) -> Bound:
    return Bound(lower=lower, estimate=estimate, upper=upper)


def top_answer(
    rows: dict[str, Bound], by: str = "src", increment: str = "packets", **how: object
) -> TopAnswer:
    ordered = sorted(rows.items(), key=lambda pair: (-pair[1].estimate, pair[0]))
    total = sum((count for _, count in ordered), Bound.exactly(0))
    return TopAnswer(
        by=by,
        increment=increment,
        rows=tuple(KeyCount(key=key, count=count) for key, count in ordered),
        total=total,
        absent_upper=0,
        certificate=certificate(**how),  # type: ignore[arg-type]
    )


def series_answer(
    counts: list[int | None], last_tick: int = LAST_TICK, increment: str = "packets"
) -> SeriesAnswer:
    first = last_tick + 1 - 10 * len(counts)
    return SeriesAnswer(
        increment=increment,
        step_ms=1000,
        points=tuple(
            Point(
                tick=first + 10 * number,
                begins=wall_text(first + 10 * number),
                count=None if count is None else Bound.exactly(count),
            )
            for number, count in enumerate(counts)
        ),
        certificate=certificate(last_tick=last_tick, ticks=10 * len(counts)),
    )


def event(number: int, *, state: str = "raised", key: str = "10.0.0.6", **other: object) -> Event:
    fields: dict[str, object] = {
        "detector": "port_scan",
        "host": "10.0.0.5",
        "key_type": "src_dst",
        "count": Bound.exactly(85),
        "peak": 85,
        "threshold": 50,
        "first_tick": LAST_TICK - 50,
        "last_tick": LAST_TICK,
        "raised_tick": LAST_TICK,
        "wall_ns": WALL_NS,
        "sentence": f"{key} tries 85 ports of 10.0.0.5 in 5 s",
    }
    return Event(id=f"h5-b-{number}", state=state, key=key, **{**fields, **other})  # type: ignore[arg-type]


def task_body(number: int = 7, by: tuple[str, ...] = ("src_dport",)) -> TaskBody:
    return TaskBody(
        id=number,
        filter=FilterText(proto="tcp"),
        counters=tuple(CounterSpec(by=each, increment="bytes") for each in by),
        scope="subtree",
        since_tick=LAST_TICK - 1000,
        since=wall_text(LAST_TICK - 1000),
        etag="1",
        coverage=Covered(asked=8, answered=8),
    )


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def go_on(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class Tasks:
    def __init__(self, source: ScriptedSource) -> None:
        self._source = source

    async def list(self) -> tuple[TaskBody, ...]:
        return self._source.task_list


@dataclass
class ScriptedSource:
    """Answers by what it was given; `hold` makes it wait until `release` is set."""

    top: Callable[[Top], TopAnswer] = lambda asked: top_answer(
        {"10.0.0.6": Bound.exactly(120), "10.0.0.7": Bound.exactly(30)},
        by=asked.by,
        increment=asked.increment,
    )
    series: Callable[[Series], SeriesAnswer] = lambda asked: series_answer(
        [10, 20, 30], increment=asked.increment
    )
    event_list: list[Event] = field(default_factory=list)
    task_list: tuple[TaskBody, ...] = ()
    error: NetsondeError | None = None
    hold: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Asked] = field(default_factory=list)
    after: list[str | None] = field(default_factory=list)
    now: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    """Kind -> most requests of it that waited at once."""

    @property
    def tasks(self) -> Tasks:
        return Tasks(self)

    async def ask(self, question: Asked) -> Answer:
        self.asked.append(question)
        kind = type(question).__name__
        await self._wait(kind)
        if isinstance(question, Top):
            return self.top(question)
        assert isinstance(question, Series)
        return self.series(question)

    async def past_events(self, *, after: str | None = None, limit: int = 100) -> EventPage:
        self.after.append(after)
        await self._wait("events")
        ids = [each.id for each in self.event_list]
        rest = self.event_list[ids.index(after) + 1 if after else 0 :][:limit]
        return EventPage(events=tuple(rest), next=rest[-1].id if rest else after, dropped=0)

    async def _wait(self, kind: str) -> None:
        self.now[kind] = self.now.get(kind, 0) + 1
        self.most[kind] = max(self.most.get(kind, 0), self.now[kind])
        try:
            if self.hold:
                await self.release.wait()
            if self.error is not None:
                raise self.error
        finally:
            self.now[kind] -= 1
