"""Detectors: questions that stand, each with a threshold; and the events they raise.

The built-in ones (`netsonde.model.detectors`) are made of the same few fields as a user's own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.bound import Bound
from netsonde.model.task import Filter, Increment

MAX_DETECTORS = 32
MAX_EVIDENCE = 10
"""Rows of evidence in an event."""
MAX_ACTIVE = 64
"""Alarms of one detector at a time; more keys over the threshold are counted, not raised."""

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,39}$", description="lower case, a-z 0-9 _")]


class Detector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Raises an event for each key whose measure over the window reaches the threshold.

    `spread`: number of distinct `of` of a key. `count`: packets or bytes of a key. `change`: how
    far a key's count differs from the window before, where it is also `factor` times as large or
    as small.
    """

    name: Name
    measure: Literal["spread", "count", "change"]
    filter: Filter = Filter()
    by: str
    """Key type of who is named."""
    of: str | None = None
    """Key type of what is counted once; of `spread` only."""
    increment: Increment = Increment.PACKETS
    """Of `count` and `change`."""
    threshold: Annotated[int, Meta(ge=1, le=1 << 50)]
    factor: Annotated[float, Meta(ge=1, le=1e6)] = 1.0
    """Of `change` only."""
    window_ticks: Annotated[int, Meta(ge=1, le=600)] = 50
    """The last so many ticks, every tick anew."""
    clear_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Cleared below this share of the threshold ..."""
    clear_ticks: Annotated[int, Meta(ge=1, le=6000)] = 20
    """... for so many ticks in a row."""
    sentence: Annotated[str, Meta(max_length=200)] = "{key} reached {count}"
    """What an event says; {key}, {count} and {window} are filled in."""


class EvidenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic of the key that an event is about, largest first."""

    flow: str
    """src, dst, sport, dport, proto joined by commas."""
    packets: int
    bytes: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's alarm, raised or cleared."""

    id: str
    """Unique in the fleet: host, boot of its monitor and number joined by '-'."""
    detector: str
    state: Literal["raised", "cleared"]
    host: str
    """Whose monitor saw it."""
    key_type: str
    key: str
    count: Bound
    """The measure over the window when it was raised, or cleared."""
    peak: int
    """Largest estimate of it since it was raised."""
    threshold: int
    first_tick: int
    """Of the window."""
    last_tick: int
    raised_tick: int
    wall_ns: int
    """When it was said."""
    sentence: str
    evidence: tuple[EvidenceRow, ...] = ()
    sources: tuple[str, ...] = ()
    """Distinct sources among the key's flows, at most MAX_EVIDENCE."""
    ports: tuple[int, ...] = ()
    """Distinct destination ports among them, at most MAX_EVIDENCE."""
