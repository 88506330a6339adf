"""The asynchronous client: what it sends, and what it makes of what comes back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import httpx
import msgspec
import pytest
import sample_answers
import v1

from netsonde.client import asynchronous, errors
from netsonde.client.asynchronous import AsyncClient, DroppedEvents
from netsonde.client.resources import task_spec
from netsonde.model import asked
from netsonde.model.bound import Bound
from netsonde.model.certificate import Covered
from netsonde.model.detector import Event
from netsonde.model.resource import CounterSpec, EventPage, TaskBody, TaskList

R = TypeVar("R")


def using(service: v1.V1, use: Callable[[AsyncClient], Awaitable[R]]) -> R:
    async def run() -> R:
        async with AsyncClient("http://root:8000", transport=service.transport) as client:
            return await use(client)

    return asyncio.run(run())


CALLS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "count": lambda client: client.count("10.0.0.6", by="src", increment="bytes"),
    "top": lambda client: client.top("src_dport", k=3, task=7),
    "distinct": lambda client: client.distinct("src", scope="host"),
    "distribution": lambda client: client.distribution("src", quantiles=(0.5,)),
    "spreaders": lambda client: client.spreaders(of="dst_dport", window="last 30s"),
    "change": lambda client: client.change("dst", against="last 5m"),
    "series": lambda client: client.series(step="100ms", proto="tcp", dport="80,443"),
}
SENT = {
    "count": asked.Count(by="src", key="10.0.0.6", increment="bytes"),
    "top": asked.Top(by="src_dport", k=3, task=7),
    "distinct": asked.Distinct(by="src", scope="host"),
    "distribution": asked.Distribution(by="src", quantiles=(0.5,)),
    "spreaders": asked.Spreaders(of="dst_dport", window="last 30s"),
    "change": asked.Change(by="dst", against="last 5m"),
    "series": asked.Series(step="100ms", filter=asked.FilterText(proto="tcp", dport="80,443")),
}


@pytest.mark.parametrize("verb", CALLS)
def test_a_question_is_sent_as_it_is_written(verb: str) -> None:
    service = v1.answering(sample_answers.ALL[verb])
    found = using(service, CALLS[verb])
    assert service.requests[-1].url == "http://root:8000/v1/questions"
    assert msgspec.convert(service.body, asked.Asked) == SENT[verb]
    assert msgspec.json.encode(found) == msgspec.json.encode(sample_answers.ALL[verb])


def test_an_answer_of_another_kind_is_not_understood() -> None:
    with pytest.raises(errors.NotUnderstood):
        using(v1.answering(sample_answers.COUNT), lambda client: client.top("src"))


def test_keys_go_on_behind_the_last_one() -> None:
    first = msgspec.structs.replace(sample_answers.KEYS, next="10.0.0.9")
    service = v1.answering(first, sample_answers.KEYS)

    async def pages(client: AsyncClient) -> list[str | None]:
        return [page.next async for page in client.keys("src", limit=2)]

    assert using(service, pages) == ["10.0.0.9", None]
    assert service.body["after"] == "10.0.0.9"


def test_a_task_is_added_and_replaced_under_its_etag() -> None:
    body = TaskBody(
        id=7,
        filter=asked.FilterText(proto="tcp"),
        counters=(),
        scope="subtree",
        since_tick=1,
        since="",
        etag="abc",
        coverage=Covered(asked=1, answered=1),
    )
    service = v1.answering(body)
    added = using(service, lambda client: client.tasks.add(["src", "src_dst:bytes"], proto="tcp"))
    assert added == body
    assert service.body["counters"] == [
        msgspec.to_builtins(CounterSpec(by="src")),
        msgspec.to_builtins(CounterSpec(by="src_dst", increment="bytes")),
    ]
    using(service, lambda client: client.tasks.replace(7, task_spec(["dst"]), etag=added.etag))
    assert service.requests[-1].method == "PUT"
    assert service.requests[-1].headers["if-match"] == '"abc"'
    listing = v1.answering(TaskList(tasks=(body,)))
    assert using(listing, lambda client: client.tasks.list()) == (body,)


def test_removing_reads_no_body() -> None:
    service = v1.V1([httpx.Response(204)])
    using(service, lambda client: client.detectors.remove("a b/c"))
    assert service.requests[-1].url.raw_path == b"/v1/detectors/a%20b%2Fc"


def event(number: int) -> Event:
    return Event(
        id=f"h4-1-{number}",
        detector="port_scan",
        state="raised",
        host="10.0.0.4",
        key_type="src_dst",
        key="10.0.0.6,10.0.0.4",
        count=Bound.exactly(85),
        peak=85,
        threshold=50,
        first_tick=1,
        last_tick=2,
        raised_tick=2,
        wall_ns=3,
        sentence="10.0.0.6 scans",
    )


def message(number: int) -> bytes:
    written = msgspec.json.encode(event(number)).decode()
    return f": alive\n\nid: h4-1-{number}\nevent: event\ndata: {written}\n\n".encode()


async def followed(client: AsyncClient, number: int, **wanted: object) -> list[str]:
    found: list[str] = []
    async for each in client.events(**wanted):  # type: ignore[arg-type] # named by the tests
        found.append(each.id)
        if len(found) == number:
            break
    return found


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries, none of them waited for."""
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return pauses


