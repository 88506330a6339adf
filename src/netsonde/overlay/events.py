"""Events that children tell: whose they are, how they are called, and how many are taken.

The one idea: an event's id is made by whoever receives it, from what the event says. So the same
event has the same id at every agent, however often and by whomever it is told, and nobody can keep
an event from being heard by telling another one under its name before.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from netsonde.model.detector import Event
from netsonde.model.errors import BadField

PER_S = 10.0
BURST = 100.0
"""Events of one host that are taken at once; then PER_S a second."""
CHILD_PER_S = 100.0
CHILD_BURST = 1000.0
"""The same of all hosts that one child tells of: as many as a ring holds."""
MAX_HOSTS = 4096
"""Hosts of one child whose rates are told apart; those beyond share one."""
MAX_HEARD = 2048
"""Events of one child that are known again; it holds fewer, so what it tells again is known."""
_DIGEST_BYTES = 6
_TOLD = re.compile(r"([0-9a-f.:]+-[0-9a-z]{1,16}-[0-9]{1,10})(?:-[0-9a-f]{12})?", re.ASCII)


def identified(event: Event) -> Event:
    """Give an event its id: what its monitor called it, and a digest of what it says.

    Raises BadField for an id that no monitor of its host gives.
    """
    told = _TOLD.fullmatch(event.id)
    if told is None or not event.id.startswith(f"{event.host}-"):
        raise BadField("id", event.id, "host, boot of its monitor and number, joined by '-'")
    plain = msgspec.structs.replace(event, id=told[1])
    digest = hashlib.blake2b(msgspec.msgpack.encode(plain), digest_size=_DIGEST_BYTES).hexdigest()
    return msgspec.structs.replace(event, id=f"{told[1]}-{digest}")


@dataclass(slots=True)
class _Bucket:
    per_s: float
    burst: float
    tokens: float
    at_s: float

    def fill(self, now_s: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s


@dataclass(slots=True)
class FromChild:
    """What is taken of one child's events: each once, and so many in all and of each host."""

    _heard: dict[str, None] = field(default_factory=dict)
    """Ids of the latest MAX_HEARD that were taken, oldest first."""
    _all: _Bucket = field(default_factory=lambda: _Bucket(CHILD_PER_S, CHILD_BURST, CHILD_BURST, 0))
    _hosts: dict[str, _Bucket] = field(default_factory=dict)

    def taken(self, events: Sequence[Event], now_s: float) -> tuple[list[Event], dict[str, int]]:
        """Give those that are new and within the rates, and how many of each host are over them.

        Those that are over may be told again. `now_s`: a clock that only goes forward.
        """
        self._all.fill(now_s)
        good: list[Event] = []
        over: dict[str, int] = {}
        for event in events:
            if event.id in self._heard:
                continue
            bucket = self._of(event.host, now_s)
            if bucket.tokens >= 1 and self._all.tokens >= 1:
                bucket.tokens -= 1
                self._all.tokens -= 1
                good.append(event)
                self._heard[event.id] = None
            else:
                over[event.host] = over.get(event.host, 0) + 1
        for old in list(itertools.islice(self._heard, max(0, len(self._heard) - MAX_HEARD))):
            del self._heard[old]
        return good, over

    def _of(self, host: str, now_s: float) -> _Bucket:
        name = host
        if host not in self._hosts and len(self._hosts) >= MAX_HOSTS:
            self._let_go(now_s)
            name = host if len(self._hosts) < MAX_HOSTS else ""
        bucket = self._hosts.setdefault(name, _Bucket(PER_S, BURST, BURST, now_s))
        bucket.fill(now_s)
        return bucket

    def _let_go(self, now_s: float) -> None:
        """Forget hosts that have been quiet for so long that they begin anew."""
        for name, bucket in list(self._hosts.items()):
            bucket.fill(now_s)
            if bucket.tokens >= bucket.burst:
                del self._hosts[name]
