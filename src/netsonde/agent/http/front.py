"""What every request passes before the routes: is it this host's, may it begin now, and what for.

Refusals here cost no routing, and are counted by cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import cast

import msgspec
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from netsonde.agent.http import browsers, problem
from netsonde.agent.http.budget import Budget
from netsonde.agent.metrics import Served
from netsonde.model.errors import Busy
from netsonde.model.resource import Problem

_ENDED = "netsonde.ended"
"""Key of a scope: functions to be called once the request has ended, however."""
_NONE: Mapping[str, str] = MappingProxyType({})
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_VERSIONED = "/v1"
_FIRST = frozenset({"/metrics", "/v1/host", "/v1/members", "/v1/tasks"})


def at_end(scope: Scope, end: Callable[[], None]) -> None:
    """Call a function once the request of a scope has ended, whether or not it was answered."""
    cast(dict[str, list[Callable[[], None]]], scope)[_ENDED].append(end)


class Front:
    """An ASGI application before another."""

    def __init__(
        self, app: ASGIApp, *, budget: Budget, served: Served, http_names: Iterable[str]
    ) -> None:
        self._app = app
        self._budget = budget
        self._served = served
        self._names = tuple(http_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it be answered."""
        asked = cast(HTTPScope, scope)

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._served.by_status[message["status"]] += 1
                message["headers"] = [*message.get("headers", ()), _NOSNIFF]
            await send(message)

        refusal = browsers.refusal(asked, self._names)
        if refusal is not None:
            self._served.refused[refusal.cause] += 1
            said = problem.said(
                refusal.status, refusal.detail, refusal.field, refusal.value, refusal.allowed
            )
            await _refuse(asked, tell, said)
            return
        try:
            await self._budget.admitted(first=_is_first(asked))
        except Busy as busy:
            self._served.refused["cpu_budget"] += 1
            await _refuse(asked, tell, problem.described(busy), problem.retry_after(busy))
            return
        await self._budget.metered(self._answer(asked, receive, tell))

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        ended: list[Callable[[], None]] = []
        within = {**scope, _ENDED: ended}
        if scope["method"] == "HEAD":
            within["method"] = "GET"
            only = _HeadOnly(receive, send)
            receive, send = only.receive, only.send
        try:
            await self._app(cast(Scope, within), receive, send)
        finally:
            for end in ended:
                end()


class _HeadOnly:
    """Takes the head of an answer and nothing of its body (RFC 9110 §9.3.2), be it endless."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._asked = False
        self._told = asyncio.Event()

    async def receive(self) -> HTTPReceiveMessage:
        """Give the request, and then that the client has gone, once it has its head."""
        if not self._asked:
            self._asked = True
            return cast(HTTPReceiveMessage, await self._receive())
        await self._told.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send the head."""
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._told.is_set():
            self._told.set()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_first(scope: HTTPScope) -> bool:
    """Tell whether a request is one that says how the host is, or changes what is measured."""
    return scope["path"] in _FIRST or scope["method"] in ("PUT", "DELETE")


async def _refuse(
    scope: HTTPScope, send: Send, said: Problem, more: Mapping[str, str] = _NONE
) -> None:
    """Say why not."""
    if scope["path"].startswith(_VERSIONED):
        body, kind = msgspec.json.encode(said), problem.MEDIA_TYPE
    else:
        body, kind = said.detail.encode(), "text/plain; charset=utf-8"
    length = (b"content-length", str(len(body)).encode())
    extra = [(name.encode(), value.encode()) for name, value in more.items()]
    headers = [(b"content-type", kind.encode()), length, *extra]
    await send({"type": "http.response.start", "status": said.status, "headers": headers})
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})
