"""Tasks: a filter over flow records plus counters; the prototype calls a task a *sketch*."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

MAX_TASKS = 256
"""Tasks a host holds at once, its own and its parent's together."""
MAX_COUNTERS = 16
"""Counters of one task."""
MAX_ID = 2**31 - 1
"""Largest id of a task."""

Scope = Literal["host", "subtree"]
"""Whether a task or a question is about one host alone or about it and everyone below it."""


class Interface(Enum):
    """Which side of the host a task looks at; INPUT and OUTPUT as in netfilter."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    BOTH = "both"


class Increment(Enum):
    """What a counter adds for each packet."""

    PACKETS = "packets"
    BYTES = "bytes"


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which flow records a task takes; a field left out matches everything."""

    interface: Interface = Interface.INPUT
    proto: int | None = None
    """IP protocol number."""
    src: str | None = None
    """Canonical prefix of the source, such as `10.0.0.0/24`."""
    dst: str | None = None
    """Canonical prefix of the destination."""


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """Per-key totals within a task."""

    key_type: str
    """Name of a `KeyType`; at most one counter of a key type in a task."""
    increment: Increment = Increment.PACKETS
    hitter_threshold: float = 0.1
    """Share of a host's own total, 0 to 1, that a key must exceed there to be a heavy hitter."""
    since_tick: int = 0
    """Tick at which it was configured, when that was after its task."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement task; `(series, id)` names it, the same on every host."""

    series: Literal["sketch", "counter"]
    """`sketch`: has keyed counters, ids as answered to `config sketch`. `counter`: totals only."""
    id: int
    filter: Filter
    counters: tuple[Counter, ...] = ()
    since_tick: int
    """Tick (unix time in 100 ms) at which it was configured at its issuer."""

    @property
    def ref(self) -> tuple[str, int]:
        """The task's name."""
        return (self.series, self.id)

    def counter(self, key_type: str) -> Counter | None:
        """Find the counter of a key type."""
        return next((c for c in self.counters if c.key_type == key_type), None)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of one task; every host gets the same question."""

    series: Literal["sketch", "counter"]
    task_id: int
    key_type: str | None = None
    """Counter that is asked; None asks for the task's totals."""
    window: Literal["total", "real_time"] = "total"
    """`total`: since configured. `real_time`: the last second of closed ticks."""
    key: bytes | None = None
    """Masked 40-byte key when one key is asked for; None asks for the largest keys."""
    limit: int = 4096
    """Keys a host or subtree may return, largest first; the rest is bounded by `absent_upper`."""