def test_events_go_on_where_the_stream_broke(no_pause: list[float]) -> None:
    broken = v1.Stream(message(1), message(2)[:40], error=httpx.ReadError("reset"))
    service = v1.V1(
        [
            v1.streaming(broken),
            httpx.ConnectError("refused"),
            v1.streaming(v1.Stream(message(2))),
            v1.streaming(v1.Stream(message(3))),
        ]
    )
    found = using(service, lambda client: followed(client, 3, detector="port_scan"))
    assert found == ["h4-1-1", "h4-1-2", "h4-1-3"]
    resumed = [request.headers.get("last-event-id") for request in service.requests]
    assert resumed == [None, "h4-1-1", "h4-1-1", "h4-1-2"]
    assert service.requests[-1].url.params == httpx.QueryParams(detector="port_scan")
    assert no_pause == [0.25, 0.5, 0.25]


def test_events_that_gave_way_are_told(no_pause: list[float]) -> None:
    stream = v1.Stream(b'event: dropped\ndata: {"dropped": 12}\n\n', message(9))
    told: list[int] = []
    service = v1.V1([v1.streaming(stream)])
    assert using(service, lambda client: followed(client, 1, on_dropped=told.append)) == ["h4-1-9"]
    assert told == [12]
    with pytest.warns(DroppedEvents, match="12 events"):
        using(v1.V1([v1.streaming(stream)]), lambda client: followed(client, 1))


def test_events_without_any_stream_are_an_error_at_once(no_pause: list[float]) -> None:
    service = v1.V1([httpx.ConnectError("refused")])
    with pytest.raises(errors.Unreachable):
        using(service, lambda client: followed(client, 1, patience_s=math.inf))
    assert no_pause == []


def test_patience_has_an_end(no_pause: list[float]) -> None:
    service = v1.V1([v1.streaming(v1.Stream(message(1))), httpx.ConnectError("refused")])
    with pytest.raises(errors.Unreachable):
        using(service, lambda client: followed(client, 2, patience_s=60.0))
    assert sum(no_pause) >= 60.0
    assert max(no_pause) == asynchronous.LONGEST_PAUSE_S


def test_past_events_are_asked_with_what_is_given() -> None:
    page = EventPage(events=(event(1),), next=None, dropped=0)
    service = v1.answering(page)
    assert using(service, lambda client: client.past_events(state="raised")) == page
    sent = service.requests[-1].url.params
    assert sent == httpx.QueryParams(limit="100", state="raised")


def test_a_live_question_gives_answers() -> None:
    written = msgspec.json.encode(sample_answers.TOP)
    answer = b"event: answer\ndata: " + written + b"\n\n"
    refusal = {"type": "", "title": "", "status": 503, "detail": "the monitor is away"}
    problem = b"event: problem\ndata: " + msgspec.json.encode(refusal) + b"\n\n"
    dropped = b'event: dropped\ndata: {"dropped": 2}\n\n'
    service = v1.V1([v1.streaming(v1.Stream(answer, problem, dropped, answer))])
    told: list[errors.Refused] = []

    async def answers(client: AsyncClient, **wanted: object) -> list[object]:
        live = client.live(asked.Top(by="src"), every="500ms", **wanted)  # type: ignore[arg-type]
        return [found async for found in live]

    found = using(service, lambda client: answers(client, on_problem=told.append))
    assert [msgspec.json.encode(each) for each in found] == [written, written]
    assert service.requests[-1].url.params["every"] == "500ms"
    assert [str(each) for each in told] == ["the monitor is away"]
    assert isinstance(told[0], errors.Away)
    with pytest.raises(errors.Away):
        using(v1.V1([v1.streaming(v1.Stream(problem))]), answers)
