"""Errors of `/v1` as `application/problem+json` (RFC 9457), in one place."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import ParameterKwarg

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
}
"""HTTP status of every error, most special first."""
_SHOWN_CHARS = 120


def status_of(error: errors.NetsondeError) -> int:
    """Give the HTTP status of an error."""
    return next(code for kind, code in STATUS.items() if isinstance(error, kind))


def refusal(error: errors.NetsondeError) -> Response[bytes]:
    """Say why a request was refused."""
    if isinstance(error, errors.BadField):
        return respond(
            status_of(error),
            str(error),
            field=error.field,
            value=_shown(error.value),
            allowed=error.allowed,
        )
    return respond(status_of(error), str(error))


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
        said = error.extra[0]
        name, allowed = _asked_as(request, str(said.get("key", "request"))), str(said["message"])
        return respond(400, f"field '{name}' is refused: {allowed}", field=name, allowed=allowed)
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
    """Write a problem; its title says no more than its status, so its type is `about:blank`."""
    said = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        value=value,
        allowed=allowed,
    )
    return Response(
        msgspec.json.encode(said), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def _asked_as(request: Request[Any, Any, Any], name: str) -> str:
    """Give the name that a client knows a handler's parameter by."""
    parameter = request.route_handler.parsed_fn_signature.parameters.get(name)
    known = parameter.kwarg_definition if parameter else None
    return known.name or name if isinstance(known, ParameterKwarg) else name


def _shown(value: object) -> str | None:
    return None if value is None else str(value)[:_SHOWN_CHARS]
