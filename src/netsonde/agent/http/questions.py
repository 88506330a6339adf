"""`/v1/questions`: one question, one answer; or the same question again and again as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream

from netsonde.agent.http import problem, streams
from netsonde.agent.http.budget import Budget
from netsonde.agent.http.document import problems
from netsonde.agent.http.streams import Streams
from netsonde.agent.http.strict import Strict
from netsonde.agent.questions import Questions
from netsonde.model.answer import Answer
from netsonde.model.asked import Asked
from netsonde.model.errors import BadField, NetsondeError
from netsonde.model.strict import read_once
from netsonde.model.window import TICKS_PER_S, Window

MAX_EVERY_TICKS = 600
"""Longest time between two answers of a stream: a minute."""

AskedText = Annotated[str, QueryParameter(name="q", description="a question, as JSON")]
Every = Annotated[str, QueryParameter(description="time between answers: 100ms to 60s")]

AnyRequest = Request[Any, Any, Any]

_ASKED = msgspec.json.Decoder(Asked)


def routes(questions: Questions, open_streams: Streams) -> list[HTTPRouteHandler]:
    """Give the handlers over an agent's questions."""

    @post(
        "/v1/questions",
        tags=["questions"],
        dto=Strict.of(Asked),
        return_dto=None,
        status_code=200,
        summary="Ask",
        responses=problems(404, 502, 503),
    )
    async def ask(data: JSONBody[Asked]) -> Answer:
        return await questions.ask(data)

    @get(
        "/v1/questions/stream",
        tags=["questions"],
        sync_to_thread=False,
        summary="Ask again and again",
        media_type=streams.MEDIA_TYPE,
        responses=problems(400, 404, 503),
    )
    def stream_answers(request: AnyRequest, text: AskedText, every: Every = "1s") -> Stream:
        asked: Asked = read_once(text.encode("utf-8", "replace"), Asked, _ASKED)
        every_s = _every_s(every)
        questions.plan(asked)
        budget = open_streams.budget
        return open_streams.respond(request, lambda: answers(questions, asked, every_s, budget))

    return [ask, stream_answers]


async def answers(
    questions: Questions, asked: Asked, every_s: float, budget: Budget
) -> AsyncIterator[bytes]:
    """Give the frames of a question's answers, for ever.

    Nothing is asked while the client does not take the former answer; it is told how many it so
    missed.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        try:
            await budget.admitted()
            answer = await budget.metered(questions.ask(asked))
        except NetsondeError as error:
            yield streams.frame("problem", problem.described(error))
        else:
            yield streams.frame("answer", answer)
        due += every_s
        missed = int((loop.time() - due) / every_s)
        if missed > 0:
            due += missed * every_s
            yield streams.frame("dropped", {"dropped": missed})
        while not await streams.in_time(asyncio.sleep(max(0.0, due - loop.time()))):
            yield streams.ALIVE


def _every_s(text: str) -> float:
    allowed = "100ms to 60s, such as 1s"
    try:
        window = Window.parse(f"last {text}", "every")
    except BadField:
        raise BadField("every", text, allowed) from None
    if window.ticks > MAX_EVERY_TICKS:
        raise BadField("every", text, allowed)
    return window.ticks / TICKS_PER_S
