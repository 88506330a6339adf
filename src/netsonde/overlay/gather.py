"""One question's fan-in: whom to ask with which budget, and what their parts make together.

The one idea: nothing is merged before the end. Parts are folded in a fixed order, own first, then
by child, and each must be disjoint from what stands, so a host counts once in any tree, and the
same parts give the same answer whatever their order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from netsonde.model.coverage import Coverage, Refusal
from netsonde.model.errors import BadField, ProtocolError
from netsonde.model.evidence import Evidence
from netsonde.overlay.checks import check_evidence
from netsonde.overlay.clock import Skew, seen_from_here
from netsonde.sketch import part
from netsonde.sketch.part import Part

MERGE_RESERVE_MS = 20
MERGE_RESERVE_RATIO = 0.1


def next_budget_ms(budget_ms: int) -> int:
    """Give what is left for the next level: the rest is for merging and sending the answer up."""
    return budget_ms - max(MERGE_RESERVE_MS, int(budget_ms * MERGE_RESERVE_RATIO))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Command: ask this member for its part."""

    member: str
    budget_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """Event: a member's part came."""

    member: str
    coverage: Coverage
    part: bytes | None = None
    """`Part.to_bytes()`; None when none of its members answered, and where none was asked for."""
    evidence: Evidence | None = None
    """Of the members in `part`; its clocks are against the member's."""
    clock: Skew | None = None
    """The member's clock against this host's; None where they could not be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Event: a member refused, was disconnected or used up its budget."""

    member: str
    reason: str
    refusal: Refusal | None = None
    """The field that it could not accept, where it is about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What all parts make together."""

    coverage: Coverage
    part: Part | None
    """None when none came."""
    evidence: Evidence | None
    """Of the members in `part`, clocks against this host's."""


@dataclass(slots=True)
class _Fold:
    """The parts taken so far, and why the others were not."""

    summarised: bool
    contributors: set[str] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)
    partial: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    evidence: Evidence | None = None

    def lose(self, members: Iterable[str], reason: str, refusal: Refusal | None = None) -> None:
        for member in members:
            if member in self.missing:
                continue
            self.missing[member] = reason
            if refusal is not None:
                self.refused[member] = refusal

    def take(self, event: Replied) -> None:
        coverage = event.coverage
        held = set(coverage.members) - set(coverage.missing)
        twice = held & self.contributors
        if twice:
            reason = f"left out: {event.member} also holds {min(twice)}, counted elsewhere"
            self.lose(held - twice, reason)
        else:
            try:
                if held:
                    self._add(event)
            except (BadField, ProtocolError) as error:
                self.lose(held, f"left out: {error}")
            else:
                self.contributors |= held
                self.partial.update(coverage.partial)
        for member, reason in coverage.missing.items():
            self.lose((member,), reason, coverage.refused.get(member))

    def _add(self, event: Replied) -> None:
        if not self.summarised:
            return
        if event.part is None or event.evidence is None:
            raise ProtocolError("its answer holds no counts, or not how they came about")
        check_evidence(event.evidence)
        one = part.read(event.part)
        if self.parts and not part.alike(self.parts[0], one):
            raise ProtocolError("its task has the same id and counts something else")
        self.parts.append(one)
        skew_ms = seen_from_here(event.member, event.clock, event.evidence.skew_ms)
        evidence = msgspec.structs.replace(event.evidence, skew_ms=skew_ms)
        self.evidence = self.evidence.merged(evidence) if self.evidence else evidence


class Gather:
    """One fan-in, at one host, with a budget; `summarised` is False for configuration."""

    def __init__(
        self,
        *,
        own: str,
        children: Mapping[str, tuple[str, ...]],
        budget_ms: int,
        summarised: bool,
    ) -> None:
        self._summarised = summarised
        self._subtrees = {own: (own,), **children}
        self._budget_ms = next_budget_ms(budget_ms)
        self._events: dict[str, Replied | Lost] = {}

    def start(self) -> list[Ask]:
        """Ask everyone at once; without time for another level, ask nobody."""
        if self._budget_ms <= 0:
            return []
        return [Ask(member=member, budget_ms=self._budget_ms) for member in self._subtrees]

    def handle(self, event: Replied | Lost) -> None:
        """Take one event; the first of a member stands, and strangers are not heard."""
        if event.member in self._subtrees:
            self._events.setdefault(event.member, event)

    def result(self, limit: int) -> Gathered:
        """Fold what came; who did not answer is missing with everyone last known below."""
        fold = _Fold(self._summarised)
        for member, subtree in self._subtrees.items():
            event = self._events.get(member, Lost(member=member, reason="no time left to ask"))
            if isinstance(event, Replied):
                fold.take(event)
                fold.lose(subtree, f"no longer known to {member}")
            else:
                fold.lose(subtree, event.reason, event.refusal)
        members = fold.contributors | fold.missing.keys()
        coverage = Coverage(
            members=tuple(sorted(members)),
            missing={m: why for m, why in fold.missing.items() if m not in fold.contributors},
            partial=fold.partial,
            refused={m: why for m, why in fold.refused.items() if m not in fold.contributors},
        )
        whole = part.merged(fold.parts, limit) if fold.parts else None
        return Gathered(coverage=coverage, part=whole, evidence=fold.evidence)
