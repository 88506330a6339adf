"""`/v1/events`: the latest alarms of the host and everyone below it, in pages and as a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from netsonde.agent.event_ring import MAX_HELD, EventRing
from netsonde.agent.http import streams
from netsonde.agent.http.document import problems
from netsonde.agent.http.streams import Streams, Wanted
from netsonde.model.detector import Event
from netsonde.model.resource import EventPage

AnyRequest = Request[Any, Any, Any]
State = Literal["raised", "cleared"]
After = Annotated[str | None, QueryParameter(description="id of the last event that is known")]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_HELD, description="events of a page")]
ByDetector = Annotated[str | None, QueryParameter(description="events of this detector alone")]
ByState = Annotated[
    State | None, QueryParameter(name="state", description="raised or cleared ones alone")
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="id of the last event that came; without it the stream begins now",
    ),
]


def routes(ring: EventRing, open_streams: Streams) -> list[HTTPRouteHandler]:
    """Give the handlers over a ring of events."""

    @get("/v1/events", tags=["events"], sync_to_thread=False, summary="List events")
    def list_events(
        after: After = None, limit: Limit = 100, detector: ByDetector = None, chosen: ByState = None
    ) -> EventPage:
        return page(ring, after, limit, Wanted(detector, chosen))

    @get(
        "/v1/events/stream",
        tags=["events"],
        sync_to_thread=False,
        summary="Follow events",
        media_type=streams.MEDIA_TYPE,
        responses=problems(503),
    )
    def stream_events(
        request: AnyRequest,
        detector: ByDetector = None,
        chosen: ByState = None,
        last_event_id: LastEventId = None,
    ) -> Stream:
        place = ring.last if last_event_id is None else ring.place(last_event_id)
        wanted = Wanted(detector, chosen)
        return open_streams.respond(request, lambda: streams.of_events(ring, place, wanted))

    return [list_events, stream_events]


def page(ring: EventRing, after: str | None, limit: int, wanted: Wanted) -> EventPage:
    """Give the next events that are wanted, and after which to go on."""
    place = max(ring.place(after), ring.first)
    last_id = after
    found: list[Event] = []
    while place < ring.last and len(found) < limit:
        read = ring.after(place, 1)
        found += filter(wanted.fits, read.events)
        place, last_id = read.place, read.events[-1].id
    return EventPage(
        events=tuple(found),
        next=last_id,
        dropped=ring.dropped,
    )
