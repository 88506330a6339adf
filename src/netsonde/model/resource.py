"""What `/v1` lists and takes: tasks, detectors, events, webhooks, members."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.asked import FilterText, IncrementName
from netsonde.model.certificate import Covered
from netsonde.model.detector import MAX_DETECTORS, DetectorState, Event, Name
from netsonde.model.device import MAX_DEVICES
from netsonde.model.evidence import Tallies
from netsonde.model.number import Count, Seconds, Tick
from netsonde.model.task import MAX_COUNTERS, Scope
from netsonde.model.text import Text80, Text200

MAX_FAILURES = 256
"""Kinds of failures that a monitor tells apart."""
MAX_LEVELS = 16
"""Lengths of steps in a flight recorder."""

MAX_URL_CHARS = 2000
MAX_SECRET_CHARS = 200


class CounterSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per-key totals that a task keeps."""

    by: Annotated[Text80, Meta(description="key type: src, src_dst, src/24, dport ...")]
    increment: IncrementName = "packets"
    hitter_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.1


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task as it is wanted."""

    filter: FilterText = FilterText()
    counters: Annotated[tuple[CounterSpec, ...], Meta(max_length=MAX_COUNTERS)] = ()
    scope: Scope | None = None
    """Default: everyone below an agent without a parent, this host otherwise."""


class TaskBody(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it runs."""

    id: int
    filter: FilterText
    counters: tuple[CounterSpec, ...]
    scope: Scope
    since_tick: int
    since: str
    """Wall clock, UTC."""
    etag: str
    coverage: Covered
    """Who has it."""


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks of a host."""

    tasks: tuple[TaskBody, ...]


class DetectorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A detector as it is wanted; the fields of `model.detector.Detector` as people write them."""

    measure: Literal["spread", "count", "change"]
    by: Text80
    of: Text80 | None = None
    filter: FilterText = FilterText()
    increment: IncrementName = "packets"
    threshold: Annotated[int, Meta(ge=1, le=1 << 50)]
    factor: Annotated[float, Meta(ge=1, le=1e6)] = 1.0
    window: Annotated[Text80, Meta(description="100ms to 60s, such as 5s")] = "5s"
    clear_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    clear: Annotated[Text80, Meta(description="cleared after so long below, such as 2s")] = "2s"
    sentence: Annotated[str, Meta(max_length=200)] = "{key} reached {count}"
    enabled: bool = True


class DetectorBody(msgspec.Struct, frozen=True, kw_only=True):
    """A detector as it runs."""

    name: Name
    builtin: bool
    spec: DetectorSpec


class DetectorList(msgspec.Struct, frozen=True, kw_only=True):
    """All detectors, built-in ones first."""

    detectors: tuple[DetectorBody, ...]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some events, oldest first."""

    events: tuple[Event, ...]
    next: str | None
    """What to ask `after` for later ones, also at the end: a page of fewer than `limit` is the last
    for now. None where nothing was asked `after` and no event is held: then later ones are all."""
    dropped: int
    """Events that gave way to later ones before anybody asked, since the agent started."""


class Webhook(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Where events are sent by POST, one JSON `Event` each."""

    url: Annotated[
        str,
        Meta(
            pattern="^https?://",
            max_length=MAX_URL_CHARS,
            description="http://HOST/PATH or https://..., at most 2000 characters",
        ),
    ]
    detectors: Annotated[tuple[Name, ...], Meta(max_length=MAX_DETECTORS)] | None = None
    """None: all."""
    secret: (
        Annotated[
            str,
            Meta(
                max_length=MAX_SECRET_CHARS,
                description="signs what is sent: 16 to 200 printable ASCII characters; never "
                "listed. Left out or null, the one before stays; an empty text takes it away",
            ),
        ]
        | None
    ) = None


class WebhookShown(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook without what is secret of it."""

    url: str
    """With `***` for a user and password, which older versions took."""
    detectors: tuple[Name, ...] | None = None
    """None: all."""


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook and how it fares."""

    name: Name
    webhook: WebhookShown
    signed: bool
    """Whether it has a secret, so that what is sent is signed."""
    delivered: int
    failed: int
    """Given up after the last retry."""
    dropped: int
    """Left out since too many waited."""
    waiting: int


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks."""

    webhooks: tuple[WebhookBody, ...]


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """Steps of one length that a flight recorder holds."""

    step_ms: Count
    steps: Count
    first_tick: Tick | None
    """None while it holds nothing."""
    bytes: Count


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How far back a flight recorder can be asked."""

    first_tick: Tick | None
    begins: Text80 | None
    """Wall clock, UTC."""
    levels: Annotated[tuple[Level, ...], Meta(max_length=MAX_LEVELS)]
    budget_bytes: Count


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a monitor views: all that passes it, in and out; counts since it started."""

    device: Text80
    hook: Text80
    """Where packets are counted, as certificates say it: `tcx eth0`."""
    gone: Text80 | None
    """Wall clock, UTC, at which the device was found to be gone; None while it is there."""
    since_tick: Tick
    last_tick: Tick
    packets: Count
    ip_bytes: Count
    drops: Tallies
    """Packets seen and put into no flow, by cause."""
    tasks: Count
    tick_ms: Count
    told_one_in: Count
    late_ticks: Count
    recorder: Reach


class MonitorState(msgspec.Struct, frozen=True, kw_only=True):
    """How a host's monitor is; counts are since it started, and of a gap that it took over."""

    hook: Text80
    """Where packets are counted."""
    encapsulated: Text80
    """What is counted of tunnels: `outer` or `exclude`, as the monitor was told."""
    since_tick: Tick
    last_tick: Tick
    packets: Count
    ip_bytes: Count
    drops: Tallies
    """Packets seen and put into no flow, by cause."""
    tasks: Count
    tick_ms: Count
    """Length of a tick now: 100, or longer to keep within the CPU budget."""
    told_one_in: Count
    """Flows of one in so many of the table's buckets are told to tasks, and stand for the others:
    1, or more where the longest tick costs too much still."""
    late_ticks: Count
    """Ticks that took more than 100 ms to close."""
    failed_refreshes: Count
    """Times that the host's addresses and devices could not be followed."""
    cpu_seconds: Seconds
    rss_bytes: Count
    recorder: Reach
    """How far back it can be asked."""
    detectors: Annotated[tuple[DetectorState, ...], Meta(max_length=MAX_DETECTORS)]
    """How the host's detectors fare."""
    devices: Annotated[tuple[DeviceView, ...], Meta(max_length=MAX_DEVICES)] = ()
    """Devices that its monitor views, beside the host's own packets."""
    monitor: Text80 = ""
    """Id of the monitor, drawn anew at each of its starts: who finds it twice has one host twice.
    """
    failures: Annotated[dict[Text200, Count], Meta(max_length=MAX_FAILURES)] = {}
    """What failed in the monitor and ended only itself: `part: exception's type` -> how often."""
    refused: Tallies = {}
    """What it turned away: cause -> how often."""
    log_dropped: Tallies = {}
    """Lines of its log that were not written: cause -> how many."""


class Host(MonitorState, frozen=True, kw_only=True):
    """How a host is: its agent, and the state of its monitor."""

    host: str
    """The agent's name in the overlay."""
    software: str
    """Of the agent."""
    parent: str | None
    """The agent above it; None at the root."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused (RFC 9457); nothing was changed."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    value: str | None = None
    allowed: str | None = None
