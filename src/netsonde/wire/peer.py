"""Messages between agents: the overlay's tree, and the control of active probes.

A parent opens one connection to each child and keeps it. After `Hello` in both directions every
request carries an `id` that its reply repeats, so many requests share a connection. Nothing is
sent on an idle connection: a measured host's own traffic stays its own.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from netsonde.model.coverage import Coverage, Refusal
from netsonde.model.detector import Choice, Event
from netsonde.model.evidence import Evidence
from netsonde.model.task import Question, Task
from netsonde.model.text import AddressText
from netsonde.wire.frame import SCHEMA, Codec


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First frame in each direction."""

    schema: int = SCHEMA
    software: str
    address: str
    """The sender's own address, its name in the overlay."""


class Adopt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Parent to child: you are my child, and this is what you have from above."""

    id: int
    path: tuple[str, ...]
    """Addresses from the root to the sender; a child that finds itself in it refuses."""
    tasks: tuple[Task, ...]
    detectors: tuple[Choice, ...] = ()
    budget_ms: int


class Adopted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to Adopt; `coverage` tells who below has the tasks.

    With id 0 it answers nothing: it is the child's news that its subtree has changed.
    """

    id: int
    subtree: tuple[str, ...]
    """Every member at and below the child, whether it answers or not."""
    coverage: Coverage
    dropped: tuple[str, ...] = ()
    """Tasks that hosts below gave up for the parent's, such as `sketch 0 of 10.0.0.4`."""


class Query(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Parent to child: answer for your whole subtree within the budget, with what you have."""

    id: int
    question: Question
    budget_ms: int
    without: tuple[AddressText, ...] = ()
    """Members whose counts must not be in the answer."""


class Partial(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to Query: the merged part of those who answered."""

    id: int
    subtree: tuple[str, ...]
    coverage: Coverage
    part: bytes | None
    """`sketch.part.read` reads it; None when no member answered."""
    evidence: Evidence | None
    """Of the members in `part`; clocks in it are against the child's."""
    monitors: bytes = b""
    """Ids of the monitors that counted for the members in `part`, see `overlay.claims.packed`."""
    wall_ns: int
    """The child's clock when it sent this."""
    held_ns: int
    """How long after the question that was."""


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to nothing: events at and below the child."""

    id: int
    """0."""
    events: tuple[Event, ...]
    """Oldest first; again, where the parent may have them already."""
    dropped: int
    """Events before these that gave way to later ones."""


class ProbeRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anyone to `src`: measure the path to `dst` from your side."""

    id: int
    kind: Literal["throughput", "echo"]
    src: str
    dst: str


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeRun; a figure that was not measured is None, never 0."""

    id: int
    throughput_bytes_per_s: float | None = None
    """Goodput of TCP at the steady state."""
    throughput_ci_bytes_per_s: float | None = None
    """Half-width of its 95 % confidence interval."""
    converged: bool | None = None
    """False when a cap ended the test before the interval was narrow enough."""
    sent: int | None = None
    """Probe packets sent."""
    received: int | None = None
    """Probe packets that reached dst."""
    returned: int | None = None
    """Replies that came back."""
    delay_ms: float | None = None
    """Median round-trip delay without the reflector's own time (RFC 2681)."""
    jitter_ms: float | None = None
    """Interarrival jitter src to dst (RFC 3550 §6.4.1)."""
    notes: tuple[str, ...] = ()
    """What a careful reader must know about the figures."""


class ProbeOpen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """src to dst: open a receiver for me alone; it closes by itself after `max_ms`."""

    id: int
    kind: Literal["throughput", "echo"]
    max_ms: int
    max_bytes: int


class ProbeOpened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeOpen: where to send, and the cookie every probe must carry."""

    id: int
    port: int
    cookie: bytes


class ProbeClose(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """src to dst: the test is over."""

    id: int
    port: int


class ProbeClosed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeClose: what dst saw."""

    id: int
    received: int
    """Packets (echo) or bytes (throughput) that arrived with the right cookie."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to any request that was not carried out; nothing was changed."""

    id: int
    kind: str
    """Name of a class in `model.errors`."""
    reason: str
    refusal: Refusal | None = None
    """The field that could not be accepted, where it is about one."""
    retry_after_s: float | None = None
    """Of Busy: when to try again."""


Message = (
    Hello
    | Adopt
    | Adopted
    | Query
    | Partial
    | Happened
    | ProbeRun
    | ProbeResult
    | ProbeOpen
    | ProbeOpened
    | ProbeClose
    | ProbeClosed
    | Refused
)

MESSAGES: Codec[Message] = Codec(Message)
