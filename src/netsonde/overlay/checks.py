"""What another agent sent is checked completely, before anything of it is taken.

Types are checked by the codec, with their lengths and ranges; here is what types cannot say: what
goes with what, and canonical texts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from netsonde.model import address, strict
from netsonde.model.bound import Bound
from netsonde.model.detector import Event
from netsonde.model.errors import BadField
from netsonde.model.evidence import Evidence
from netsonde.model.key import KeyType
from netsonde.model.number import MAX_COUNT

_ORDERED = f"0 <= lower <= estimate <= upper <= {MAX_COUNT}"
_MONITOR = re.compile(r"(?:[0-9a-f]{32})?", re.ASCII)


def check_evidence(evidence: Evidence) -> None:
    """Check evidence, of one host or of several added up; raises BadField naming the bad field."""
    strict.check(evidence)
    if not _MONITOR.fullmatch(evidence.monitor):
        raise BadField("monitor", evidence.monitor, "a monitor's id of 32 hexadecimal digits")


def check_events(events: Sequence[Event], subtree: Collection[str]) -> None:
    """Check events that a child tells of hosts in its subtree; raises BadField."""
    for event in events:
        strict.check(event)
        if event.host not in subtree or not event.id.startswith(f"{event.host}-"):
            raise BadField("host", event.host, "a host at or below the child, also in the id")
        by = KeyType.parse(event.key_type, "key_type")
        by.parse_key(event.key, "key")
        check_bound("count", event.count)
        for source in event.sources:
            address.canonical_host("sources", source)


def check_bound(field: str, bound: Bound) -> None:
    """Check that a count can be one: 0 <= lower <= estimate <= upper; raises BadField."""
    if not 0 <= bound.lower <= bound.estimate <= bound.upper <= MAX_COUNT:
        raise BadField(field, [bound.lower, bound.estimate, bound.upper], _ORDERED)
