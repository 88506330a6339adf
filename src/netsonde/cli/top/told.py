"""What the view was told so far: the last answer of each kind, when it came, and what went wrong.

Nothing here asks or draws. Times are of a clock that the caller gives; everything is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from netsonde.cli.top.choice import Choice
from netsonde.model.answer import Point, SeriesAnswer, TopAnswer
from netsonde.model.certificate import Certificate
from netsonde.model.detector import Event
from netsonde.model.resource import EventPage
from netsonde.model.window import TICKS_PER_S

MOST_POINTS = 300
"""Seconds of a rate that are kept: five minutes."""
MOST_ALARMS = 256
MOST_PAST = 32
"""Cleared alarms that are kept."""
NS = 1_000_000_000

AlarmKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no newer answer."""

    why: str
    since_mono_ns: int
    """When it began; a later failure of the same kind does not make it younger."""
    times: int = 1


@dataclass(slots=True)
class Told:
    """Everything that a page shows besides the choice."""

    top: TopAnswer | None = None
    top_choice: Choice | None = None
    """What `top` was asked for."""
    top_mono_ns: int = 0
    points: dict[int, Point] = field(default_factory=dict)
    """Unix time in seconds -> the second that begins then, in order."""
    points_choice: Choice | None = None
    active: dict[AlarmKey, Event] = field(default_factory=dict)
    """Alarms raised and not cleared, latest last."""
    past: list[Event] = field(default_factory=list)
    """Cleared ones, latest last."""
    events_after: str | None = None
    """The last event told, to ask for later ones."""
    events_dropped: int = 0
    """Events that nobody can be told any more, of the agent and of `active`."""
    events_known: bool = False
    troubles: dict[str, Trouble] = field(default_factory=dict)
    """Kind of request -> why its last one failed."""

    @property
    def certificate(self) -> Certificate | None:
        """Of the answer that is shown."""
        return None if self.top is None else self.top.certificate

    def take_top(self, choice: Choice, answer: TopAnswer, mono_ns: int) -> None:
        """Keep an answer."""
        self.top, self.top_choice, self.top_mono_ns = answer, choice, mono_ns

    def take_series(self, choice: Choice, answer: SeriesAnswer) -> None:
        """Add the whole seconds of an answer to those of the same question.

        Seconds at its ends that the window cuts are left out: half a second looks like a lull.
        """
        if self.points_choice is None or not same_rate(choice, self.points_choice):
            self.points = {}
        self.points_choice = choice
        window = answer.certificate.window
        for point in answer.points:
            if window.first_tick <= point.tick <= window.last_tick + 1 - TICKS_PER_S:
                self.points[point.tick // TICKS_PER_S] = point
        self.points = dict(sorted(self.points.items())[-MOST_POINTS:])

    def take_events(self, page: EventPage) -> None:
        """Raise and clear alarms."""
        self.events_known = True
        self.events_dropped = max(self.events_dropped, page.dropped)
        for event in page.events:
            key = (event.host, event.detector, event.key)
            self.active.pop(key, None)
            if event.state == "raised":
                self.active[key] = event
            elif all(event.id != before.id for before in self.past):
                self.past.append(event)
        while len(self.active) > MOST_ALARMS:
            self.active.pop(next(iter(self.active)))
            self.events_dropped += 1
        del self.past[:-MOST_PAST]
        if page.events:  # an agent that knows this one no more begins with its oldest
            self.events_after = page.events[-1].id

    def fail(self, kind: str, why: str, mono_ns: int) -> None:
        """Remember that a request came to nothing."""
        before = self.troubles.get(kind)
        self.troubles[kind] = (
            Trouble(why, mono_ns)
            if before is None
            else replace(before, why=why, times=before.times + 1)
        )

    def succeed(self, kind: str) -> None:
        """Remember that a request was answered."""
        self.troubles.pop(kind, None)


def same_rate(one: Choice, other: Choice) -> bool:
    """Tell whether two choices ask for the same rate."""
    return (
        one.filter == other.filter
        and one.increment == other.increment
        and one.scope == other.scope
        and (one.task and one.task.id) == (other.task and other.task.id)
    )


def same_top(one: Choice, other: Choice) -> bool:
    """Tell whether two choices are answered by the same rows, however they are sorted."""
    return same_rate(one, other) and one.by == other.by and one.window == other.window
