"""Tasks: a filter over flow records plus counters; the prototype calls a task a *sketch*."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.flow import FlowClass
from netsonde.model.key import KEY_BYTES
from netsonde.model.number import Octet, Share, Tick
from netsonde.model.text import Text80, Text200
from netsonde.model.window import TOTAL, Window

MAX_TASKS = 256
"""Tasks a host holds at once, its own and its parent's together."""
MAX_COUNTERS = 16
"""Counters of one task."""
MAX_KEYS = 1 << 16
"""Keys that a question may ask of one part of the network."""
MAX_ID = 2**31 - 1
"""Largest id of a task."""
TaskId = Annotated[int, Meta(ge=0, le=MAX_ID)]

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
    device: Text80 | None = None
    """Whatever passes this device, in or out and whosever it is, instead of the host's own
    packets; `interface` is BOTH then."""
    family: Literal[4, 6] | None = None
    """Version of IP."""
    proto: Octet | None = None
    """IP protocol number."""
    src: Text80 | None = None
    """Canonical prefix of the source, such as `10.0.0.0/24`."""
    dst: Text80 | None = None
    """Canonical prefix of the destination."""
    sport: Text200 | None = None
    """Canonical source ports, such as `80,443,8000-8010`; packets without ports do not pass."""
    dport: Text200 | None = None
    """Canonical destination ports."""
    flow: FlowClass = FlowClass.ANY


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """Per-key totals within a task."""

    key_type: Text80
    """Name of a `KeyType`; at most one counter of a key type in a task."""
    increment: Increment = Increment.PACKETS
    hitter_threshold: Share = 0.1
    """Share of a host's own total, 0 to 1, that a key must exceed there to be a heavy hitter."""
    since_tick: Tick = 0
    """Tick at which it was configured, when that was after its task."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement task; `(series, id)` names it, the same on every host."""

    series: Literal["sketch", "counter"]
    """`sketch`: has keyed counters, ids as answered to `config sketch`. `counter`: totals only."""
    id: TaskId
    filter: Filter
    counters: Annotated[tuple[Counter, ...], Meta(max_length=MAX_COUNTERS)] = ()
    since_tick: Tick
    """Tick (unix time in 100 ms) at which it was configured at its issuer."""

    @property
    def ref(self) -> tuple[str, int]:
        """The task's name."""
        return (self.series, self.id)

    def counter(self, key_type: str) -> Counter | None:
        """Find the counter of a key type."""
        return next((c for c in self.counters if c.key_type == key_type), None)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What every host of a scope is asked, about a task it runs or about a filter."""

    series: Literal["sketch", "counter"] | None = None
    """With `task_id`: the task; None asks by `filter` about what the flight recorder holds."""
    task_id: TaskId = 0
    filter: Filter = Filter()
    """Of a question without a task."""
    increment: Increment = Increment.PACKETS
    """Of a question without a task; else the counter's."""
    key_type: Text80 | None = None
    """Key type that is asked for, a counter's where there is a task; None asks for totals."""
    of: Text80 | None = None
    """Key type of what is counted once for each key: asks for spreads (distinct `of` of each key)
    instead of packets or bytes. Never with a task's `total` window."""
    window: Window = TOTAL
    """`total` needs a task."""
    step_ticks: Annotated[int, Meta(ge=0, le=100)] = 0
    """Asks for a series with a point each 1, 10 or 100 ticks: of `key`, or of the totals."""
    key: Annotated[bytes, Meta(max_length=KEY_BYTES)] | None = None
    """Masked 40-byte key when one key is asked for; None asks for the largest keys."""
    limit: Annotated[int, Meta(ge=1, le=MAX_KEYS)] = 4096
    """Keys a host or subtree may return, largest first; the rest is bounded by `absent_upper`."""
