"""Webhooks: events sent to other programs by POST, one JSON object each.

The one idea: a webhook reads the ring of events from its own place, one event after the other, and
nothing waits for it. What it could not take in time is the distance to its place, and is counted.
Whatever goes wrong with an event, of any kind, is a failed delivery of that event and no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from netsonde.agent.event_ring import EventRing
from netsonde.agent.outward import Outward
from netsonde.agent.posting import Poster
from netsonde.daemon.supervisor import Supervisor
from netsonde.model import webhook_url
from netsonde.model.detector import Event
from netsonde.model.errors import BadField, NetsondeError, NotFound, Unforeseen
from netsonde.model.resource import Webhook, WebhookBody, WebhookShown

MAX_WEBHOOKS = 16
TRIES = 6
FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
SIGNATURE = "X-Netsonde-Signature"
_WORTH_ANOTHER_TRY = {408, 425, 429, *range(500, 600)}
_SECRET = re.compile(r"[!-~]{16,200}")
_NOTHING_SECRET = "rehearsed"  # noqa: S105 # signs what is sent to nobody
_REASON_CHARS = 200

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
    """The webhooks of one agent, from `start` on; each is a part of the daemon."""

    def __init__(
        self,
        *,
        ring: EventRing,
        keep: Callable[[dict[str, Webhook]], None],
        supervisor: Supervisor,
        wall_ns: Callable[[], int],
        draw_ratio: Callable[[], float],
        poster: Poster,
    ) -> None:
        """`keep` raises Unavailable when it cannot; `draw_ratio` gives numbers from 0 to 1."""
        self._ring = ring
        self._keep = keep
        self._wall_ns = wall_ns
        self._draw_ratio = draw_ratio
        self._supervisor = supervisor
        self._poster = poster
        self._hooks: dict[str, _Hook] = {}

    def restore(self, known: Mapping[str, Webhook]) -> None:
        """Go on with those that were set before, before `start`."""
        self._hooks = {name: self._made(webhook) for name, webhook in known.items()}

    def start(self) -> None:
        """Send events as they come."""
        for name in self._hooks:
            self._start(name)

    async def rehearse(self) -> None:
        """Send something to nobody, so that all code is loaded afterwards; see `HttpServer`."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
            anywhere = Poster(outward=Outward(("127.0.0.1",)), lookup=self._poster.lookup)
            signing = Webhook(url=url, secret=_NOTHING_SECRET)
            await _posted(anywhere, signing, b"", self._wall_ns())

    def all(self) -> tuple[WebhookBody, ...]:
        """List the webhooks by name, and how they fare."""
        return tuple(self._body(name) for name in sorted(self._hooks))

    def put(self, name: str, webhook: Webhook) -> WebhookBody:
        """Set a webhook, which begins with the next event.

        One without a secret keeps that of the webhook in whose place it is. Raises BadField for
        one too many, and for a URL that may not be sent to.
        """
        if name not in self._hooks and len(self._hooks) >= MAX_WEBHOOKS:
            raise BadField("name", name, f"at most {MAX_WEBHOOKS} webhooks; delete one first")
        self._check_url(webhook.url)
        webhook = msgspec.structs.replace(webhook, secret=self._secret(name, webhook.secret))
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

    def _check_url(self, url: str) -> None:
        target = webhook_url.parse(url)
        if target.user:
            allowed = "a URL without user and password; a 'secret' signs what is sent"
            raise BadField("url", webhook_url.masked(url), allowed)
        refusal = self._poster.outward.refusal_of(target)
        if refusal is not None:
            raise BadField("url", url, f"a URL of another host: {refusal}")

    def _secret(self, name: str, given: str | None) -> str | None:
        if given is None:
            before = self._hooks.get(name)
            return before.webhook.secret if before else None
        if given and not _SECRET.fullmatch(given):
            shown = f"{len(given)} characters"  # not the secret: what is refused may be shown
            raise BadField("secret", shown, "16 to 200 printable ASCII characters, no spaces")
        return given or None

    def _wanted(self) -> dict[str, Webhook]:
        return {name: hook.webhook for name, hook in self._hooks.items()}

    def _made(self, webhook: Webhook) -> _Hook:
        return _Hook(webhook=webhook, since_wall_ns=self._wall_ns(), place=self._ring.last)

    def _body(self, name: str) -> WebhookBody:
        hook = self._hooks[name]
        return WebhookBody(
            name=name,
            webhook=WebhookShown(
                url=webhook_url.masked(hook.webhook.url), detectors=hook.webhook.detectors
            ),
            signed=bool(hook.webhook.secret),
            delivered=hook.delivered,
            failed=hook.failed,
            dropped=hook.dropped,
            waiting=self._ring.waiting(hook.place),
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
                status, why = await _posted(self._poster, hook.webhook, body, self._wall_ns())
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


def signature(secret: str, body: bytes, wall_ns: int) -> str:
    """Sign a body together with the time, so that a receiver can refuse what is sent to it again.

    Gives `t=SECONDS,v1=HEX`, the HMAC-SHA-256 of seconds, a full stop and the body (RFC 2104).
    """
    seconds = wall_ns // 1_000_000_000
    signed = hmac.digest(secret.encode(), b"%d." % seconds + body, hashlib.sha256)
    return f"t={seconds},v1={signed.hex()}"


async def _posted(poster: Poster, webhook: Webhook, body: bytes, wall_ns: int) -> tuple[int, str]:
    """Send one event; gives the status, 0 without one, and what is wrong with it."""
    headers = {"Content-Type": "application/json"}
    if webhook.secret:
        headers[SIGNATURE] = signature(webhook.secret, body, wall_ns)
    try:
        status = await poster.post(webhook_url.parse(webhook.url), body, headers)
    except (NetsondeError, OSError, EOFError, ValueError) as error:
        return 0, (str(error) or type(error).__name__)[:_REASON_CHARS]
    return status, f"status {status}"
