"""`netsonde events`: what detectors raised, and what they raise now."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from netsonde.cli import exits
from netsonde.cli.options import Listed, Service
from netsonde.command.reading import Whole
from netsonde.model.detector import Event
from netsonde.model.errors import BadField
from netsonde.model.window import TICK_NS, wall_text

if TYPE_CHECKING:
    from netsonde.client import Client

PAGE = 1000
State = Literal["raised", "cleared"]


def events(
    *,
    follow: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    limit: Whole = 50,
    after: str | None = None,
    detector: str | None = None,
    state: State | None = None,
    evidence: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    output: Listed = Listed(),
    service: Service = Service(),
) -> int:
    """List the latest events, oldest first; or print them as they happen.

    Args:
        follow: go on with events as they happen, until Ctrl-C.
        limit: how many of the past, the latest.
        after: only events after the one with this id.
        detector: only events of this detector.
        state: only alarms that were raised, or cleared.
        evidence: print also the flows that an event is about.
    """
    if limit < 0:
        raise BadField("limit", limit, "0 or more")
    with service.client() as client:
        chosen = _chosen(client, limit, after, detector, state, follow=follow)
        if output.csv:
            from netsonde.cli.listing import stream

            stream(chosen, Event)
        else:
            for event in chosen:
                _print(event, output, evidence=evidence)
    return exits.OK


def _chosen(
    client: Client,
    limit: int,
    after: str | None,
    detector: str | None,
    state: State | None,
    *,
    follow: bool,
) -> Iterator[Event]:
    """Give the latest events of the past, and then those that come where they are followed."""
    last = after
    for event in _past(client, limit, after, detector, state):
        yield event
        last = event.id
    if follow:
        yield from client.events(
            after=last, detector=detector, state=state, patience_s=math.inf, on_dropped=_dropped
        )


def _past(
    client: Client,
    limit: int,
    after: str | None,
    detector: str | None,
    state: State | None,
) -> Iterator[Event]:
    latest: deque[Event] = deque(maxlen=limit)
    while True:
        page = client.past_events(after=after, limit=PAGE, detector=detector, state=state)
        latest += page.events
        after = page.next
        if not page.events:
            break
    if page.dropped:
        _dropped(page.dropped)
    yield from latest


def _dropped(number: int) -> None:
    sys.stderr.write(f"netsonde events: {number} events gave way to later ones\n")


def _print(event: Event, output: Listed, *, evidence: bool) -> None:
    from netsonde.cli import printing

    if output.json:
        printing.json(event)
        return
    said = wall_text(event.wall_ns // TICK_NS)
    lines = [f"{said}  {event.state:<7}  {event.detector}  {event.sentence}  (at {event.host})"]
    if evidence:
        lines += [
            f"    {row.flow}  {row.packets:,} {'packet' if row.packets == 1 else 'packets'}, "
            f"{row.bytes:,} bytes"
            for row in event.evidence
        ]
    printing.sentences(lines)
    sys.stdout.flush()
