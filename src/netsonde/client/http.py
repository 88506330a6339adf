"""The one seam to the network: sends a request, gives a struct or one of our errors."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import msgspec

from netsonde.client import errors, sse

URL_SETTING = "NETSONDE_URL"
"""Environment variable with the URL of the agent that is asked by default."""
DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
"""A question may wait for hosts; the service gives up on those before this."""
SILENCE_S = 60.0
"""A stream that says nothing for so long, not even that it lives, is taken for dead."""

T = TypeVar("T")

Params = Mapping[str, str | int | None]


def default_url() -> str:
    """Give the URL of the environment, or that of an agent on this host."""
    return os.environ.get(URL_SETTING) or DEFAULT_URL


class Http:
    """Requests to one agent."""

    def __init__(
        self, url: str | None, timeout_s: float, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        given = url or default_url()
        self.url = given.rstrip("/")
        with errors.translated(self.url):
            parsed = httpx.URL(self.url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise errors.BadAddress(f"url is {given!r}; allowed: http://HOST:PORT")
        self._timeout_s = timeout_s
        # Agents are on a network of the operator's, so proxies of the environment are not asked.
        self._client = httpx.AsyncClient(
            base_url=parsed, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        into: type[T],
        *,
        body: msgspec.Struct | None = None,
        params: Params | None = None,
        etag: str | None = None,
    ) -> T:
        """Send one request and read its answer as `into`; None reads nothing."""
        reply = await self._reply(method, path, body, params, etag)
        if into is type(None):
            return None
        with errors.translated(self.url):
            return msgspec.json.decode(reply.content, type=into)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, last_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[sse.Message]]:
        """Open a stream of server-sent events; what follows `last_id` where it is given."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        timeout = httpx.Timeout(self._timeout_s, read=SILENCE_S)
        self._check_open()
        with errors.translated(self.url):
            async with self._client.stream(
                "GET", path, params=_given(params), headers=headers, timeout=timeout
            ) as reply:
                if reply.is_error:
                    raise errors.refusal(reply.status_code, await reply.aread(), self.url)
                yield self._messages(reply)

    async def _messages(self, reply: httpx.Response) -> AsyncIterator[sse.Message]:
        parser = sse.Parser()
        try:
            async for piece in reply.aiter_bytes():
                for message in parser.feed(piece):
                    yield message
        except sse.Oversized as error:
            raise errors.NotUnderstood(f"{self.url} sent {error}") from error

    async def _reply(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None,
        params: Params | None,
        etag: str | None,
    ) -> httpx.Response:
        headers = {"Accept": "application/json, application/problem+json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if etag is not None:
            headers["If-Match"] = etag if etag.endswith('"') or etag == "*" else f'"{etag}"'
        content = None if body is None else msgspec.json.encode(body)
        self._check_open()
        with errors.translated(self.url):
            reply = await self._client.request(
                method, path, content=content, params=_given(params or {}), headers=headers
            )
        if reply.is_error:
            raise errors.refusal(reply.status_code, reply.content, self.url)
        return reply

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise errors.Closed("the client was closed; make another one")


def _given(params: Params) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}
