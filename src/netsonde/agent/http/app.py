"""Routes, limits, and the one place where errors become status codes."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap, Message, Scope

from netsonde.agent.http import (
    body,
    detectors,
    document,
    events,
    host,
    messages,
    metrics,
    problem,
    questions,
    tasks,
    webhooks,
)
from netsonde.agent.http.streams import Streams
from netsonde.agent.service import Service
from netsonde.model import errors

BODY_S = 5.0
"""Seconds a client may take to send a message's body."""
GREETING = (
    "netsonde agent: POST a message here as a form or JSON, such as type=query+leaf+agents; "
    "an unknown type is answered with the list of all. Everything else is under /v1: see /v1/docs."
)
_VERSIONED = "/v1"

AnyRequest = Request[Any, Any, Any]
AnyResponse = Response[str] | Response[bytes]


def application(service: Service) -> Litestar:
    """Build the ASGI application over a service."""

    def fail(request: AnyRequest, error: Exception) -> AnyResponse:
        """Say that nobody foresaw this; every other request goes on."""
        service.failures.note("answer", error)
        return _refuse(request, errors.Unforeseen.of(error))

    handlers: ExceptionHandlersMap = {
        errors.NetsondeError: _refuse,
        HTTPException: _refuse_http,
        TimeoutError: _refuse_slow,
        Exception: fail,
    }

    routes = [*_prototype(service), *metrics.routes(service.metrics), *document.pages()]

    async def count(message: Message, _: Scope) -> None:
        if message["type"] == "http.response.start":
            service.served.by_status[message["status"]] += 1

    return Litestar(
        route_handlers=[*routes, *versioned(service)],
        before_send=[count],
        before_request=_have_body,
        exception_handlers=handlers,
        request_max_body_size=body.MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )


def versioned(service: Service) -> list[HTTPRouteHandler]:
    """Give the handlers of `/v1`, which the OpenAPI document describes."""
    open_streams = Streams(service.failures)
    service.served.open_streams = lambda: open_streams.open
    return [
        *tasks.routes(service.tasks),
        *questions.routes(service.questions, open_streams),
        *detectors.routes(service.detectors),
        *events.routes(service.ring, open_streams),
        *webhooks.routes(service.webhooks),
        *host.routes(service),
    ]


def _prototype(service: Service) -> list[HTTPRouteHandler]:
    @get("/", media_type=MediaType.TEXT, sync_to_thread=False)
    def greet() -> str:
        return GREETING + "\n"

    @post("/", media_type=MediaType.TEXT, status_code=200)
    async def take(request: AnyRequest) -> Response[str]:
        content_type = request.headers.get("content-type", "")
        reply = await messages.handle(body.read(content_type, await request.body()), service)
        return Response(reply.text, headers=reply.headers, media_type=MediaType.TEXT)

    return [greet, take]


async def _have_body(request: AnyRequest) -> None:
    """Wait for the whole body, which the framework keeps; raises TimeoutError."""
    async with asyncio.timeout(BODY_S):
        await request.body()


def _is_versioned(request: AnyRequest) -> bool:
    return request.scope["path"].startswith(_VERSIONED)


def _text(sentence: str, status: int) -> Response[str]:
    return Response(sentence, status_code=status, media_type=MediaType.TEXT)


def _refuse(request: AnyRequest, error: errors.NetsondeError) -> AnyResponse:
    if _is_versioned(request):
        return problem.refusal(error)
    return _text(str(error), problem.status_of(error))


def _refuse_http(request: AnyRequest, error: HTTPException) -> AnyResponse:
    if _is_versioned(request):
        return problem.http_refusal(request, error, body.MAX_BODY_BYTES)
    if error.status_code == 413:
        return _text(f"field 'body' is too long; allowed: {body.MAX_BODY_BYTES} bytes", 413)
    return _text(f"{error.detail}; messages go to POST /", error.status_code)


def _refuse_slow(request: AnyRequest, _: TimeoutError) -> AnyResponse:
    sentence = f"field 'body' did not arrive; allowed: {BODY_S:.0f} s"
    if _is_versioned(request):
        return problem.respond(408, sentence, field="body", allowed=f"{BODY_S:.0f} s")
    return _text(sentence, 408)
