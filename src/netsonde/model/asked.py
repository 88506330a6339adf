"""Questions as people and programs ask them; every face of netsonde (HTTP, client, command, replay)
takes these structs, in JSON told apart by `ask`.

A question is about a task (`task`: its id) or, after the fact, about a filter. Everything in it is
text or a number as a person writes it; `netsonde.model.asking` checks it and names what is wrong.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.number import Written
from netsonde.model.task import Scope, TaskId
from netsonde.model.text import Text80, Text200, Text2000

MAX_PORTS = 256
"""Ports and ranges in a list that somebody writes; see `netsonde.model.port` for what is left."""

PortText = Text2000 | Written | Annotated[list[Written | Text80], Meta(max_length=MAX_PORTS)]

K = Annotated[int, Meta(ge=1, le=1000, description="how many keys")]
Share = Annotated[float, Meta(ge=0, le=1, description="share of the total, 0 to 1")]
IncrementName = Literal["packets", "bytes"]
FlowName = Literal["any", "attempt", "half_open", "unasked", "probe"]
StepName = Literal["100ms", "1s", "10s"]


class FilterText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which packets count; a field left out matches everything."""

    interface: Annotated[
        Text80,
        Meta(
            description="INPUT: packets for the host, OUTPUT: from it, as in netfilter; both; or a "
            "device such as eth0 that its monitor views: all that passes it"
        ),
    ] = "INPUT"
    family: Annotated[Literal[4, 6] | None, Meta(description="IP version")] = None
    proto: Annotated[
        Text80 | Written | None, Meta(description="protocol name or number: tcp, 17")
    ] = None
    src: Annotated[Text80 | None, Meta(description="source address or prefix")] = None
    dst: Annotated[Text80 | None, Meta(description="destination address or prefix")] = None
    sport: Annotated[
        PortText | None, Meta(description="source ports: 80, '80,443,8000-8010', [80, 443]")
    ] = None
    dport: Annotated[PortText | None, Meta(description="destination ports, written the same")] = (
        None
    )
    flow: Annotated[
        FlowName,
        Meta(description="attempts to open something, half-open ones, replies, or probes"),
    ] = "any"


class _About(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", forbid_unknown_fields=True
):
    """What every question says."""

    task: Annotated[
        TaskId | None, Meta(description="id of a task; without it `filter` is asked about")
    ] = None
    filter: FilterText | None = None
    window: Annotated[
        Text80 | None,
        Meta(
            description="real_time, total (of a task), 'last 30s' or a range "
            "2026-11-24T12:04:00Z/2026-11-24T12:05:00Z; default: total of a task, else last 10s"
        ),
    ] = None
    scope: Annotated[
        Scope | None,
        Meta(description="host or subtree; default: everyone below an agent without a parent"),
    ] = None


class Count(_About, frozen=True, kw_only=True, tag="count"):
    """How much: of everything that passes, or of one key."""

    by: Annotated[
        Text80 | None, Meta(description="key type of `key`: src, src_dst, src/24 ...")
    ] = None
    key: Annotated[Text200 | None, Meta(description="the key, parts joined by commas")] = None
    increment: IncrementName = "packets"


class Top(_About, frozen=True, kw_only=True, tag="top"):
    """Who has most: the k largest keys, or those that may be over a share of the total."""

    by: Text80
    increment: IncrementName = "packets"
    k: Annotated[
        K | None, Meta(description="default: 10, or with a share all that may be over it")
    ] = None
    share: Share | None = None


class Keys(_About, frozen=True, kw_only=True, tag="keys"):
    """All keys in the order of their text, page by page."""

    by: Text80
    increment: IncrementName = "packets"
    limit: K = 100
    after: Annotated[Text200 | None, Meta(description="last key of the page before")] = None


class Distinct(_About, frozen=True, kw_only=True, tag="distinct"):
    """How many different keys."""

    by: Text80


class Distribution(_About, frozen=True, kw_only=True, tag="distribution"):
    """How unequal keys are: histogram and quantiles of their totals, and entropy."""

    by: Text80
    increment: IncrementName = "packets"
    quantiles: Annotated[tuple[Share, ...], Meta(max_length=32)] = (0.5, 0.9, 0.99)


class Spreaders(_About, frozen=True, kw_only=True, tag="spreaders"):
    """Who contacts, or is contacted by, most different others: distinct `of` for each `by`."""

    by: Text80 = "src"
    of: Text80 = "dst"
    k: K = 10


class Change(_About, frozen=True, kw_only=True, tag="change"):
    """What differs from another window, largest difference first."""

    by: Text80
    increment: IncrementName = "packets"
    k: K = 10
    against: Annotated[
        Text80, Meta(description="the other window; `before`: as long, and just before")
    ] = "before"


class Series(_About, frozen=True, kw_only=True, tag="series"):
    """A rate over time, of everything that passes or of one key: a count for each step."""

    by: Text80 | None = None
    key: Text200 | None = None
    increment: IncrementName = "packets"
    step: StepName = "1s"


Asked = Count | Top | Keys | Distinct | Distribution | Spreaders | Change | Series
