"""Webhooks: events sent to other programs by POST, one JSON object each.

The one idea: a webhook reads the ring of events from its own place, one event after the other, and
nothing waits for it. What it could not take in time is the distance to its place, and is counted.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import httpx
import msgspec
import structlog

from netsonde.agent.event_ring import EventRing
from netsonde.daemon.supervisor import Supervisor
from netsonde.model.detector import Event
from netsonde.model.errors import BadField, NotFound, Unforeseen
from netsonde.model.resource import Webhook, WebhookBody

MAX_WEBHOOKS = 16
TRIES = 6
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
TIMEOUT_S = 5.0
"""Seconds that a receiver has for each step: connecting, taking, answering."""
_WORTH_ANOTHER_TRY = {408, 425, 429, *range(500, 600)}

log = structlog.get_logger()


@dataclass(slots=True)
class _Hook:
    webhook: Webhook
    since_wall_ns: int
    """Events that were said before are not sent: they were, or nobody had asked for them."""
    place: int
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    sending: asyncio.Task[None] | None = None


class Webhooks:
    """The webhooks of one agent, from `start` to `close`; each is a part of the daemon."""

    def __init__(
        self,
        *,
        ring: EventRing,
        known: Mapping[str, Webhook],
        keep: Callable[[dict[str, Webhook]], None],
        supervisor: Supervisor,
        wall_ns: Callable[[], int],
        draw_ratio: Callable[[], float],
    ) -> None:
        """`keep` raises Unavailable when it cannot; `draw_ratio` gives numbers from 0 to 1."""
        self._ring = ring
        self._keep = keep
        self._wall_ns = wall_ns
        self._draw_ratio = draw_ratio
        self._supervisor = supervisor
        self._client: httpx.AsyncClient | None = None
        self._hooks = {name: self._made(webhook) for name, webhook in known.items()}

    def start(self) -> None:
        """Send events as they come."""
        for name in self._hooks:
            self._start(name)

    async def close(self) -> None:
        """Close connections, once nothing is sent any more."""
        if self._client is not None:
            await self._client.aclose()

    async def rehearse(self) -> None:
        """Send something to nobody, so that all code is loaded afterwards; see `HttpServer`."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
            async with _client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
                await _posted(client, url, b"")

    def all(self) -> tuple[WebhookBody, ...]:
        """List the webhooks by name, and how they fare."""
        return tuple(self._body(name) for name in sorted(self._hooks))

    def put(self, name: str, webhook: Webhook) -> WebhookBody:
        """Set a webhook, which begins with the next event; raises BadField for one too many."""
        if name not in self._hooks and len(self._hooks) >= MAX_WEBHOOKS:
            raise BadField("name", name, f"at most {MAX_WEBHOOKS} webhooks; delete one first")
        _check_url(webhook.url)
        self._keep({**self._wanted(), name: webhook})
        self._stop(name)
        self._hooks[name] = self._made(webhook)
        self._start(name)
        return self._body(name)

    def delete(self, name: str) -> None:
        """Delete a webhook; what waits for it is not sent. Raises NotFound."""
        if name not in self._hooks:
            known = ", ".join(sorted(self._hooks)) or "none"
            raise NotFound(f"there is no webhook {name:.40}; there are {known}")
        self._keep({other: hook for other, hook in self._wanted().items() if other != name})
        self._stop(name)
        del self._hooks[name]

    def _wanted(self) -> dict[str, Webhook]:
        return {name: hook.webhook for name, hook in self._hooks.items()}

    def _made(self, webhook: Webhook) -> _Hook:
        return _Hook(webhook=webhook, since_wall_ns=self._wall_ns(), place=self._ring.last)

    def _body(self, name: str) -> WebhookBody:
        hook = self._hooks[name]
        return WebhookBody(
            name=name,
            webhook=hook.webhook,
            delivered=hook.delivered,
            failed=hook.failed,
            dropped=hook.dropped,
            waiting=self._ring.last - max(hook.place, self._ring.first),
        )

    def _start(self, name: str) -> None:
        hook = self._hooks[name]
        hook.sending = self._supervisor.start("webhook", partial(self._send_all, name, hook))

    def _stop(self, name: str) -> None:
        hook = self._hooks.get(name)
        if hook is not None and hook.sending is not None:
            hook.sending.cancel()

    async def _send_all(self, name: str, hook: _Hook) -> None:
        while True:
            await self._ring.wait_after(hook.place)
            read = self._ring.after(hook.place, 1)
            hook.dropped += read.missed
            try:
                for event in read.events:
                    if self._wants(hook, event):
                        await self._deliver(name, hook, event)
            except Exception:  # it may be this event's, so it goes on with the next
                hook.failed += 1
                raise
            finally:
                hook.place = read.place

    def _wants(self, hook: _Hook, event: Event) -> bool:
        chosen = hook.webhook.detectors
        return event.wall_ns >= hook.since_wall_ns and (chosen is None or event.detector in chosen)

    async def _deliver(self, name: str, hook: _Hook, event: Event) -> None:
        """Try until it is taken or refused for good; waits twice as long each time, and jittered.

        The jitter keeps the agents of a fleet from calling a receiver that comes back all at once.
        """
        pause_s, why, body = FIRST_PAUSE_S, "", msgspec.json.encode(event)
        for _ in range(TRIES):
            try:
                status, why = await self._post(hook.webhook.url, body)
            except Exception as error:  # whatever it is, another try may do, or the next event
                self._supervisor.failures.note("webhook", error)
                status, why = 0, str(Unforeseen.of(error))
            if 200 <= status < 300:
                hook.delivered += 1
                return
            if status and status not in _WORTH_ANOTHER_TRY:
                break
            await asyncio.sleep(pause_s * (1 + self._draw_ratio()) / 2)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
        hook.failed += 1
        log.warning("event not delivered", webhook=name, id=event.id, reason=why)

    async def _post(self, url: str, body: bytes) -> tuple[int, str]:
        """Send one event; gives the status, 0 without one, and what is wrong with it."""
        if self._client is None:
            # The system's own certificates, which anybody may read: those of a package may no
            # longer be readable. They take a megabyte, so only where something is sent.
            trusted = await asyncio.to_thread(ssl.create_default_context)
            self._client = self._client or _client(trusted)
        return await _posted(self._client, url, body)


def _client(trusted: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=trusted, timeout=TIMEOUT_S, trust_env=False)


async def _posted(client: httpx.AsyncClient, url: str, body: bytes) -> tuple[int, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "netsonde"}
    try:
        async with (
            asyncio.timeout(2 * TIMEOUT_S),
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            return answer.status_code, f"status {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return 0, str(error) or type(error).__name__


def _check_url(text: str) -> None:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise BadField("url", text, f"an http or https URL ({error})") from None
    if not url.host or not 1 <= (url.port or 80) <= 65535:
        raise BadField("url", text, "an http or https URL with a host, and a port up to 65535")
