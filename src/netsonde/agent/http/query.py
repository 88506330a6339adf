"""Query parameters of `/v1` are those that a call has, each once: a misspelt one would widen an
answer unsaid."""

from __future__ import annotations

from collections import Counter as Tally
from functools import cache
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg, QueryParameter

from netsonde.model import strict
from netsonde.model.errors import BadField


def check(request: Request[Any, Any, Any]) -> None:
    """Raise BadField naming the first parameter that is unknown or given twice."""
    text = request.scope["query_string"]
    if not text:
        return
    known = _parameters(request.route_handler)
    pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True)
    tally = Tally(name for name, _ in pairs)
    for name, value in pairs:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none here"
            raise BadField(name, value, f"no such parameter; {there}")
        if tally[name] > 1:
            raise BadField(name, value, "one value; the parameter is given twice")


def allowed(request: Request[Any, Any, Any], name: str) -> str:
    """Say in words what a parameter may be; empty where it has no plain type."""
    kind = _parameters(request.route_handler).get(name)
    return "" if kind is None else strict.allowed(kind)


@cache
def _parameters(handler: BaseRouteHandler) -> dict[str, Any]:
    """Give the query parameters of a handler by the names that clients know, and their types."""
    found: dict[str, Any] = {}
    for name, parameter in handler.parsed_fn_signature.parameters.items():
        known = parameter.kwarg_definition
        if isinstance(known, QueryParameter) and isinstance(known, ParameterKwarg):
            limits = msgspec.Meta(ge=known.ge, le=known.le)
            found[known.name or name] = Annotated[parameter.annotation, limits]
    return found
