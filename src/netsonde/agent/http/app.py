"""Routes, limits, and the one place where errors become status codes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap

from netsonde.agent.http import (
    body,
    detectors,
    document,
    events,
    host,
    messages,
    metrics,
    problem,
    query,
    questions,
    tasks,
    webhooks,
)
from netsonde.agent.http.front import Front
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


def application(service: Service, http_names: Iterable[str] = ()) -> Front:
    """Build the ASGI application over a service, on a host that has these names besides."""

    def refuse(request: AnyRequest, error: errors.NetsondeError) -> AnyResponse:
        """Say why not; who comes at a bad time is counted."""
        if isinstance(error, errors.Busy):
            service.served.refused["busy"] += 1
        return _refuse(request, error)

    def fail(request: AnyRequest, error: Exception) -> AnyResponse:
        """Say that nobody foresaw this; every other request goes on."""
        service.failures.note("answer", error)
        return _refuse(request, errors.Unforeseen.of(error))

    handlers: ExceptionHandlersMap = {
        errors.NetsondeError: refuse,
        HTTPException: _refuse_http,
        TimeoutError: _refuse_slow,
        Exception: fail,
    }

    routes = [*_prototype(service), *metrics.routes(service.metrics), *document.pages()]

    app = Litestar(
        route_handlers=[*routes, *versioned(service)],
        before_request=_check,
        exception_handlers=handlers,
        request_max_body_size=body.MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    return Front(app, budget=service.budget, served=service.served, http_names=http_names)


def versioned(service: Service) -> list[HTTPRouteHandler]:
    """Give the handlers of `/v1`, which the OpenAPI document describes."""
    open_streams = Streams(service.failures, service.budget)
    service.served.open_streams = lambda: open_streams.slots.taken
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


async def _check(request: AnyRequest) -> None:
    """Check parameters and wait for the whole body, which the framework keeps.

    Raises BadField for a parameter, TimeoutError for a body.
    """
    if _is_versioned(request):
        query.check(request)
    async with asyncio.timeout(BODY_S):
        await request.body()


def _is_versioned(request: AnyRequest) -> bool:
    return request.scope["path"].startswith(_VERSIONED)


def _text(sentence: str, status: int, headers: dict[str, str] | None = None) -> Response[str]:
    return Response(sentence, status_code=status, media_type=MediaType.TEXT, headers=headers)


def _refuse(request: AnyRequest, error: errors.NetsondeError) -> AnyResponse:
    if _is_versioned(request):
        return problem.refusal(error)
    return _text(str(error), problem.status_of(error), problem.retry_after(error))


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
