"""Errors of `/v1` as `application/problem+json` (RFC 9457), in one place."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import ParameterKwarg

from netsonde.agent.http import query
from netsonde.model import errors
from netsonde.model.resource import Problem

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[errors.NetsondeError], int] = {
    errors.TooLarge: 413,
    errors.BadField: 400,
    errors.NotFound: 404,
    errors.Changed: 412,
    errors.Busy: 503,
    errors.Unavailable: 503,
    errors.UnsupportedByKernel: 503,
    errors.ProbeFailed: 502,
    errors.ProtocolError: 502,
    errors.Unforeseen: 500,
}
"""HTTP status of every error, most special first."""
_SHOWN_CHARS = 120
_MISSING = re.compile(r"Missing required (\w+) parameter '([^']+)'")


def status_of(error: errors.NetsondeError) -> int:
    """Give the HTTP status of an error."""
    return next(code for kind, code in STATUS.items() if isinstance(error, kind))


def described(error: errors.NetsondeError) -> Problem:
    """Describe an error."""
    status = status_of(error)
    if isinstance(error, errors.BadField):
        value = _shown(error.value)
        return said(status, str(error), error.field, value, error.allowed)
    return said(status, str(error))


def retry_after(error: errors.NetsondeError) -> dict[str, str]:
    """Give the header that tells when to try again (RFC 9110 §10.2.3), where that makes sense."""
    if error.retry_after_s is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}


def refusal(error: errors.NetsondeError) -> Response[bytes]:
    """Say why a request was refused."""
    return _response(described(error), retry_after(error))


def http_refusal(
    request: Request[Any, Any, Any], error: HTTPException, body_limit_bytes: int
) -> Response[bytes]:
    """Say why a request reached no verb: no such path, method, header or parameter."""
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        allowed = f"{body_limit_bytes} bytes"
        return respond(
            413, f"field 'body' is too long; allowed: {allowed}", field="body", allowed=allowed
        )
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        first = error.extra[0]
        name = _asked_as(request, str(first.get("key", "request")))
        allowed = query.allowed(request, name) or str(first["message"])
        return respond(400, f"field '{name}' is refused: {allowed}", field=name, allowed=allowed)
    if missing := _MISSING.match(error.detail):
        allowed = f"a {missing[1]} parameter of that name"
        return respond(400, f"field '{missing[2]}' is missing", field=missing[2], allowed=allowed)
    return respond(error.status_code, error.detail, headers=error.headers)


def respond(
    status: int,
    detail: str,
    *,
    field: str | None = None,
    value: str | None = None,
    allowed: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response[bytes]:
    """Say why a request was refused, in other words."""
    return _response(said(status, detail, field, value, allowed), headers)


def said(
    status: int,
    detail: str,
    field: str | None = None,
    value: str | None = None,
    allowed: str | None = None,
) -> Problem:
    """Describe a refusal.

    Its title says no more than its status, so its type is `about:blank` (RFC 9457 §4.2.1).
    """
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        value=value,
        allowed=allowed,
    )


def _response(said: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(said), status_code=said.status, media_type=MEDIA_TYPE, headers=headers
    )


def _asked_as(request: Request[Any, Any, Any], name: str) -> str:
    """Give the name that a client knows a handler's parameter by."""
    parameter = request.route_handler.parsed_fn_signature.parameters.get(name)
    known = parameter.kwarg_definition if parameter else None
    return known.name or name if isinstance(known, ParameterKwarg) else name


def _shown(value: object) -> str | None:
    return None if value is None else str(value)[:_SHOWN_CHARS]
