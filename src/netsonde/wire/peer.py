"""Messages between agents: the overlay's tree, and the control of active probes.

A parent opens one connection to each child and keeps it. After `Hello` in both directions every
request carries an `id` that its reply repeats, so many requests share a connection. Nothing is
sent on an idle connection: a measured host's own traffic stays its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.coverage import MAX_DEPTH, Coverage, Members, Refusal
from netsonde.model.detector import MAX_DETECTORS, MAX_EVENTS, Choice, Event
from netsonde.model.evidence import Evidence
from netsonde.model.number import Count, Milliseconds, OpenPort, Port, Rate, RealMs, Seconds, WallNs
from netsonde.model.task import MAX_ID, MAX_TASKS, Question, Task
from netsonde.model.text import AddressText, Text80, Text200, Text2000
from netsonde.wire.frame import MAX_FRAME_BYTES, SCHEMA, Codec, MessageId, Schema

MAX_REMOVED = 1024
"""Members removed on purpose that a report names."""
MAX_UNMET = 1024
"""Tasks that cannot run below, named in a report."""
MAX_NOTES = 16
"""Sentences beside the figures of an active measurement."""
MAX_COOKIE_BYTES = 64


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First frame in each direction."""

    schema: Schema = SCHEMA
    software: Text80
    address: AddressText
    """The sender's own address, its name in the overlay."""


class Adopt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Parent to child: you are my child, and this is what you have from above."""

    id: MessageId
    path: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_DEPTH)]
    """Addresses from the root to the sender; a child that finds itself in it refuses."""
    tasks: Annotated[tuple[Task, ...], Meta(max_length=MAX_TASKS)]
    detectors: Annotated[tuple[Choice, ...], Meta(max_length=MAX_DETECTORS)] = ()
    budget_ms: Milliseconds
    by_hand: bool = False
    """Whether somebody has just asked for it; a child that was told to leave comes back then."""


class Unmet(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the parent's that a host below cannot run; until it can, it is missing from it."""

    series: Literal["sketch", "counter"]
    id: Annotated[int, Meta(ge=0, le=MAX_ID)]
    host: AddressText
    why: Text200

    @property
    def ref(self) -> tuple[str, int]:
        """The task's name."""
        return (self.series, self.id)


class Adopted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to Adopt; `coverage` tells who below has the tasks.

    With id 0 it answers nothing: it is the child's news that its subtree has changed.
    """

    id: MessageId
    subtree: Members
    """Every member at and below the child, whether it answers or not."""
    coverage: Coverage
    removed: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_REMOVED)] = ()
    """Who was removed from the subtree on purpose, latest last; the parent forgets them too."""
    unmet: Annotated[tuple[Unmet, ...], Meta(max_length=MAX_UNMET)] = ()
    """The parent's tasks that hosts at and below the child cannot run."""


class Release(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Parent to child: you are my child no more."""

    id: MessageId


class Released(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to Release: the child has no parent now, and none of its tasks."""

    id: MessageId


class Query(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Parent to child: answer for your whole subtree within the budget, with what you have."""

    id: MessageId
    question: Question
    budget_ms: Milliseconds
    without: Members = ()
    """Members whose counts must not be in the answer."""


class Partial(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to Query: the merged part of those who answered."""

    id: MessageId
    subtree: Members
    coverage: Coverage
    part: Annotated[bytes, Meta(max_length=MAX_FRAME_BYTES)] | None
    """`sketch.part.read` reads it; None when no member answered."""
    evidence: Evidence | None
    """Of the members in `part`; clocks in it are against the child's."""
    monitors: Annotated[bytes, Meta(max_length=MAX_FRAME_BYTES)] = b""
    """Ids of the monitors that counted for the members in `part`, see `overlay.claims.packed`."""
    wall_ns: WallNs
    """The child's clock when it sent this."""
    held_ns: Count
    """How long after the question that was."""


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Child to parent, in reply to nothing: events at and below the child."""

    id: MessageId
    """0."""
    events: Annotated[tuple[Event, ...], Meta(max_length=MAX_EVENTS)]
    """Oldest first; again, where the parent may have them already."""
    dropped: Count
    """Events before these that gave way to later ones."""


class ProbeRun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anyone to `src`: measure the path to `dst` from your side."""

    id: MessageId
    kind: Literal["throughput", "echo"]
    src: AddressText
    dst: AddressText


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeRun; a figure that was not measured is None, never 0."""

    id: MessageId
    throughput_bytes_per_s: Rate | None = None
    """Goodput of TCP at the steady state."""
    throughput_ci_bytes_per_s: Rate | None = None
    """Half-width of its 95 % confidence interval."""
    converged: bool | None = None
    """False when a cap ended the test before the interval was narrow enough."""
    sent: Count | None = None
    """Probe packets sent."""
    received: Count | None = None
    """Probe packets that reached dst."""
    returned: Count | None = None
    """Replies that came back."""
    delay_ms: RealMs | None = None
    """Median round-trip delay without the reflector's own time (RFC 2681)."""
    jitter_ms: RealMs | None = None
    """Interarrival jitter src to dst (RFC 3550 §6.4.1)."""
    notes: Annotated[tuple[Text200, ...], Meta(max_length=MAX_NOTES)] = ()
    """What a careful reader must know about the figures."""


class ProbeOpen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """src to dst: open a receiver for me alone; it closes by itself after `max_ms`."""

    id: MessageId
    kind: Literal["throughput", "echo"]
    max_ms: Milliseconds
    max_bytes: Count


class ProbeOpened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeOpen: where to send, and the cookie every probe must carry."""

    id: MessageId
    port: OpenPort
    cookie: Annotated[bytes, Meta(max_length=MAX_COOKIE_BYTES)]


class ProbeClose(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """src to dst: the test is over."""

    id: MessageId
    port: Port


class ProbeClosed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to ProbeClose: what dst saw."""

    id: MessageId
    received: Count
    """Packets (echo) or bytes (throughput) that arrived with the right cookie."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to any request that was not carried out; nothing was changed."""

    id: MessageId
    kind: Text80
    """Name of a class in `model.errors`."""
    reason: Text2000
    refusal: Refusal | None = None
    """The field that could not be accepted, where it is about one."""
    retry_after_s: Seconds | None = None
    """Of Busy: when to try again."""


Message = (
    Hello
    | Adopt
    | Adopted
    | Release
    | Released
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
