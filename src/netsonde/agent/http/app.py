"""Routes, limits, and the one place where errors become status codes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from netsonde.agent.http import body, messages
from netsonde.agent.service import Service
from netsonde.model import errors

BODY_S = 5.0
"""Seconds a client may take to send a message's body."""
GREETING = (
    "netsonde agent: POST a message here as a form or JSON, such as type=query+leaf+agents; "
    "an unknown type is answered with the list of all."
)

_STATUS: dict[type[errors.NetsondeError], int] = {
    errors.TooLarge: 413,
    errors.BadField: 400,
    errors.NotFound: 404,
    errors.Busy: 503,
    errors.Unavailable: 503,
    errors.UnsupportedByKernel: 503,
    errors.ProbeFailed: 502,
    errors.ProtocolError: 502,
}

AnyRequest = Request[Any, Any, Any]

log = structlog.get_logger()


def application(service: Service) -> Litestar:
    """Build the ASGI application over a service."""

    @get("/", media_type=MediaType.TEXT, sync_to_thread=False)
    def greet() -> str:
        return GREETING + "\n"

    @post("/", media_type=MediaType.TEXT, status_code=200)
    async def take(request: AnyRequest) -> Response[str]:
        content_type = request.headers.get("content-type", "")
        async with asyncio.timeout(BODY_S):
            data = await request.body()
        reply = await messages.handle(body.read(content_type, data), service)
        return Response(reply.text, headers=reply.headers, media_type=MediaType.TEXT)

    @get("/v1/host", media_type=MediaType.JSON)
    async def host() -> dict[str, object]:
        return msgspec.structs.asdict(await service.host())

    handlers: ExceptionHandlersMap = {
        errors.NetsondeError: _refuse,
        HTTPException: _refuse_http,
        TimeoutError: _refuse_slow,
        Exception: _fail,
    }
    return Litestar(
        route_handlers=[greet, take, host],
        exception_handlers=handlers,
        request_max_body_size=body.MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )


def _text(sentence: str, status: int) -> Response[str]:
    return Response(sentence, status_code=status, media_type=MediaType.TEXT)


def _refuse(_: AnyRequest, error: errors.NetsondeError) -> Response[str]:
    status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
    return _text(str(error), status)


def _refuse_http(_: AnyRequest, error: HTTPException) -> Response[str]:
    if error.status_code == 413:
        return _text(f"field 'body' is too long; allowed: {body.MAX_BODY_BYTES} bytes", 413)
    return _text(f"{error.detail}; messages go to POST /", error.status_code)


def _refuse_slow(_: AnyRequest, __: TimeoutError) -> Response[str]:
    return _text(f"field 'body' did not arrive; allowed: {BODY_S:.0f} s", 408)


def _fail(request: AnyRequest, error: Exception) -> Response[str]:
    log.error("request failed", path=request.url.path, exc_info=error)
    return _text("the agent failed at this message; its log says where", 500)
