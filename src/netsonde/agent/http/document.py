"""The OpenAPI document of `/v1`: generated from the handlers when the interface changes (`make
openapi`), kept as a file, and served as it is, with the page that shows it.

An agent so starts without the generator, and what clients see changes only by a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from importlib import resources
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec

from netsonde.agent.http import problem
from netsonde.model import asked, resource
from netsonde.model.resource import Problem

INTERFACE_VERSION = "1.0"
"""Of the interface, not of the software: grows when something is added to it."""
_DESCRIPTION = (
    "Tasks, questions, detectors and events of the hosts at and below an agent. Every answer "
    "carries its certificate: bounds, coverage, drops by cause. Errors are problems (RFC 9457) "
    "that name the field, its value and what is allowed."
)
_ALWAYS = (400, 421, 500, 503)
"""Statuses that a request may meet at any handler."""
_WITH_BODY = (403, 408, 413, 415)
"""Those that one which changes or starts something may meet besides."""
_POLICY = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
}
_FILES = {
    "/v1/openapi.json": ("openapi.json", "application/json"),
    "/v1/docs": ("docs.html", "text/html"),
    "/v1/docs.js": ("docs.js", "text/javascript"),
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Describe the refusals of a handler."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=HTTPStatus(status).phrase,
            media_type=problem.MEDIA_TYPE,
            generate_examples=False,
        )
        for status in statuses
    }


def pages() -> list[HTTPRouteHandler]:
    """Give the handlers of the document and of the page that shows it."""
    return [_page(path, *file) for path, file in _FILES.items()]


def generated(handlers: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """Generate the document from handlers."""
    config = OpenAPIConfig(
        title="netsonde",
        version=INTERFACE_VERSION,
        description=_DESCRIPTION,
        operation_id_creator=lambda handler, method, path: handler.handler_name,
    )
    document = Litestar(handlers, openapi_config=config).openapi_schema.to_schema()
    refusal = {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            for status in _ALWAYS + (_WITH_BODY if "requestBody" in operation else ()):
                phrase = HTTPStatus(status).phrase
                responses.setdefault(str(status), {"description": phrase})
            for status, response in responses.items():
                if int(status) >= HTTPStatus.BAD_REQUEST:
                    response["content"] = refusal
                    response["description"] = HTTPStatus(int(status)).phrase
            operation["responses"] = dict(sorted(responses.items()))
    structs = {
        name: made
        for name, made in {**vars(resource), **vars(asked)}.items()
        if isinstance(made, type) and issubclass(made, msgspec.Struct)
    }
    for name, schema in document["components"]["schemas"].items():
        struct = structs.get(name)
        if struct is not None and struct.__struct_config__.forbid_unknown_fields:
            schema["additionalProperties"] = False
        for one in schema.get("properties", {}).values():
            _without_ellipsis(one)
    return document


def _without_ellipsis(schema: dict[str, Any]) -> None:
    """Let items of `tuple[X, ...]` be X: the generator takes the dots for an item of any kind."""
    alternatives = schema.get("items", {}).get("oneOf", [])
    if {} in alternatives:
        schema["items"] = next(one for one in alternatives if one != {})
    for inner in schema.get("oneOf", ()):
        _without_ellipsis(inner)


def _page(path: str, name: str, media_type: str) -> HTTPRouteHandler:
    content = (resources.files("netsonde.dashboard") / name).read_bytes()

    @get(path, media_type=media_type, include_in_schema=False, sync_to_thread=False)
    def page() -> Response[bytes]:
        return Response(content, media_type=media_type, headers=_POLICY)

    return page
