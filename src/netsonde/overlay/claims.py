"""Who claims to hold whom: members in two parts of one answer, and monitors under two names.

The one idea: a claim is judged beside all others, never by the order in which it came. Where two
hold the same member nobody here can tell who lies, so that member is in neither; where two names
lead to one monitor its counts are the same, so the first in the order of names keeps them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from netsonde.model.errors import ProtocolError

ID_BYTES = 8
"""Of a monitor's 16 random ones, as much as travels: two of 20,000 are alike once in 10^11."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose counts one part holds, as the one says who sent it."""

    by: str
    held: frozenset[str]
    monitors: Mapping[str, str]
    """Id of a monitor (the first ID_BYTES of it, in hexadecimal) -> the member in `held` that it
    counted for."""


Excluded = dict[str, dict[str, str]]
"""Claimant -> members that its part must not hold -> why."""


def conflicts(claims: Sequence[Claim]) -> Excluded:
    """Give what each part must do without; in the order of `claims` the first keeps a monitor."""
    excluded: Excluded = {}
    for one, other in itertools.combinations(claims, 2):
        for member in one.held & other.held:
            why = f"claimed by both {one.by} and {other.by}, so in neither"
            excluded.setdefault(one.by, {}).setdefault(member, why)
            excluded.setdefault(other.by, {}).setdefault(member, why)
    keeper: dict[str, str] = {}
    for claim in claims:
        for monitor, member in claim.monitors.items():
            first = keeper.setdefault(monitor, member)
            if first != member and member in claim.held:
                why = f"its monitor is that of {first}, and counts once"
                excluded.setdefault(claim.by, {}).setdefault(member, why)
    return excluded


def packed(monitors: Mapping[str, str], held: Collection[str]) -> bytes:
    """Write which monitor counted for each held member: an id each, in the order of their names.

    A member whose monitor is not known has an id of zeros.
    """
    ids = {member: monitor for monitor, member in monitors.items()}
    return b"".join(bytes.fromhex(ids.get(member, "00" * ID_BYTES)) for member in sorted(held))


def unpacked(data: bytes, held: Collection[str]) -> dict[str, str]:
    """Read what `packed` wrote of the same members; raises ProtocolError on another length."""
    if len(data) != ID_BYTES * len(held):
        raise ProtocolError(f"{len(data)} bytes of monitors' ids for {len(held)} members")
    ids = [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]
    return {one.hex(): member for one, member in zip(ids, sorted(held), strict=True) if any(one)}
