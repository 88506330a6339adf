"""A `/v1` for tests of the client: canned answers behind httpx's transport, requests kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import msgspec

Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class V1:
    """Answers in turn with what it was given; the last one again and again."""

    replies: list[Reply]
    requests: list[httpx.Request] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    @property
    def body(self):
        """Of the last request."""
        return json.loads(self.requests[-1].content)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(request) if callable(reply) else reply


def answering(*answers: object) -> V1:
    return V1([httpx.Response(200, content=msgspec.json.encode(each)) for each in answers])


def refusing(status: int, **problem: object) -> V1:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": "because"} | problem
    kind = {"content-type": "application/problem+json"}
    return V1([httpx.Response(status, json=body, headers=kind)])


class Stream(httpx.AsyncByteStream):
    """A body in pieces, which ends with an error where one is given."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.error:
            raise self.error

    async def aclose(self) -> None:
        self.closed = True


def streaming(stream: Stream) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)
