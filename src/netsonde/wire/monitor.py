"""Messages between an agent and its monitor, over the monitor's unix socket.

Every request has one reply, and replies come in the order of the requests. The agent sends `Hello`
first. Requests are made by the agent from what it has already checked: the monitor never parses
what a stranger sent. After `Watch` the connection is the monitor's: it sends `Events` as they come,
until the agent closes it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from netsonde.model.coverage import Refusal
from netsonde.model.detector import MAX_DETECTORS, MAX_EVENTS, Detector, Event
from netsonde.model.evidence import Evidence
from netsonde.model.number import Count, Seconds, Tick
from netsonde.model.resource import MonitorState
from netsonde.model.task import MAX_TASKS, Question, Task
from netsonde.model.text import AddressText, Text80, Text2000
from netsonde.wire.frame import MAX_FRAME_BYTES, SCHEMA, Codec, Schema


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First request on a connection."""

    schema: Schema = SCHEMA
    software: Text80
    host: AddressText = ""
    """The agent's name in the overlay, which events carry from now on; empty: the kernel's name."""


class Apply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Desired state: exactly these; a task that stays the same keeps its counts, and a detector
    that stays the same its window and its alarms."""

    tasks: Annotated[tuple[Task, ...], Meta(max_length=MAX_TASKS)]
    detectors: Annotated[tuple[Detector, ...], Meta(max_length=MAX_DETECTORS)] = ()
    """At most MAX_DETECTORS, of different names."""


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One question, about a task or about what the flight recorder holds."""

    question: Question


class AskStatus(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks for the monitor's own state."""


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks for events as they come; on a connection of its own."""

    after: Text80 = ""
    """Id of the last event that the agent has. Of another boot of the monitor, or empty: it gets
    all that the monitor still holds."""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to Hello."""

    schema: Schema = SCHEMA
    software: Text80
    hook: Text80
    """Where packets are counted: `netfilter`."""
    since_tick: Tick
    """First tick this monitor counted."""
    monitor: Text80 = ""
    """Its id, drawn anew at each start: 32 hexadecimal digits, as in the evidence of its answers.
    Empty of one that has none."""


class Applied(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to Apply."""

    tasks: Count


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to Ask."""

    part: Annotated[bytes, Meta(max_length=MAX_FRAME_BYTES)]
    """`sketch.part.read` reads it: a summary, or a series."""
    evidence: Evidence
    """How it was counted; its hooks name no host, since a monitor does not know its host's name."""


class Events(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to Watch, at once and then whenever there are new ones."""

    events: Annotated[tuple[Event, ...], Meta(max_length=MAX_EVENTS)]
    """In the order in which they were raised and cleared."""
    dropped: Count = 0
    """Events before these that gave way to later ones, since this agent read too late."""


class Status(MonitorState, frozen=True, kw_only=True, tag=True):
    """Reply to AskStatus."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Reply to any request that could not be carried out; nothing was changed."""

    kind: Text80
    """Name of a class in `model.errors`."""
    reason: Text2000
    refusal: Refusal | None = None
    """The field that could not be accepted, where it is about one."""
    retry_after_s: Seconds | None = None
    """Of Busy: when to try again."""


Request = Hello | Apply | Ask | AskStatus | Watch
Reply = Welcome | Applied | Answer | Events | Status | Failed

REQUESTS: Codec[Request] = Codec(Request)
REPLIES: Codec[Reply] = Codec(Reply)
