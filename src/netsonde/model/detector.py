"""Detectors: questions that stand, each with a threshold; and the events they raise.

The built-in ones (`netsonde.model.detectors`) are made of the same few fields as a user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from netsonde.model.bound import Bound
from netsonde.model.errors import BadField, TooLarge
from netsonde.model.key import KeyType
from netsonde.model.number import Count, Port, Tick, WallNs
from netsonde.model.task import Filter, Increment
from netsonde.model.text import AddressText, Text80, Text200, Text2000

MAX_DETECTORS = 32
MAX_EVIDENCE = 10
"""Rows of evidence in an event."""
MAX_ACTIVE = 64
"""Alarms of one detector at a time; more keys over the threshold are counted, not raised."""
MAX_SPREAD = 8192
"""Largest threshold of a `spread`; half of the pairs that a detector remembers."""
MAX_EVENTS = 1024
"""Latest events that a monitor holds for an agent that was away."""

Name = Annotated[
    str,
    Meta(pattern="^[a-z][a-z0-9_]{0,39}$", description="1 to 40 of a-z, 0-9 and _, a letter first"),
]


class Detector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Raises an event for each key whose measure over the window reaches the threshold.

    `spread`: number of distinct `of` of a key. `count`: packets or bytes of a key. `change`: how
    far a key's count differs from the window before, where it is also `factor` times as large or
    as small.
    """

    name: Name
    measure: Literal["spread", "count", "change"]
    filter: Filter = Filter()
    by: Text80
    """Key type of who is named."""
    of: Text80 | None = None
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
    """What an event says. Filled in: {key}, each field of `by` such as {src}, {count}, {window},
    and of `change` {before} and {now}."""

    def check(self) -> None:
        """Raise BadField for fields that do not go together, naming the first."""
        by = KeyType.parse(self.by, "by")
        if (self.measure == "spread") != (self.of is not None):
            raise BadField("of", self.of, "a key type for the measure spread, nothing for others")
        if self.of is not None:
            of = KeyType.parse(self.of, "of")
            if set(of.fields) <= set(by.fields):
                raise BadField("of", self.of, f"a field that {self.by} does not have")
            if self.threshold > MAX_SPREAD:
                raise BadField("threshold", self.threshold, f"1 to {MAX_SPREAD} for spread")
        if self.measure != "change" and self.factor != 1.0:
            raise BadField("factor", self.factor, "only with the measure change")


def check_all(detectors: Sequence[Detector]) -> None:
    """Raise BadField unless these can run together on a host."""
    names = [detector.name for detector in detectors]
    if len(names) > MAX_DETECTORS:
        raise TooLarge("detectors", len(names), f"at most {MAX_DETECTORS} on a host")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadField("detectors", twice, "each name once")
    for detector in detectors:
        detector.check()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A detector as somebody wants it: beside the built-in ones, or in place of one."""

    detector: Detector
    enabled: bool = True


class EvidenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow of the key that an event is about, most packets first.

    Of a `spread`: for each distinct `of` the flow that was first, with all that was counted for it
    since then. Of others: flows of the tick in which it was said.
    """

    flow: Text200
    """src, dst, sport, dport, proto joined by commas."""
    packets: Count
    bytes: Count


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A detector's alarm, raised or cleared."""

    id: Text80
    """Unique in the fleet: host, boot of its monitor, number and, once an agent has it, a digest of
    what the event says, joined by '-'."""
    detector: Name
    state: Literal["raised", "cleared"]
    host: AddressText
    """Whose monitor saw it."""
    key_type: Text80
    key: Text200
    count: Bound
    """The measure over the window when it was raised, or cleared."""
    peak: Count
    """Largest estimate of it since it was raised."""
    threshold: Count
    first_tick: Tick
    """Of the window: later than its length says where it was not all remembered."""
    last_tick: Tick
    raised_tick: Tick
    wall_ns: WallNs
    """When it was said."""
    sentence: Text2000
    evidence: Annotated[tuple[EvidenceRow, ...], Meta(max_length=MAX_EVIDENCE)] = ()
    sources: Annotated[tuple[AddressText, ...], Meta(max_length=MAX_EVIDENCE)] = ()
    """Distinct sources among the key's flows, at most MAX_EVIDENCE, most packets first."""
    ports: Annotated[tuple[Port, ...], Meta(max_length=MAX_EVIDENCE)] = ()
    """Distinct destination ports among them, at most MAX_EVIDENCE, most packets first."""


class DetectorState(msgspec.Struct, frozen=True, kw_only=True):
    """How a detector fares on one host."""

    name: Name
    active: Count
    """Alarms that are raised now."""
    raised: Count
    """Alarms that were raised since it was configured."""
    suppressed: Count
    """Keys over the threshold now and not raised, since MAX_ACTIVE are."""
    suppressed_most: Count
    """Most of these at a time since it was configured."""
    keys: Count
    """Keys it remembers."""
    items: Count
    """Distinct `of` of its keys, or counts of a key in a tick, that it remembers."""
    first_tick: Tick
    """First tick of its window now; later than the window's length says while it is new, or where
    there is more traffic than it remembers."""
    cpu_ms: Count
    """CPU time that it took since it was configured."""
